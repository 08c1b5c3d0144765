"""What a recording says of a robot: the same findings as of a live one, without the graph."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from robot_dreamer.data.bags import decode, messages, open_bag
from robot_dreamer.data.inspect import full_name
from robot_dreamer.preflight.evidence import Evidence
from robot_dreamer.preflight.findings import Finding, note, stop
from robot_dreamer.preflight.judge import findings_of
from robot_dreamer.spec import RobotSpec


def bag_findings(spec: RobotSpec, bag: Path, namespace: str) -> Iterator[Finding]:
    """Raises DataError for a bag that cannot be read."""
    evidence = Evidence(spec)
    wanted = {full_name(name, namespace): name for name in evidence.streams}  # more than an import needs
    wrong: dict[str, set[str]] = {}
    first = last = 0
    with open_bag(bag) as reader:
        for topic, time, data, kind in messages(reader, [c for c in reader.connections if c.topic in wanted]):
            first, last = first or time, time
            name = wanted[topic]
            if kind != evidence.streams[name].kind:
                wrong.setdefault(name, set()).add(kind)
                continue
            evidence.hear(name, decode(reader, topic, data, kind), time)
        held = ", ".join(sorted({c.topic for c in reader.connections})) or "none"
    yield note("bag", f"{(last - first) / 1e9:.3g} s; its topics: {held}")
    for name, kinds in wrong.items():
        expected = evidence.streams[name].kind
        text = f"expected {expected}, found {', '.join(sorted(kinds))}: wrong type"
        yield stop(f"topic {name}", text, "mend the type in the spec, or the driver")
    yield from findings_of(evidence, (last - first) / 1e9, {*wrong})
    for action in spec.actions:
        if not any(evidence.streams[topic].count for topic in action.command.topics):
            text = "nobody commanded it in this bag: its direction was not looked at"
            yield note(f"action {action.name}", text)
