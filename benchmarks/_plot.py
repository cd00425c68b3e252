"""
The pictures: a line a contestant over the sizes, or a bar each where there is one size.
"""

from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import matplotlib as mpl

from ._row import Row

mpl.use("svg")
from matplotlib import pyplot as plt

_STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "chrono_async",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e5e7eb",
    "axes.axisbelow": True,
    "legend.frameon": False,
}
_OURS, _BARE = "#e11d48", "#111827"
_PEERS = ("#2563eb", "#0891b2", "#7c3aed", "#ca8a04", "#65a30d", "#9ca3af")


def draw(path: Path, title: str, figure: str, rows: Sequence[Row]) -> None:
    """Draw the medians of a figure, with a band or whiskers from the least to the most."""
    with plt.rc_context(_STYLE):
        picture, axes = plt.subplots(figsize=(7.2, 4))
        names = list(dict.fromkeys(row.name for row in rows))
        colors = _colors(names)
        if len({row.size for row in rows}) > 1:
            _draw_lines(axes, figure, rows, colors)
        else:
            _draw_bars(axes, figure, rows, colors)
        picture.suptitle(fill(title, 88), x=0.02, ha="left", fontsize=11)
        picture.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.savefig(path, metadata={"Date": None})
        plt.close(picture)


def _colors(names: Sequence[str]) -> dict[str, str]:
    peers = iter(_PEERS * 2)
    return {name: _OURS if name.startswith("chrono") else _BARE if name == "bare" else next(peers) for name in names}


def _draw_lines(axes: Any, figure: str, rows: Sequence[Row], colors: dict[str, str]) -> None:
    for name, color in colors.items():
        mine = [row for row in rows if row.name == name]
        sizes, dash = [row.size for row in mine], "--" if name.startswith("chrono_async,") else "-"
        axes.plot(sizes, [row.median(figure) for row in mine], dash, color=color, marker="o", markersize=4, label=name)
        least, most = ([pick(row.values(figure)) for row in mine] for pick in (min, max))
        axes.fill_between(sizes, least, most, color=color, alpha=0.12, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="jobs", ylabel=figure)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))


def _draw_bars(axes: Any, figure: str, rows: Sequence[Row], colors: dict[str, str]) -> None:
    values = [row.median(figure) for row in rows]
    below = [value - min(row.values(figure)) for row, value in zip(rows, values, strict=True)]
    above = [max(row.values(figure)) - value for row, value in zip(rows, values, strict=True)]
    whiskers = {"ecolor": "#6b7280", "capsize": 3}
    axes.barh([row.name for row in rows], values, xerr=[below, above], color=list(colors.values()), error_kw=whiskers)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.set_xlabel(figure)
