"""LeRobotDataset: what comes out of a store goes back into one, every bit; strangers' come in by their names."""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("av")
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.synthetic import synthetic_row
from robot_dreamer.cli import main
from robot_dreamer.data.lerobot.choice import parse_choice
from robot_dreamer.data.lerobot.images import read_video, to_png, write_video
from robot_dreamer.data.source import rows_of
from robot_dreamer.link.store import ExperienceStore
from robot_dreamer.record import INTERVENTION, StepRecord
from robot_dreamer.spec import RobotSpec, load_spec, parse_spec
from tests.unit.test_data_bags import DISCRETE, assert_same, fill, stored

CARTPOLE, CAMERA = load_spec("cartpole"), load_spec("cartpole_camera")
ARM = """
name: arm
rate: 10.0
observations:
  - {name: joints, shape: [4], encoding: cos_sin, unit: rad, scale: [0.5, 1.0],
     source: {topic: joint_states, type: sensor_msgs/msg/JointState, field: position, names: [pan, lift]}}
  - {name: camera, shape: [48, 48, 3], dtype: uint8, picture: {size: [96, 96]},
     source: {topic: camera, type: sensor_msgs/msg/Image, field: data}}
actions:
  - {name: command, unit: rad, low: [-2.0, 0.0], high: [2.0, 1.0], command: {topic: arm, names: [pan, lift]}}
reward: {topic: task, type: sensor_msgs/msg/JointState, field: position, names: [reward]}
episode: {max_steps: 20}
"""


@pytest.mark.parametrize("spec", [CARTPOLE, CAMERA, load_spec("quadruped"), DISCRETE], ids=lambda s: s.name)
def test_every_field_comes_back_and_twice_adds_nothing(tmp_path: Path, spec: RobotSpec) -> None:
    made = fill(tmp_path / "a.sqlite", spec, robots=("r1", "9-lives"), rows=105 if spec is CARTPOLE else 6)
    export = ["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "set"), "--format", "lerobot"]
    assert main(export) == 0
    for _ in range(2):
        assert main(["data", "import", str(tmp_path / "set"), "--store", str(tmp_path / "b.sqlite")]) == 0
        assert_same(made, stored(tmp_path / "b.sqlite", spec))
    assert main(export) == 2 and not list(tmp_path.glob("*.part")), "nothing is overwritten, nothing is left"


def exported(tmp_path: Path, spec: RobotSpec, *options: str, rows: int = 30) -> tuple[list[StepRecord], Path]:
    made = fill(tmp_path / "a.sqlite", spec, rows=rows)
    command = ["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "set"), "--format", "lerobot"]
    assert main([*command, *options]) == 0
    return made, tmp_path / "set"


def test_video_loses_as_much_as_is_said_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, dataset = exported(tmp_path, CAMERA, "--video")
    (camera,) = [o.name for o in CAMERA.observations if o.dtype == "uint8"]
    said = json.loads((dataset / "meta/robot_dreamer.json").read_text())["video_loss"][f"observation.images.{camera}"]
    assert f"mean error of a pixel {said:.2f} of 255" in capsys.readouterr().out
    assert main(["data", "import", str(dataset), "--store", str(tmp_path / "b.sqlite")]) == 0
    found = stored(tmp_path / "b.sqlite", CAMERA)
    pictures = [(a.observation.pop(camera), b.observation.pop(camera)) for a, b in zip(made, found, strict=True)]
    assert_same(made, found)
    error = np.mean([np.abs(a.astype(int) - b).mean() for a, b in pictures])
    assert error == pytest.approx(said, rel=1e-6) and error > 0


def test_frames_are_found_by_their_time_in_a_longer_video(tmp_path: Path) -> None:
    """As others write them: several episodes in one file."""
    frames = [np.full((48, 48, 3), 8 * i, np.uint8) for i in range(30)]
    write_video(tmp_path / "v.mp4", frames, 10)
    for begin in (0, 7, 12):
        found = list(read_video(tmp_path / "v.mp4", begin / 10, 5, 10, 3))
        assert [round(float(x.mean()) / 8) for x in found] == list(range(begin, begin + 5))


def test_the_files_are_those_of_the_format(tmp_path: Path) -> None:
    made, dataset = exported(tmp_path, CARTPOLE)
    info = json.loads((dataset / "meta/info.json").read_text())
    assert (info["codebase_version"], info["fps"], info["total_frames"]) == ("v3.0", 25, len(made))
    table = pq.read_table(dataset / "data/chunk-000/file-000.parquet").to_pydict()
    assert set(table) == set(info["features"]) and table["index"] == list(range(len(made)))
    state = np.array(table["observation.state"], np.float32)
    assert np.array_equal(state[3], np.concatenate([made[3].observation[o.name] for o in CARTPOLE.observations]))
    assert info["features"]["observation.state"]["names"][0] == "cart_position.slider"
    assert table["next.reward"][2] == np.float32(made[3].reward) and table["timestamp"][5] == np.float32(5 / 25)
    stats = json.loads((dataset / "meta/stats.json").read_text())["observation.state"]
    np.testing.assert_allclose(stats["mean"], state.mean(0), atol=1e-6)
    np.testing.assert_allclose(stats["std"], state.std(0), atol=1e-6)
    assert stats["min"] == state.min(0).tolist() and stats["count"] == [len(made)]
    (episodes,) = (dataset / "meta/episodes").glob("*/*.parquet")
    entries = pq.read_table(episodes).to_pylist()
    assert [e["dataset_to_index"] - e["dataset_from_index"] for e in entries] == [e["length"] for e in entries]


def write_stranger(
    root: Path, episodes: int = 2, frames: int = 6, done: tuple[int, ...] = (5,), **features: Any
) -> dict[str, np.ndarray]:
    """A dataset as somebody else would write it: other names, another order of joints, rows with one episode each."""
    rng = np.random.default_rng(0)
    count = episodes * frames
    values = {
        "observation.state": rng.uniform(-1, 1, (count, 3)).astype(np.float32),
        "action": rng.uniform(0, 1, (count, 2)).astype(np.float32),
        "next.reward": rng.uniform(0, 1, (count, 1)).astype(np.float32),
        "next.done": np.isin(np.arange(count) % frames, done)[:, None],
    }
    pictures = rng.integers(0, 255, (count, 96, 96, 3), np.uint8)
    kinds = {
        "observation.state": {"dtype": "float32", "shape": [3], "names": {"motors": ["grip", "lift", "pan"]}},
        "action": {"dtype": "float32", "shape": [2], "names": ["a", "b"]},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.done": {"dtype": "bool", "shape": [1], "names": None},
        "observation.images.top": {"dtype": "image", "shape": [96, 96, 3], "names": None},
    }
    columns: dict[str, Any] = {k: v[:, 0].tolist() if v.shape[1] == 1 else v.tolist() for k, v in values.items()}
    columns["observation.images.top"] = [{"bytes": to_png(x), "path": "x.png"} for x in pictures]
    columns["episode_index"] = np.repeat(np.arange(episodes), frames).tolist()
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    info = {"codebase_version": "v3.0", "fps": 10, "total_frames": count, "features": kinds} | features
    (root / "meta/info.json").write_text(json.dumps(info))
    pq.write_table(
        pa.table({"episode_index": list(range(episodes))}), root / "meta/episodes/chunk-000/file-000.parquet"
    )
    pq.write_table(pa.table(columns), root / "data/chunk-000/file-000.parquet")
    return values | {"pictures": pictures}


MAPS = ["--map", "observation.state=joints", "--map", "observation.images.top=camera"]


def imported(tmp_path: Path, *options: str, spec: str = ARM) -> int:
    (tmp_path / "arm.yaml").write_text(spec)
    command = ["data", "import", str(tmp_path / "theirs"), "--spec", str(tmp_path / "arm.yaml")]
    return main([*command, "--store", str(tmp_path / "b.sqlite"), *options])


def test_a_strangers_dataset_comes_in_by_its_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = write_stranger(tmp_path / "theirs")
    spec = parse_spec(ARM)
    for _ in range(2):
        assert imported(tmp_path, *MAPS) == 0
    assert "command by order: a, b of the dataset are pan, lift of the spec" in capsys.readouterr().out
    rows = stored(tmp_path / "b.sqlite", spec)
    assert [(r.episode, r.is_first, r.is_last, r.is_terminal) for r in rows[4:8]] == [
        (0, False, False, False), (0, False, True, False), (1, True, False, False), (1, False, False, False),
    ]  # fmt: skip
    pan, lift = 0.5 * values["observation.state"][3, 2], values["observation.state"][3, 1]
    expected = [np.cos(pan), np.sin(pan), np.cos(lift), np.sin(lift)]
    np.testing.assert_allclose(rows[3].observation["joints"], expected, atol=1e-6)
    assert rows[3].observation["camera"].shape == (48, 48, 3)
    whole = values["pictures"][3].reshape(48, 2, 48, 2, 3).mean((1, 3))
    np.testing.assert_allclose(rows[3].observation["camera"], whole, atol=0.51)
    np.testing.assert_allclose(spec.actions[0].to_command(rows[3].action["command"]), values["action"][3], atol=1e-6)
    reward = values["next.reward"][:, 0]
    assert [r.reward for r in rows[:5]] == [0.0, *reward[:4]], "it arrives with the next row"
    assert rows[5].reward == pytest.approx(reward[4] + reward[5]), "the last one is not lost"
    assert rows[3].policy_version == INTERVENTION and rows[4].stamp_capture - rows[3].stamp_capture == 10**8
    other = [*MAPS, "--map", "observation.state[0:1]=reward"]
    assert imported(tmp_path, *other) == 2
    assert "made by another spec or --map" in capsys.readouterr().err


def test_rewards_and_ends_may_be_computed_or_mapped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_stranger(tmp_path / "theirs")
    computed = ARM.replace(
        next(x for x in ARM.splitlines() if x.startswith("reward:")), 'reward: {expression: "joints[0]"}'
    )
    assert imported(tmp_path, *MAPS, "--map", "next.done=terminal", spec=computed) == 0
    rows = stored(tmp_path / "b.sqlite", parse_spec(computed))
    assert rows[2].reward == pytest.approx(float(rows[2].observation["joints"][0]))
    assert [r.is_terminal for r in rows[:6]] == [False] * 5 + [True]
    assert imported(tmp_path, *MAPS, "--map", "next.reward=reward", spec=computed) == 2
    assert "reward is computed from an expression" in capsys.readouterr().err


def test_a_reward_that_stands_in_a_frame_is_of_that_frames_row(tmp_path: Path) -> None:
    seen = write_stranger(tmp_path / "theirs")["observation.state"][:, 0]
    assert imported(tmp_path, *MAPS, "--map", "observation.state[0:1]=reward") == 0
    assert [row.reward for row in stored(tmp_path / "b.sqlite", parse_spec(ARM))][:6] == [0.0, *seen[1:6]]


@pytest.mark.parametrize(("done", "length"), [((4, 5), 6), ((2, 3, 4, 5), 4), ((5,), 6)])
def test_an_end_comes_with_the_row_that_its_reward_comes_with(
    tmp_path: Path, done: tuple[int, ...], length: int
) -> None:
    reward = write_stranger(tmp_path / "theirs", done=done)["next.reward"][:, 0]
    ends = ARM.replace(
        "episode: {", "terminal: {topic: t, type: sensor_msgs/msg/JointState, field: position, names: [t]}\nepisode: {"
    )
    assert imported(tmp_path, *MAPS, "--map", "next.done=terminal", spec=ends) == 0
    rows = [row for row in stored(tmp_path / "b.sqlite", parse_spec(ends)) if row.episode == 0]
    assert len(rows) == length and rows[-1].is_terminal and not any(row.is_terminal for row in rows[:-1])
    assert sum(row.reward for row in rows) == pytest.approx(reward[: length if length == 6 else length - 1].sum())


def test_draws_that_a_row_can_carry_come_back(tmp_path: Path) -> None:
    drawn = {"friction": [1 / (n + 3) for n in range(1500)]}
    store = ExperienceStore(tmp_path / "a.sqlite", CARTPOLE)
    store.add([dataclasses.replace(synthetic_row(CARTPOLE, "r", "b", n), drawn={} if n else drawn) for n in range(5)])
    store.close()
    words = ["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "set"), "--format", "lerobot"]
    assert main(words) == 0
    assert main(["data", "import", str(tmp_path / "set"), "--store", str(tmp_path / "b.sqlite")]) == 0
    assert stored(tmp_path / "b.sqlite", CARTPOLE)[0].drawn == drawn


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        (MAPS[2:], "nothing for 'joints': say --map FEATURE=joints; it has: observation.state, action"),
        ([*MAPS, "--map", "state=joints"], "mapped twice: joints"),
        (["--map", "state=joints", *MAPS[2:]], "has no feature 'state'; it has: observation.state"),
        ([*MAPS, "--map", "action=legs"], "legs is nothing of robot arm; it has: joints, camera, command"),
        (["--map", "action=camera", *MAPS[:2]], "camera is a picture, 'action' is of float32"),
        (["--map", "observation.images.top=joints", *MAPS[2:]], "top' is of image, expected numbers"),
        ([*MAPS, "--map", "observation.state[0:3]=command"], "needs 2 numbers (pan, lift), observation.state[0:3]"),
        ([*MAPS, "--map", "observation.state[2:5]=command"], r"observation.state[2:5] has 3 of 3"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(
    tmp_path: Path, maps: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_stranger(tmp_path / "theirs")
    assert imported(tmp_path, *maps) == 2
    assert message in capsys.readouterr().err


def test_other_rates_lengths_versions_and_halves_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "theirs"
    for changes, frames, message in (
        ({"fps": 30}, 6, "recorded at 30 Hz, robot arm acts at 10 Hz"),
        ({"codebase_version": "v2.1"}, 6, "expected version v3.0, found v2.1"),
        ({"features": 3}, 6, "info.json cannot be read"),
        ({}, 30, "episode 0 has 30 frames, the spec allows 20 actions: raise episode.max_steps"),
    ):
        write_stranger(theirs, frames=frames, **changes)
        assert imported(tmp_path, *MAPS) == 2 and message in capsys.readouterr().err
        shutil.rmtree(theirs)
    write_stranger(theirs)
    data = theirs / "data/chunk-000/file-000.parquet"
    data.write_bytes(data.read_bytes()[:-100])
    assert imported(tmp_path, *MAPS) == 2 and "file-000.parquet cannot be read" in capsys.readouterr().err
    data.unlink()
    assert imported(tmp_path, *MAPS) == 2 and "the dataset is not whole" in capsys.readouterr().err


def test_an_export_brings_its_own_names_and_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, dataset = exported(tmp_path, CARTPOLE)
    store = ["--store", str(tmp_path / "b.sqlite")]
    assert main(["data", "import", str(dataset), *store, "--map", "a=b"]) == 2
    assert "has its own names" in capsys.readouterr().err
    assert main(["data", "import", str(dataset), *store, "--spec", "quadruped"]) == 2
    assert "was made for robot 'cartpole'" in capsys.readouterr().err
    (dataset / "meta/robot_dreamer.json").unlink()
    assert main(["data", "import", str(dataset), *store]) == 2
    assert "say what its features mean: --spec" in capsys.readouterr().err


def test_a_rate_that_is_no_whole_number_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = msgspec.structs.replace(CARTPOLE, rate=12.5)
    fill(tmp_path / "a.sqlite", spec, rows=3)
    command = ["data", "export", str(tmp_path / "a.sqlite"), "--output", str(tmp_path / "set"), "--format", "lerobot"]
    assert main(command) == 2 and "the robot's rate is 12.5 Hz" in capsys.readouterr().err
    assert not list(tmp_path.glob("set*"))


def test_the_words_of_map() -> None:
    found = parse_choice("observation.state[2:4]=joint_position")
    assert (found.feature, found.name, found.start, found.stop) == ("observation.state", "joint_position", 2, 4)
    assert parse_choice("action=arm").stop is None
    for text in ("", "action", "=arm", "action[1]=arm", "a=b=c"):
        with pytest.raises(argparse.ArgumentTypeError, match="maps nothing"):
            parse_choice(text)


def there_and_back(folder: Path, rows: list[StepRecord]) -> Path:
    """The store that a dataset made of these rows of the cart-pole is imported into."""
    store = ExperienceStore(folder / "a.sqlite", CARTPOLE)
    store.add(rows)
    store.close()
    command = ["data", "export", str(folder / "a.sqlite"), "--output", str(folder / "set"), "--format", "lerobot"]
    assert main(command) == 0
    assert main(["data", "import", str(folder / "set"), "--store", str(folder / "b.sqlite")]) == 0
    return folder / "b.sqlite"


def test_what_a_robot_lived_after_a_restart_comes_behind_what_it_lived_before(tmp_path: Path) -> None:
    lived = [synthetic_row(CARTPOLE, "a", boot, n, episode_steps=4) for boot in ("late", "early") for n in range(12)]
    found = stored(there_and_back(tmp_path, lived), CARTPOLE)
    assert [(row.boot, row.sequence) for row in found] == [(row.boot, row.sequence) for row in lived]


def test_two_robots_in_turns_are_episodes_of_their_own(tmp_path: Path) -> None:
    rows = [synthetic_row(CARTPOLE, robot, "boot", n) for n in range(120) for robot in ("a", "b")]
    again = ExperienceStore(there_and_back(tmp_path, rows), CARTPOLE)
    assert_same(rows, list(rows_of(again)))
    again.close()
