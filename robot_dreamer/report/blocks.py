"""What a page is made of. The template knows how each looks; sections say what is in them."""

from __future__ import annotations

from dataclasses import dataclass, field

from robot_dreamer.report.charts import Chart, Drawn, draw


@dataclass(frozen=True)
class Table:
    """Numbers in words; `wide` tables scroll by themselves."""

    title: str
    head: list[str]
    rows: list[list[str]]
    caption: str = ""
    kind: str = "table"


@dataclass(frozen=True)
class Strip:
    """Pictures in rows: `uri` is a PNG whose rows have these labels."""

    title: str
    uri: str
    labels: list[str]
    columns: list[str]
    caption: str = ""
    kind: str = "strip"


@dataclass(frozen=True)
class Movie:
    """A film; `uri` is an MP4."""

    title: str
    uri: str
    caption: str = ""
    kind: str = "movie"


@dataclass(frozen=True)
class Text:
    """A sentence; `level` is "missing", "good", "bad" or ""."""

    text: str
    level: str = ""
    kind: str = "text"


@dataclass(frozen=True)
class Code:
    """Something to copy."""

    title: str
    text: str
    folded: bool = False
    kind: str = "code"


@dataclass(frozen=True)
class Figure:
    """A chart as it was drawn."""

    drawn: Drawn
    kind: str = "figure"


Block = Table | Strip | Movie | Text | Code | Figure


@dataclass
class Section:
    """A chapter of the page; `lead` is the question that it answers."""

    id: str
    title: str
    lead: str
    tiles: list[tuple[str, str]] = field(default_factory=list)
    """(label, value) of the most important numbers."""
    blocks: list[Block] = field(default_factory=list)

    def chart(self, chart: Chart) -> None:
        """Add a chart, or the sentence why there is none."""
        drawn = draw(chart)
        self.blocks.append(Figure(drawn) if drawn.svg else Text(f"{chart.title}: {drawn.missing}.", "missing"))

    def say(self, text: str, level: str = "") -> None:
        """Add a sentence."""
        self.blocks.append(Text(text, level))
