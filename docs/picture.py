"""Draw the picture of the README, docs/hypotheses.png: one frame of the bundled clip, its hypotheses and their radius.

    python docs/picture.py [--frame 40]

It runs `jaxpose lift jaxpose/assets/demo_clip.npz` (seed 0, 200 hypotheses) and draws its result. The clip is
procedural and shows no person; its truth is known because the clip is made.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from jaxpose.app import cli
from jaxpose.app.viz import scene as sc
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import ASSETS

COLOURS = (sc.LEFT, sc.RIGHT, sc.MIDDLE)
NUM_SHOWN = 60  # hypotheses drawn
PARENTS = np.array(H36M_17.parents)
SIDES = np.array(sc.joint_sides(H36M_17))
# (coordinate along the panel, sign) to the right and up, of camera axes x right, y down, z forward
VIEWS = {"3D, seen by the camera": ((0, 1), (1, -1)), "3D, from the side": ((2, 1), (1, -1))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frame", type=int, default=40)
    frame = parser.parse_args().frame
    clip = ASSETS / "demo_clip.npz"
    with tempfile.TemporaryDirectory() as out:
        cli.main(["lift", str(clip), "--out", out, "--no-pictures"])
        with np.load(clip) as z, np.load(Path(out) / "demo_clip.npz") as lifted:
            truth = z["joints_cam"][frame] - z["joints_cam"][frame, :1]
            keypoints = np.where(z["confidence"][frame, :, None] > 0, z["keypoints"][frame], np.nan)
            samples, pose, radius = lifted["samples"][:, frame], lifted["mean"][frame], lifted["radius_90"][frame]
    figure = Figure(figsize=(9.6, 4.0), facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    figure.subplots_adjust(left=0.01, right=0.99, top=0.9, bottom=0.16, wspace=0.02)
    draw_keypoints(panels[0], keypoints)
    for axes, (title, view) in zip(panels[1:], VIEWS.items(), strict=True):
        draw_poses(axes, title, *(seen(x, view) for x in (samples, pose, truth)), radius)
    draw_legend(figure)
    target = Path(__file__).with_name("hypotheses.png")
    figure.savefig(target, dpi=110)
    print(f"wrote {target}, {target.stat().st_size // 1000} kB")


def seen(poses: np.ndarray, view: tuple[tuple[int, int], tuple[int, int]]) -> np.ndarray:
    """The two coordinates of poses [..., J, 3] that a panel shows."""
    (across, sign_across), (up, sign_up) = view
    return poses[..., [across, up]] * np.array([sign_across, sign_up])


def draw_keypoints(axes: Any, keypoints: np.ndarray) -> None:
    frame_of(axes, "2D keypoints, right wrist hidden")
    bones(axes, keypoints[None], width=2.5, alpha=0.9)
    axes.scatter(*keypoints.T, s=22, c=[COLOURS[s] for s in SIDES], zorder=3, edgecolors="white", linewidths=0.6)
    middle = (np.nanmax(keypoints, 0) + np.nanmin(keypoints, 0)) / 2
    reach = 0.58 * (np.nanmax(keypoints, 0) - np.nanmin(keypoints, 0)).max()
    axes.set(xlim=middle[0] + reach * np.array([-1, 1]), ylim=middle[1] + reach * np.array([1, -1]))


def draw_poses(
    axes: Any, title: str, samples: np.ndarray, mean: np.ndarray, truth: np.ndarray, radius: np.ndarray
) -> None:
    frame_of(axes, title)
    for joint in range(len(mean)):
        style = {"facecolor": COLOURS[SIDES[joint]], "alpha": 0.13, "linewidth": 0}
        axes.add_patch(Circle(mean[joint], radius[joint], zorder=1, **style))
    bones(axes, samples[:: max(1, len(samples) // NUM_SHOWN)], width=0.7, alpha=0.16)
    bones(axes, mean[None], width=2.5, alpha=1.0)
    axes.scatter(*truth.T, s=13, c=sc.TRUTH, zorder=4, linewidths=0)
    middle = (truth.max(0) + truth.min(0)) / 2
    reach = 1.0
    axes.set(xlim=middle[0] + reach * np.array([-1, 1]), ylim=middle[1] + reach * np.array([-1, 1]))


def bones(axes: Any, poses: np.ndarray, *, width: float, alpha: float) -> None:
    """Lines from each joint of poses [L, J, 2] to its parent, coloured by side."""
    for side, colour in enumerate(COLOURS):
        children = np.flatnonzero((side == SIDES) & (PARENTS >= 0))
        lines = np.stack([poses[:, children], poses[:, PARENTS[children]]], 2).reshape(-1, 2, 2)
        axes.add_collection(
            LineCollection(list(lines), colors=colour, linewidths=width, alpha=alpha, capstyle="round", zorder=2)
        )


def frame_of(axes: Any, title: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.set_title(title, fontsize=11, color=sc.INK, pad=6)
    for spine in axes.spines.values():
        spine.set(color=sc.GRID, linewidth=0.8)


def draw_legend(figure: Figure) -> None:
    entries = [
        Line2D([], [], color=sc.LEFT, linewidth=2.5, label="left side"),
        Line2D([], [], color=sc.RIGHT, linewidth=2.5, label="right side"),
        Line2D([], [], color=sc.MUTED, linewidth=0.8, alpha=0.6, label="hypotheses"),
        Line2D([], [], color=sc.MUTED, linewidth=2.5, label="their mean"),
        Line2D([], [], color=sc.MUTED, alpha=0.25, marker="o", linewidth=0, markersize=11, label="90 % radius"),
        Line2D([], [], color=sc.TRUTH, marker="o", linewidth=0, markersize=4, label="truth"),
    ]
    figure.legend(handles=entries, loc="lower center", ncols=6, frameon=False, fontsize=9, labelcolor=sc.INK)


if __name__ == "__main__":
    main()
