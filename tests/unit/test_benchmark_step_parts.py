"""The parts of an update add up to it, and each operator is counted in one of them."""

from __future__ import annotations

import pytest

from benchmarks.step_parts import PLACES, Calls, Parts, parts_table, products_floor
from benchmarks.step_time import our_agent
from robot_dreamer.config import load_config


@pytest.fixture(scope="module")
def prepared():
    agent, update = our_agent(load_config("nano", ["device=cpu"]))
    update()
    return agent, update


def test_each_part_is_met_and_has_its_products(prepared) -> None:
    _, update = prepared
    parts = Parts()
    with parts.watched(), Calls(parts):
        times = parts.timed(update)
    assert set(times) == {"rest", *(place[0] for place in PLACES)}
    with_products = {name for name, part in parts.called.items() if part.products}
    assert with_products == {
        *("encoder", "filtering", "imagination", "losses", "heads"),
        *("derivatives of the rest", "derivative of filtering"),
    }
    assert all(products_floor(parts.called[name].products) > 0 for name in with_products)


def test_the_table_adds_up_and_nothing_stays_behind(prepared) -> None:
    before = [vars(owner)[name] for _, owner, name, _ in PLACES]
    agent, update = prepared
    text = parts_table(update, agent, 2)
    assert [vars(owner)[name] for _, owner, name, _ in PLACES] == before
    *rows, whole = text.splitlines()[1:]
    assert whole.startswith("all") and "100%" in whole
    assert int(whole.split()[-1]) == sum(int(row.split()[-1]) for row in rows)
