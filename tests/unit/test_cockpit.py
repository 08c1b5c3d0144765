"""The pilot's console without ROS: its keys and its panel."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robot_dreamer.cli import main
from robot_dreamer.commands.call import WORDS
from robot_dreamer.commands.keyboard import Strokes
from robot_dreamer.report.cockpit import Part, View, panel
from robot_dreamer.report.console import plain_console

GUARD = {"state": "policy", "e_stop_pressed": "False", "clipped": "0", "slewed": "0"}


def shown(view: View) -> str:
    console = plain_console(file=io.StringIO(), width=120)
    console.print(panel(view))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_without_a_terminal_it_says_what_to_use_instead(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["pilot"]) == 2
    assert "expected a terminal" in (said := capsys.readouterr().err) and "robot-dreamer call" in said
    assert main(["pilot", "--namespace", "a-b"]) == 2 and "--namespace: " in capsys.readouterr().err


def test_each_word_has_a_key_of_its_own_and_what_moves_a_robot_a_capital_letter() -> None:
    keys = [word.key for word in WORDS.values()]
    assert len(set(keys)) == len(keys) and all(len(key) == 1 for key in keys) and "q" not in keys
    assert {name for name, word in WORDS.items() if word.key.isupper()} == {
        *("policy", "stand", "clear_fault", "forget_e_stop", "hand_back")
    }


@given(st.lists(st.sampled_from(["\x1b[A", "\x1b[3~", "\x1bOP", "\x1b[1;5C", "\x1b", " ", "x"])), st.data())
def test_arrows_in_pieces_are_no_letters_and_no_space_is_lost(strokes: list[str], data: st.DataObject) -> None:
    typed = "".join(strokes).encode()
    cut = data.draw(st.integers(0, len(typed)))
    keys = Strokes()
    read = keys.read(typed[:cut]) + keys.read(typed[cut:])
    assert read == "".join(x for x in strokes if x in (" ", "x"))


def test_a_sound_robot() -> None:
    parts = {
        "guard": Part(0, "policy", GUARD),
        "control loop": Part(0, "running", {"rate": "50", "ticks": "900", "misses": "2"}),
        "policy": Part(0, "bundle", {"version": "7", "age": "12", "surprise": "0.4", "surprise_threshold": "inf"}),
        "episodes": Part(
            0, "", {"running": "True", "length": "30", "return": "21.5", "episodes": "4", "last_return": "80"}
        ),
        "link": Part(0, "connected", {"spooled": "3", "dropped": "0"}),
        "callbacks": Part(),
    }
    text = shown(View("/arm1/policy", 0.5, parts))
    assert "/arm1/policy · policy" in text and "50 Hz · loop misses 2 of 900" in text
    assert "bundle 7, 12 s old · surprise 0.4 nats" in text and "running: 30 actions, return 21.5" in text
    assert "4 finished, ? cut" in text and "connected · 3 rows to send" in text
    assert "no word" not in text and "STOP" not in text and "callbacks" not in text


def test_a_robot_in_trouble() -> None:
    parts = {
        "guard": Part(2, "tilt: 40 degrees", GUARD | {"state": "fault", "e_stop_pressed": "True"}),
        "sensors": Part(1, "3 samples refused"),
    }
    text = shown(View("/policy", 4.0, parts, unanswered=2.0, said=[("stand", False, "a fault is latched")]))
    assert "FAULT tilt: 40 degrees · emergency stop is pressed" in text and "3 samples refused" in text
    assert "no word from /policy for 4 s" in text and "STOP asked for 2 s ago and not answered" in text
    assert "stand: a fault is latched" in text and "no learner: nothing is recorded" in text


def test_the_page_has_the_keys_that_there_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "onboard.md").read_text().split("### The pilot's console")[1]
    told = dict(re.findall(r"\| `?(\w+)`? \| `(\w+)` (?=\|)", page))
    assert told == {word.key.replace(" ", "space"): name for name, word in WORDS.items()}
