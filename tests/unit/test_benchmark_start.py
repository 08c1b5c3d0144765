"""benchmarks/start.py: its table."""

from __future__ import annotations

from benchmarks.start import Start, table


def test_the_table_has_median_least_and_most() -> None:
    lines = table([Start(1.0, 0.5, 0.75, 100e6, 110e6), Start(2.0, 0.6, 0.85, 120e6, 130e6)]).splitlines()
    assert lines[2] == "| process to node | 1.50 s | 1.00 s | 2.00 s |"
    assert lines[4] == "| configure to the first action | 0.80 s | 0.75 s | 0.85 s |"
    assert lines[6] == "| resident later | 120 MB | 110 MB | 130 MB |"
