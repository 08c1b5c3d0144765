"""What made the run: command, configuration, code, machine."""

from __future__ import annotations

import json
from datetime import datetime, timezone

from robot_dreamer.report.blocks import Code, Section, Table
from robot_dreamer.report.run_files import RunFiles


def setup(files: RunFiles) -> Section:
    """The chapter."""
    section = Section("setup", "Configuration", "How can it be done again?")
    if files.commands:
        text = "\n".join(str(line.get("command", "")) for line in files.commands)
        section.blocks.append(Code("Commands, in the order in which they were given", text))
    else:
        section.say("commands.jsonl: the command that began this run was not written down.", "missing")
    facts = [[name, str(files.run[name])] for name in ("code", "torch", "machine", "environment") if name in files.run]
    if files.config:
        run = files.config.get("run", {})
        facts.append(["configuration", str(files.config.get("name", "unnamed"))])
        facts.append(["generation", str(files.config.get("objective", "not said"))])
        facts.append(["seed", str(run.get("seed", files.config.get("seed", "not said")))])
    if files.spec is not None:
        facts.append(["robot", files.spec.name + (f": {files.spec.description}" if files.spec.description else "")])
        facts.append(["control rate", f"{files.spec.rate:g} Hz"])
        facts.append(["hash of the robot's spec", files.spec.hash])
    if files.status is not None:
        when = datetime.fromtimestamp(files.status.time, timezone.utc)
        facts.append(["last word of the learner", f"{when:%Y-%m-%d %H:%M} UTC"])
    if facts:
        section.blocks.append(Table("What it ran on", ["", ""], facts))
    if files.config:
        section.blocks.append(Code("The whole configuration", json.dumps(files.config, indent=1), folded=True))
    if files.spec is not None:
        section.blocks.append(Code("The robot", json.dumps(files.run["spec"], indent=1), folded=True))
    return section
