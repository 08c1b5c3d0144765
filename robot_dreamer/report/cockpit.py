"""What the pilot's console shows of a policy node. Pure: from what the node says to a panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from robot_dreamer.report.figures import UNKNOWN

SILENT = 3.0  # seconds without a word from a node that speaks once a second
_STYLES = ("", "yellow", "bold red")
_ASKED = 0.5  # seconds that the answer to a stop may take
_COLUMNS = 3


@dataclass(frozen=True)
class Part:
    """Of a policy node, as /diagnostics has it; level: 0 well, 1 warning, 2 error."""

    level: int = 0
    message: str = ""
    values: Mapping[str, str] = field(default_factory=dict)

    def of(self, name: str) -> str:
        """A counter, `?` where the node does not tell it."""
        return self.values.get(name, UNKNOWN)


@dataclass(frozen=True)
class View:
    """What is known at one moment.

    Attributes:
      node: name of the policy node, with its namespace.
      age: seconds since it spoke last; None if it never has.
      parts: by name.
      unanswered: seconds since a stop was asked for that it has not answered; None if there is none.
      said: the last answers: word, whether it was done, the node's words.
      keys: of the console, and what each does.
    """

    node: str
    age: float | None
    parts: Mapping[str, Part]
    unanswered: float | None = None
    said: Sequence[tuple[str, bool, str]] = ()
    keys: Sequence[tuple[str, str]] = ()

    @property
    def trouble(self) -> str:
        """Why what is shown is not how it is; "" if it is."""
        if self.age is None:
            return f"no word from {self.node} yet: is it running, in this namespace and ROS_DOMAIN_ID?"
        return f"no word from {self.node} for {self.age:.0f} s: what is below is old" if self.age > SILENT else ""

    def part(self, name: str) -> Part:
        """What the node says of a part of itself."""
        return self.parts.get(name, Part())


def panel(view: View) -> Panel:
    """For a terminal."""
    parts: list[RenderableType] = []
    if view.unanswered is not None and view.unanswered > _ASKED:
        text = f"STOP asked for {view.unanswered:.0f} s ago and not answered: use the emergency stop in your hand"
        parts.append(Text(text, style="bold white on red"))
    if view.trouble:
        parts.append(Text(view.trouble, style="yellow"))
    if view.parts:
        parts.append(_figures(view))
    parts += [Text(f"{word}: {text}", style="dim" if done else "red") for word, done, text in view.said]
    parts += [Text(), _keys(view.keys)]
    worst = max((part.level for part in view.parts.values()), default=0)
    border = "yellow" if view.trouble else ("cyan", "yellow", "red")[min(worst, 2)]
    title = Text.assemble((view.node, "bold"), f" · {view.part('guard').of('state')}" if view.parts else "")
    return Panel(Group(*parts), title=title, title_align="left", border_style=border)


def _figures(view: View) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan", no_wrap=True)
    table.add_column()
    lines = {
        "guard": _guard(view.part("guard")),
        "control loop": _loop(view.part("control loop")),
        "policy": _policy(view.part("policy")),
        "episodes": _episodes(view.part("episodes")),
        "link": _link(view),
    }
    for name, line in lines.items():
        part = view.part(name)
        table.add_row(name, Text(line, style=_STYLES[min(part.level, 2)]))
    for name, part in view.parts.items():
        if name not in lines and part.level:
            table.add_row(name, Text(part.message, style=_STYLES[min(part.level, 2)]))
    return table


def _guard(guard: Part) -> str:
    pressed = " · emergency stop is pressed" if guard.of("e_stop_pressed") == "True" else ""
    fault = f"FAULT {guard.message}" if guard.level else guard.of("state")
    return f"{fault}{pressed} · clipped {guard.of('clipped')}, slewed {guard.of('slewed')}"


def _loop(loop: Part) -> str:
    misses = f"{loop.of('rate')} Hz · loop misses {loop.of('misses')} of {loop.of('ticks')}"
    return f"{loop.message} · {misses}" if loop.level else misses


def _policy(policy: Part) -> str:
    version = policy.of("version")
    acting = "random actions" if version.startswith("-") else f"bundle {version}, {policy.of('age')} s old"
    judged = f" of {threshold}" if (threshold := policy.of("surprise_threshold")) != "inf" else ""
    surprise = f" · surprise {policy.of('surprise')}{judged} nats" if "surprise" in policy.values else ""
    return f"{acting}{surprise} · {policy.message}" if policy.level else f"{acting}{surprise}"


def _episodes(episodes: Part) -> str:
    running = episodes.of("running") == "True"
    now = f"running: {episodes.of('length')} actions, return {episodes.of('return')}" if running else "none is running"
    done = f"{episodes.of('episodes')} finished, {episodes.of('abandoned')} cut"
    return f"{now} · {done} · last return {episodes.of('last_return')}"


def _link(view: View) -> str:
    if "link" not in view.parts:
        return "no learner: nothing is recorded"
    link = view.parts["link"]
    return f"{link.message} · {link.of('spooled')} rows to send, {link.of('dropped')} dropped"


def _keys(keys: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for _ in range(_COLUMNS):
        table.add_column()
    shown = [Text.assemble((key, "bold"), f" {text}") for key, text in keys]
    for i in range(0, len(shown), _COLUMNS):
        table.add_row(*shown[i : i + _COLUMNS])
    return table
