"""What goes into a control tick, and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field

from robot_dreamer.draws import Draws
from robot_dreamer.onboard.guard import Fault
from robot_dreamer.onboard.limits import Commands
from robot_dreamer.onboard.policy import PolicyOutput
from robot_dreamer.record import Arrays


@dataclass(frozen=True, slots=True)
class Sample:
    """All that the robot says at one tick.

    Attributes:
      observation: all quantities of the spec by name, dtype and `reading_shape` as there (EpisodeBooks adds the
        history). The controller keeps it: never change it afterwards.
      reward: sum since the previous sample.
      terminal: the task has ended for good.
      stamp: when the observation was taken, ns on the robot's ROS clock.
      last: the world ends the episode here by a time limit of its own; a robot has none but the spec's.
      drawn: of the sample that begins an episode, what was drawn for it; empty where nobody says so.
    """

    observation: Arrays
    reward: float
    terminal: bool
    stamp: int
    last: bool = False
    drawn: Draws = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Decision:
    """What a sample led to.

    Attributes:
      command: in units, by action name; None when nothing is to be sent (the episode ended, the sample was refused,
        or the fault's reaction is to send nothing).
      is_last: the episode ended with this sample; the next one begins a new episode.
      action: executed and normalised; empty when there is no action.
      requested: what the policy asked for.
      intervention: a person's command went out instead of the policy's.
      output: of the policy, for its monitors; None when it was not asked.
      refused: why the sample was refused; empty if it was not. kind: under which that is counted.
      fault: what the guard has latched; then `command` is the reaction to it, and no action is recorded.
    """

    command: Commands | None
    is_last: bool = False
    action: Arrays = field(default_factory=dict)
    requested: Arrays = field(default_factory=dict)
    intervention: bool = False
    output: PolicyOutput | None = None
    refused: str = ""
    kind: str = ""
    fault: Fault | None = None
