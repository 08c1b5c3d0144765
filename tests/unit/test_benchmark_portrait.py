"""What `benchmarks/portrait.py` prints: the share that a portrait takes, bounded as in a run."""

from benchmarks.portrait import row, sides


def test_the_share_is_that_of_the_period_and_bounded():
    assert row("r", "p", 100, 600, every=60) == "| r | `p` | 100 | 600 | 1.00 % |"
    assert row("r", "p", 100, 60_000, every=60) == "| r | `p` | 100 | 60000 | 2.00 % |"


def test_a_portrait_is_drawn_as_in_a_run():
    update, draw, every = sides("cartpole", "nano")
    update()
    assert draw()["context"] == 5 and every > 0
