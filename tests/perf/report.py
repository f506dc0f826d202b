"""Write the table and the plot of docs/performance.md: `python tests/perf/report.py NAME=FIGURES.json…`.

The figures are what `bench_go.py --save` keeps; each name heads a section, such as `"Against a real Omni v1.9.3"`.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PAGE = ROOT / "docs" / "performance.md"
PLOT = ROOT / "docs" / "performance.svg"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
ROW, LEFT, WIDTH, SCALE = 20, 230, 720, 240


def table(name: str, rows: list[dict[str, Any]]) -> str:
    """Return one section as Markdown."""
    lines = [f"### {name}", "", "| | Go | omniherd | ratio | goal |", "|---|--:|--:|--:|--:|"]
    lines += [
        f"| {row['name']} | {row['go_ms']:.2f} ms | {row['omniherd_ms']:.2f} ms | {row['ratio']:.2f} | "
        f"{row['goal'].replace('<=', '≤')} |"
        for row in rows
    ]
    return "\n".join(lines)


def plot(sections: list[tuple[str, list[dict[str, Any]]]]) -> str:
    """Return a bar for each ratio; the line is where both sides take the same time."""
    height = ROW * sum(len(rows) + 2 for _, rows in sections) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        'font-size="12"><title>Time of omniherd, where the official Go client takes 1</title>',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    top = 0
    for name, rows in sections:
        top += ROW
        parts.append(f'<text x="8" y="{top}" font-weight="bold">{escape(name)}</text>')
        for row in rows:
            top += ROW
            length = min(row["ratio"], 2.0) * SCALE
            colour = "#2a7" if row["ratio"] <= 1 else "#c73"
            parts.append(f'<text x="{LEFT - 8}" y="{top}" text-anchor="end">{escape(row["name"])}</text>')
            parts.append(f'<rect x="{LEFT}" y="{top - 12}" width="{length:.0f}" height="15" fill="{colour}"/>')
            parts.append(f'<text x="{LEFT + length + 5:.0f}" y="{top}">{row["ratio"]:.2f}</text>')
        parts.append(
            f'<line x1="{LEFT + SCALE}" x2="{LEFT + SCALE}" y1="{top - ROW * len(rows) + 4}" y2="{top + 6}" '
            'stroke="black" stroke-dasharray="3 3"/>'
        )
        top += ROW
    return "\n".join([*parts, "</svg>"]) + "\n"


def main() -> None:
    """Read the figures, and put them where they belong."""
    sections: list[tuple[str, list[dict[str, Any]]]] = []
    for argument in sys.argv[1:]:
        name, _, file = argument.partition("=")
        rows = json.loads(Path(file).read_text())["rows"]
        sections.append((name, [row for row in rows if "bare Python" not in row["name"]]))
    text = PAGE.read_text()
    before, rest = text.split(BEGIN, 1)
    _, after = rest.split(END, 1)
    body = "\n\n".join(table(name, rows) for name, rows in sections)
    PAGE.write_text(f"{before}{BEGIN}\n\n{body}\n\n{END}{after}")
    PLOT.write_text(plot(sections))


if __name__ == "__main__":
    main()
