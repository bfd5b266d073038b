"""What was measured, as a table for people and as Markdown for benchmarks/README.md."""

from dataclasses import dataclass, field
from pathlib import Path

from rich.table import Table

from benchmarks import bar_chart

README = Path(__file__).with_name("README.md")
HEADINGS = ("what", "measured", "an event", "wanted")
BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"


@dataclass(frozen=True)
class Figure:
    """A line of the results. `wanted` is the figure asked for, and `met` whether it is reached."""

    name: str
    value: str
    each: str = ""
    wanted: str = ""
    met: bool = True


@dataclass
class Section:
    """Figures that belong together, with what a reader must know about how they were measured."""

    title: str
    how: str
    figures: list[Figure] = field(default_factory=list)
    bars: dict[str, float] = field(default_factory=dict)
    headings: tuple[str, ...] = ()  # of a table with columns of its own, which has rows and no figures
    rows: list[tuple[str, ...]] = field(default_factory=list)
    beside: bool = True  # whether the picture sets others beside ours, its first bar

    def rate(self, name: str, per_second: float, wanted: float = 0.0, unit: str = "events/s") -> None:
        """Add a speed; `wanted` is the least asked for."""
        each = f"{1e6 / per_second:.2f} µs" if per_second else ""
        least = f"at least {wanted:,.0f}" if wanted else ""
        self.figures.append(Figure(name, f"{per_second:,.0f} {unit}", each, least, per_second >= wanted))

    def bar(self, name: str, per_second: float) -> None:
        """Add a speed that the section's picture shows too."""
        self.rate(name, per_second)
        self.bars[name] = per_second

    def micros(self, name: str, microseconds: float) -> None:
        """Add a cost an event."""
        self.rate(name, 1e6 / microseconds)

    def ratio(self, name: str, value: float, wanted: float = 0.0) -> None:
        """Add a ratio."""
        least = f"at least {wanted:g}" if wanted else ""
        self.figures.append(Figure(name, f"{value:.1f} times", "", least, value >= wanted))

    def most(self, name: str, value: float, unit: str, wanted: float = 0.0) -> None:
        """Add a figure that should be small: `wanted` is the most asked for."""
        limit = f"under {wanted:g} {unit}" if wanted else ""
        text = f"{value:,.0f}" if value >= 100 else f"{value:.2f}"
        self.figures.append(Figure(name, f"{text} {unit}", "", limit, not wanted or value < wanted))


def table(section: Section) -> Table:
    """A section for the terminal."""
    found = Table(title=section.title, caption=section.how, title_justify="left", caption_justify="left")
    for number, heading in enumerate(section.headings or HEADINGS):
        found.add_column(heading, justify="right" if number else "left")
    for row in section.rows:
        found.add_row(*row)
    for figure in section.figures:
        value = figure.value if figure.met else f"[red]{figure.value}[/red]"
        found.add_row(figure.name, value, figure.each, figure.wanted)
    return found


def markdown(sections: list[Section], machine: list[tuple[str, str]]) -> str:
    """All of it for the README; draws the pictures that it shows."""
    lines = ["| machine | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in machine)]
    for section in sections:
        lines += ["", f"### {section.title}", "", section.how, ""]
        if section.bars:
            picture = bar_chart.write(section.title, section.bars, 1 if section.beside else len(section.bars))
            lines += [f"![{section.title}]({picture})", ""]
        headings = section.headings or HEADINGS
        lines += [f"| {' | '.join(headings)} |", f"| --- |{' ---: |' * (len(headings) - 1)}"]
        lines += [f"| {' | '.join(row)} |" for row in section.rows]
        for figure in section.figures:
            wanted = f"{figure.wanted}{'' if figure.met else ' (missed)'}"
            lines.append(f"| {figure.name} | {figure.value} | {figure.each} | {wanted} |")
    return "\n".join(lines)


def write(text: str) -> None:
    """Replace what stands between the marks of benchmarks/README.md."""
    before, _, rest = README.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
