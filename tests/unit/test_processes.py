"""The process table: who is started, with what."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from pathlib import Path
from typing import Any

import pytest

import robot_dreamer.processes.own_address as addresses
from robot_dreamer.link.spool import SPOOL_FILE, Spool
from robot_dreamer.processes import Options, Process, connectable, processes
from robot_dreamer.processes.own_address import own_address
from robot_dreamer.processes.ros_domain import own_domain
from tests.spools import SPEC, blocks


@pytest.fixture
def ports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Three free ports instead of those that the runs of this machine share: other tests take and free these."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where locks are
    sockets = [socket.socket() for _ in range(3)]
    for probe in sockets:
        probe.bind(("127.0.0.1", 0))
    found = [probe.getsockname()[1] for probe in sockets]
    for probe in sockets:
        probe.close()
    monkeypatch.setattr(addresses, "PORTS", found)
    return found


def table(**options: object) -> dict[str, Process]:
    return {p.name: p for p in processes(Options("cartpole", Path("runs/x"), **options))}  # type: ignore[arg-type]


def test_training_here_is_three_programs() -> None:
    programs = table(preset="nano", overrides=("model.deter=8",), minutes=3.0, seed=5)
    assert list(programs) == ["learner", "sim_robot", "policy_node"]
    assert [p.finishes for p in programs.values()] == [True, False, False]
    line = programs["learner"].command("python")
    assert line[:4] == ["python", "-m", "robot_dreamer.cli", "learn"]
    pairs = dict(zip(line[4::2], line[5::2], strict=True))
    assert pairs == {
        "--robot": "cartpole",
        "--preset": "nano",
        "--logdir": "runs/x",
        "--bind": "tcp://127.0.0.1:5757",
        "--seed": "5",
        "--threads": "1",
        "--set": "model.deter=8",
        "--minutes": "3.0",
    }


def test_policy_node_and_robot_agree() -> None:
    programs = table(clock="realtime", bind="tcp://0.0.0.0:6000", namespace="left", task="balance")
    policy, robot = programs["policy_node"], programs["sim_robot"]
    assert policy.parameters is not None and robot.parameters is not None
    assert policy.parameters["robot"] == robot.parameters["robot"] == "cartpole_balance"
    assert policy.parameters["clock"] == robot.parameters["clock"] == "realtime"
    assert policy.parameters["learner"] == "tcp://127.0.0.1:6000"
    assert policy.namespace == robot.namespace == "left"
    assert policy.remappings == robot.remappings == {"/clock": "/left/clock"}
    assert policy.command("python")[6:8] == ["-r", "/clock:=/left/clock"]


def test_a_fleet_is_one_learner_and_robots_that_share_nothing_else() -> None:
    programs = table(robots=3, seed=5, namespace="left")
    names = [f"{name}_{number}" for number in (1, 2, 3) for name in ("sim_robot", "policy_node")]
    assert list(programs) == ["learner", *names]
    found = []
    for number in (1, 2, 3):
        robot, policy = programs[f"sim_robot_{number}"], programs[f"policy_node_{number}"]
        assert robot.namespace == policy.namespace == f"left/robot_{number}"
        assert robot.parameters is not None and policy.parameters is not None
        assert robot.parameters["seed"] == policy.parameters["seed"] == 5 + 10_000 * number
        assert policy.parameters["robot_id"] == f"cartpole_{number}"
        found.append((policy.parameters["logdir"], policy.parameters["learner"]))
    assert found == [(f"runs/x/robot-cartpole_{n}", "tcp://127.0.0.1:5757") for n in (1, 2, 3)]
    assert programs["learner"] == table(seed=5)["learner"]


def seeds(logdir: Path, **options: Any) -> dict[str, Any]:
    found = processes(Options("cartpole", logdir, **options))
    return {p.name: p.parameters["seed"] for p in found if p.parameters is not None}


def test_a_run_that_is_started_again_repeats_neither_beginnings_nor_noise(tmp_path: Path) -> None:
    first = seeds(tmp_path, robots=2, seed=5)
    assert first == seeds(tmp_path, robots=2, seed=5)  # nothing has been lived
    spool = Spool(tmp_path / "robot-cartpole_1" / SPOOL_FILE, SPEC, "cartpole_1", 1 << 30, "drop_oldest")
    spool.append(blocks("b", range(3)))
    spool.settle("b", 2)
    spool.append([])
    assert spool.rows == 0  # the learner has them, and a restarted spool holds none
    spool.close()
    again = seeds(tmp_path, robots=2, seed=5)
    assert again["sim_robot_1"] == again["policy_node_1"] not in first.values()
    assert again | {name: first[name] for name in first if name.endswith("_1")} == first
    assert seeds(tmp_path, robots=2, seed=6)["sim_robot_1"] != again["sim_robot_1"]
    assert seeds(tmp_path, robots=2, seed=5, learner="", policy=False) == {n: first[n] for n in first if "sim" in n}
    (tmp_path / "robot-cartpole_1" / SPOOL_FILE).write_bytes(b"no database, which the policy node moves aside")
    assert seeds(tmp_path, robots=2, seed=5) == first


def test_a_fleet_has_names_that_the_link_and_ros_take() -> None:
    policy = {p.name: p for p in processes(Options("dmc:walker_walk:repeat=2", Path("x"), robots=2))}["policy_node_2"]
    assert policy.parameters is not None and policy.parameters["robot_id"] == "dmc_walker_walk_repeat_2_2"
    assert policy.namespace == "robot_2"


def test_the_simulated_robot_in_real_time_has_a_watchdog_as_a_robot_should() -> None:
    assert table(clock="realtime")["sim_robot"].parameters["watchdog"] == 0.5  # type: ignore[index]
    assert "watchdog" not in table()["sim_robot"].parameters  # type: ignore[operator]


def test_a_real_robot_does_not_move_before_it_is_asked_to() -> None:
    assert table()["policy_node"].parameters["automatic"] is True  # type: ignore[index]
    assert table(sim=False, clock="realtime")["policy_node"].parameters["automatic"] is False  # type: ignore[index]
    asked = table(sim=False, clock="realtime", automatic=True)["policy_node"].parameters
    assert asked is not None and asked["automatic"] is True


def test_a_real_robot_does_not_act_at_random_unless_it_is_asked_to() -> None:
    assert table()["policy_node"].parameters["random_actions"] is True  # type: ignore[index]
    assert table(sim=False, clock="realtime")["policy_node"].parameters["random_actions"] is False  # type: ignore[index]
    asked = table(sim=False, clock="realtime", random_actions=True)["policy_node"].parameters
    assert asked is not None and asked["random_actions"] is True


def test_a_real_robot_with_a_learner_elsewhere_is_one_program() -> None:
    programs = table(sim=False, clock="realtime", learner="tcp://192.0.2.1:5757", keys="left.key")
    assert list(programs) == ["policy_node"]
    assert programs["policy_node"].parameters is not None
    assert programs["policy_node"].parameters["learner"] == "tcp://192.0.2.1:5757"
    assert programs["policy_node"].parameters["keys"] == "left.key"
    assert programs["policy_node"].parameters["use_sim_time"] is False


def test_a_simulated_robots_time_is_the_policy_nodes() -> None:
    parameters = table()["policy_node"].parameters
    assert parameters is not None and parameters["use_sim_time"] is True
    assert table()["policy_node"].remappings == {}


def test_without_a_learner_the_policy_node_connects_to_none() -> None:
    parameters = table(learner="")["policy_node"].parameters
    assert parameters is not None and parameters["learner"] == ""


def test_ros_parameters_keep_their_types() -> None:
    """A string that looks like a number stays a string: it is quoted for ROS 2's YAML."""
    values = {"a": "1", "b": "", "c": 1, "d": 2.0, "e": True, "f": "true"}
    process = Process("x", "x", ("pkg.x",), parameters=values, namespace="/left/", remappings={"odom": "base/odom"})
    line = process.command("python")
    assert line[:6] == ["python", "-m", "pkg.x", "--ros-args", "-r", "__ns:=/left"]
    assert line[6:8] == ["-r", "odom:=base/odom"]
    given = dict(x.split(":=", 1) for x in line[9::2])
    assert {k: json.loads(v) for k, v in given.items()} == values
    assert given["d"] == "2.0"  # with its point: ROS 2 refuses an integer for a double


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sim": False}, "lockstep needs the simulated robot"),
        ({"clock": "fast"}, "expected lockstep or realtime, found 'fast'"),
        ({"learner": "192.0.2.1:5757"}, "tcp://host:port"),
        ({"bind": "5757"}, "tcp://address:port"),
        ({"bundle": "no/such.zip"}, "no/such.zip is not a file"),
        ({"robots": 4, "sim": False, "clock": "realtime"}, "robots: 4 are simulated ones"),
        ({"robots": 4, "keys": "left.json"}, "keys: each robot has a key of its own"),
        ({"params_file": "no/such.yaml"}, "params_file: no/such.yaml is not a file"),
        ({"remappings": ("odom",)}, "remappings: expected OLD:=NEW, found 'odom'"),
        ({"robots": 0}, "robots: expected a whole number from 1 to 64, found 0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        table(**options)


def test_a_parameter_file_goes_before_the_arguments_and_names_can_be_others(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("/**: {ros__parameters: {surprise_window: 7}}")
    options = Options(params_file=str(file), remappings=("joint_states:=arm/joints", "odom:=base/odom"), namespace="a")
    learner, *nodes = processes(options)
    assert "--params-file" not in learner.command()
    for node in nodes:
        line = node.command()
        assert line[-2:] == ["--params-file", str(file)] and "joint_states:=arm/joints" in line
        assert node.remappings == {"/clock": "/a/clock", "joint_states": "arm/joints", "odom": "base/odom"}


def test_the_clock_of_a_driver_that_runs_already_is_that_of_ros() -> None:
    """A simulator of others publishes /clock, whatever the namespace of a robot in it."""
    policy = table(sim=False, clock="realtime", namespace="arm1")["policy_node"]
    assert policy.namespace == "arm1" and policy.remappings == {}
    assert table(namespace="/")["sim_robot"].remappings == {}  # the root is no namespace of its own


def test_a_task_needs_a_robot_by_name() -> None:
    with pytest.raises(ValueError, match="goes with a robot's name"):
        Options("mine.yaml", Path("runs/x"), task="run")


def test_connectable() -> None:
    assert connectable("tcp://*:1") == connectable("tcp://0.0.0.0:1") == "tcp://127.0.0.1:1"
    assert connectable("tcp://192.0.2.1:1") == "tcp://192.0.2.1:1"


def test_two_runs_get_two_domains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE", raising=False)
    with own_domain() as one, own_domain() as two:
        assert one["ROS_DOMAIN_ID"] != two["ROS_DOMAIN_ID"]
        assert one["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_DOMAIN_ID" not in os.environ


def test_a_chosen_domain_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", "77")
    with own_domain() as one:
        assert one["ROS_DOMAIN_ID"] == "77"


def test_runs_that_begin_together_get_addresses_of_their_own(ports: list[int]) -> None:
    with own_address() as first, own_address() as second:  # although nothing listens at either yet
        assert [first, second] == [f"tcp://127.0.0.1:{port}" for port in ports[:2]]
    with own_address() as again:
        assert again == first


def test_a_port_that_a_program_holds_is_passed_over(ports: list[int]) -> None:
    with socket.socket() as program:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        program.bind(("127.0.0.1", ports[0]))
        program.listen()
        with own_address() as other:
            assert other == f"tcp://127.0.0.1:{ports[1]}"


def test_where_all_ports_are_held_the_option_is_named(ports: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "PORTS", ports[:1])
    words = "choose one: --bind tcp://127.0.0.1:PORT"
    with own_address(), pytest.raises(addresses.NoPortError, match=words), own_address():
        pass
