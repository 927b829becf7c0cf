"""Reliability diagrams as one PNG: a panel for the distance to the median and one for each axis, a line for each joint.

On the diagonal the share of truths within each quantile equals the quantile: the hypotheses are calibrated. Below it
they are overconfident, above it too wide. In the panel of an axis, an S shape means the same, a shift means a bias.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from jaxpose.files import atomic
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.viz import scene as sc

_PANEL_INCHES = 3.2
_DPI = 120


def reliability_png(
    path: str | os.PathLike[str],
    levels: ArrayLike,
    distance: ArrayLike,
    axes: ArrayLike,
    skeleton: Skeleton,
    *,
    title: str = "",
) -> Path:
    """Draw curves of `evaluation.calibration`: of `ece` (distance [L, J]) and of `reliability` (axes [L, J, 3]).

    levels: [L] quantiles. The root, which is at the origin, is left out. Raises ValueError for wrong shapes,
    ImportError without matplotlib.
    """
    levels, distance, axes = (np.asarray(x, float) for x in (levels, distance, axes))
    num_joints = len(skeleton.joints)
    if distance.shape != (len(levels), num_joints) or axes.shape != (*distance.shape, 3):
        raise ValueError(
            f"reliability: needed distance {[len(levels), num_joints]} and axes {[len(levels), num_joints, 3]}, "
            f"got {distance.shape} and {axes.shape}"
        )
    figure = sc.need("matplotlib.figure").Figure(figsize=(4 * _PANEL_INCHES + 1.6, _PANEL_INCHES + 0.7))
    panels = {"distance to the median": distance}
    panels |= {f"along {name}": axes[..., i] for i, name in enumerate(("x (right)", "y (down)", "z (depth)"))}
    shades = sc.need("matplotlib").colormaps["viridis"](np.linspace(0, 0.95, num_joints))
    for panel, (name, curves) in zip(figure.subplots(1, 4, sharey=True), panels.items(), strict=True):
        panel.plot([0, 1], [0, 1], color=sc.MUTED, linewidth=1, linestyle="--")
        for joint in range(1, num_joints):
            panel.plot(levels, curves[:, joint], color=shades[joint], label=skeleton.joints[joint], linewidth=1)
        panel.set(title=name, xlim=(0, 1), ylim=(0, 1), xlabel="quantile of the hypotheses", aspect="equal")
    figure.axes[0].set_ylabel("share of truths within")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="center right", fontsize=7, frameon=False)
    figure.suptitle(title, fontsize=10)
    figure.subplots_adjust(left=0.05, right=0.88, wspace=0.12)
    with atomic(path) as file:
        figure.savefig(file, format="png", dpi=_DPI, facecolor="white")
    return Path(path)
