"""Who is remembered and who is refused when many robots come."""

from __future__ import annotations

from robot_dreamer.link.messages import Hello, Refused
from robot_dreamer.link.sessions import Session, Sessions
from robot_dreamer.link.timing import LinkLimits, Timing
from robot_dreamer.spec import load_spec

SPEC = load_spec("cartpole")


class Door:
    def __init__(self, robots: int) -> None:
        self.sessions = Sessions(SPEC, None, Timing(), LinkLimits(robots=robots))
        self.now = 0.0

    def hello(self, robot: str) -> Session | Refused:
        self.now += 1.0
        message = Hello(robot=robot, boot="b", spec_hash=SPEC.hash, spec=SPEC.to_json())
        return self.sessions.hello(message, robot.encode(), "", self.now)

    def leave(self, robot: str) -> None:
        session = self.sessions.get(robot.encode())
        assert session is not None
        self.sessions.drop(session)


def test_robots_that_are_away_take_no_place() -> None:
    door = Door(robots=2)
    for i in range(20):
        assert isinstance(door.hello(f"r{i}"), Session), "robots seen long ago must not fill the learner"
        door.leave(f"r{i}")
    assert [s.robot for s in door.sessions.status()] == ["r18", "r19"]  # what is remembered is bounded


def test_a_full_learner_refuses_strangers_but_takes_back_whom_it_knows() -> None:
    door = Door(robots=2)
    door.hello("known")
    door.leave("known")
    assert isinstance(door.hello("a"), Session) and isinstance(door.hello("b"), Session)
    refused = door.hello("stranger")
    assert isinstance(refused, Refused) and refused.reason == "full" and "2 robots" in refused.text
    assert isinstance(door.hello("known"), Session) and isinstance(door.hello("a"), Session)
    assert door.sessions.refusals == {"full": 1}


def test_a_silent_robot_keeps_its_place_for_long_and_its_name_no_longer() -> None:
    """It may be amid a message that takes longer than `silence`: dropped meanwhile, it would be thrown away."""
    door, timing = Door(robots=2), Timing()
    assert isinstance(door.hello("r"), Session)
    late = door.now + 2.0 * timing.silence
    assert door.sessions.sweep(late) == [] and door.sessions.get(b"r") is not None
    other = Hello(robot="r", boot="another", spec_hash=SPEC.hash, spec=SPEC.to_json())
    refused = door.sessions.hello(other, b"new", "", door.now + 0.5 * timing.silence)
    assert isinstance(refused, Refused) and refused.reason == "claimed"
    assert isinstance(door.sessions.hello(other, b"new", "", late), Session) and door.sessions.get(b"r") is None
    door.sessions.sweep(late + 2.0 * timing.silence_last)
    assert door.sessions.get(b"new") is None
