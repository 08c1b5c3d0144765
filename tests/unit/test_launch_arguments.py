"""Launch arguments are texts; they come from the tables of the programs and must fit the process table's options."""

from __future__ import annotations

from pathlib import Path

import pytest

from robot_dreamer.processes import Options, processes
from robot_dreamer.processes.launch_arguments import ARGUMENTS, POLICY_NODE, SIM_ROBOT, read_options

DEFAULTS = {name: entry.shown for name, entry in ARGUMENTS.items()}


def test_defaults_are_those_of_the_options_and_change_nothing() -> None:
    assert read_options(DEFAULTS) == Options()


def test_texts_become_values() -> None:
    options = read_options(DEFAULTS | {"sim": "False", "clock": "realtime", "overrides": "a.b=1 c=2", "minutes": "1.5"})
    assert options.sim is False
    assert options.overrides == ("a.b=1", "c=2")
    assert options.minutes == 1.5
    assert options.random_actions is None and read_options(DEFAULTS | {"random_actions": "true"}).random_actions is True
    assert options.automatic is None and read_options(DEFAULTS | {"automatic": "false"}).automatic is False


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("sim", "maybe", "sim: expected true or false, found 'maybe'"),
        ("automatic", "maybe", "automatic: expected true or false, found 'maybe'"),
        ("seed", "1.5", "seed: expected a whole number from 0 to 2147483647, found '1.5'"),
        ("minutes", "long", "minutes: expected a number of at least 0, found 'long'"),
        ("minutes", "nan", "minutes: expected a number of at least 0, found 'nan'"),
        ("provider", "npu", "provider: expected cpu or cuda or tensorrt, found 'npu'"),
        ("priority", "100", "priority: expected a whole number from 0 to 99, found '100'"),
        ("loss", "1", "loss: expected a number from 0 to 0.99, found '1'"),
    ],
)
def test_wrong_texts_are_named(name: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_options(DEFAULTS | {name: text})


def test_every_setting_of_a_program_can_be_reached() -> None:
    assert {"rollback_episodes", "provider", "priority", "core", "policy_threads", "autostart"} <= POLICY_NODE.keys()
    assert {"retry_time", "loss"} <= SIM_ROBOT.keys()
    given = {"rollback_episodes": "5", "policy_threads": "3", "provider": "cuda", "loss": "0.1", "clock": "realtime"}
    options = read_options(DEFAULTS | given | {"threads": "2", "logdir": "x"})
    learner, sim_robot, policy_node = processes(options)
    assert "--threads" in learner.arguments and learner.arguments[learner.arguments.index("--threads") + 1] == "2"
    assert policy_node.parameters is not None and sim_robot.parameters is not None
    found = {name: policy_node.parameters[name] for name in ("rollback_episodes", "threads", "provider")}
    assert found == {"rollback_episodes": 5, "threads": 3, "provider": "cuda"}
    assert sim_robot.parameters["loss"] == 0.1 and sim_robot.parameters["watchdog"] == 0.5
    assert Path(str(policy_node.parameters["logdir"])).parent == Path("x")


def test_a_watchdog_that_was_asked_for_stays() -> None:
    parameters = processes(read_options(DEFAULTS | {"clock": "realtime", "watchdog": "0"}))[1].parameters
    assert parameters is not None and parameters["watchdog"] == 0.0
