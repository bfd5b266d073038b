"""Speeds side by side as a picture: horizontal bars from zero, so that a length says what the figure says."""

import re
from html import escape
from pathlib import Path

FOLDER = Path(__file__).parent / "images"

WIDTH, NAMES, FIGURES = 860, 300, 150  # pixels; the bars have what is between
ROW, TOP = 34, 48
OURS, THEIRS = "#0b6e4f", "#9aa5b1"


def write(title: str, per_second: dict[str, float], ours: int = 1) -> str:
    """Draw a section's speeds; returns the path for the README. The first `ours` are ours, and stand out."""
    FOLDER.mkdir(exist_ok=True)
    name = re.sub("[^a-z]+", "-", title.lower()).strip("-")
    (FOLDER / f"{name}.svg").write_text(svg(title, per_second, ours), encoding="utf-8")
    return f"{FOLDER.name}/{name}.svg"


def svg(title: str, per_second: dict[str, float], ours: int = 1) -> str:
    """The picture."""
    most = max(per_second.values())
    height = TOP + ROW * len(per_second) + 8
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="14" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="12" y="28" font-size="16" font-weight="bold">{escape(title)}, events a second</text>',
    ]
    for number, (name, value) in enumerate(per_second.items()):
        y = TOP + ROW * number
        colour = OURS if number < ours else THEIRS
        length = max(1.0, (WIDTH - NAMES - FIGURES) * value / most)
        lines += [
            f'<text x="{NAMES - 10}" y="{y + 18}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{NAMES}" y="{y + 2}" width="{length:.1f}" height="22" fill="{colour}"/>',
            f'<text x="{NAMES + length + 8:.1f}" y="{y + 18}">{value:,.0f}</text>',
        ]
    return "\n".join([*lines, "</svg>", ""])
