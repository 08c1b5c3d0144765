"""Long scans in equal pieces, each one call of a compiled function.

Calling compiled code costs about as much as a step of a small model, so a call makes a few steps; with more of them it
takes longer to compile and to load than it saves.
"""

_MOST = 5


def pieces(count: int) -> list[slice]:
    """0 to count in equal pieces of at most five: compiled code is for one length."""
    size = max(n for n in range(1, _MOST + 1) if count % n == 0)
    return [slice(t, t + size) for t in range(0, count, size)]
