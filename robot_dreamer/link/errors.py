"""What the link raises."""

from __future__ import annotations


class LinkError(RuntimeError):
    """The link cannot do what was asked; the message says why and what to do."""


class DamagedFile(LinkError):
    """A file holds other bytes than were written; the message says what can be saved."""


class FrameError(ValueError):
    """Bytes from the network are not a message. `kind` is the name under which it is counted."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class RowError(ValueError):
    """Bytes are not a row of this spec. `kind` is the name under which it is counted."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind
