"""Picture of a run's metrics: curves.png in its folder."""

import json
from pathlib import Path
from typing import Any

from absl import logging

from jaxpose.files import atomic


def draw_curves(folder: Path) -> None:
    """Draw each metric of `folder`/metrics.jsonl over the steps; needs matplotlib, and says so where it is absent.

    Nothing is drawn into a storage (gs://...).
    """
    if "://" in str(folder):
        return
    path = folder / "metrics.jsonl"
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []
    names = sorted({name for row in rows for name in row} - {"step"})
    if not names:
        return
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        logging.warning("%s: no curves.png without matplotlib (pip install jaxpose[viz])", folder)
        return
    num_columns = min(3, len(names))
    num_rows = -(-len(names) // num_columns)
    figure = Figure(figsize=(4 * num_columns, 2.6 * num_rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, name in enumerate(names):
        _panel(figure.add_subplot(num_rows, num_columns, number + 1), rows, name)
    with atomic(folder / "curves.png") as file:
        figure.savefig(file, format="png", dpi=100)


def _panel(axes: Any, rows: list[dict[str, float]], name: str) -> None:
    points = [(row["step"], row[name]) for row in rows if name in row]
    axes.plot(*zip(*points, strict=True), marker="." if len(points) < 20 else "", linewidth=1, color="#0072b2")
    axes.set_title(name, fontsize=9)
    axes.tick_params(labelsize=7)
