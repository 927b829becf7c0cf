"""Draw the picture of the README, docs/hypotheses.png: one frame of the bundled clip, its hypotheses and their radius.

    python docs/picture.py [--frame 40]
    python docs/picture.py --moving  docs/walker.webp: a filmed person, hypotheses, the band of the right knee's angle

The first runs `jaxpose lift jaxpose/assets/demo_clip.npz` (seed 0, 200 hypotheses) and draws its result. The clip is
procedural and shows no person; its truth is known because the clip is made. The second lifts the bundled walker, camera
cam03, by motion17 (seed 0, 50 hypotheses, which are motions); the band holds 90 % of the hypotheses.
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
from PIL import Image

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
    parser.add_argument("--moving", action="store_true")
    given = parser.parse_args()
    if given.moving:
        return moving()
    frame = given.frame
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


def moving() -> None:
    """Write docs/walker.webp, every third of 100 frames."""
    with tempfile.TemporaryDirectory() as out:
        how = ["--camera-name", "cam03", "--model", "motion17", "--hypotheses", "50", "--no-pictures"]
        cli.main(["lift", "walker", "--out", out, *how])
        with np.load(Path(out) / "walker.npz") as lifted:
            samples, seconds = lifted["samples"], lifted["frame"] / float(lifted["fps"])
            keypoints = np.where(lifted["confidence"][..., None] > 0, lifted["keypoints"], np.nan)
    trunk = [H36M_17.joints.index(joint) for joint in ("hip", "thorax")]
    keypoints[:, H36M_17.joints.index("spine")] = keypoints[:, trunk].mean(1)  # which no detector reads
    hip, knee, ankle = (samples[:, :, H36M_17.joints.index(f"right_{name}")] for name in ("hip", "knee", "ankle"))
    thigh, shin = (x / np.linalg.norm(x, axis=-1, keepdims=True) for x in (knee - hip, ankle - knee))
    low, middle, high = np.quantile(np.degrees(np.arccos((thigh * shin).sum(-1).clip(-1, 1))), (0.05, 0.5, 0.95), 0)
    pictures = []
    for frame in range(0, len(seconds), 3):
        figure = Figure(figsize=(9.6, 3.4), facecolor="white")
        canvas = FigureCanvasAgg(figure)
        panels = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
        figure.subplots_adjust(left=0.01, right=0.985, top=0.89, bottom=0.14, wspace=0.16)
        draw_keypoints(panels[0], keypoints[frame])
        panels[0].set_title("2D keypoints of a video", fontsize=11, color=sc.INK, pad=6)
        frame_of(panels[1], "50 hypotheses, from the side")
        view = VIEWS["3D, from the side"]
        bones(panels[1], seen(samples[:, frame], view), width=0.8, alpha=0.14)
        bones(panels[1], seen(samples[:, frame].mean(0), view)[None], width=2.5, alpha=1.0)
        panels[1].set(xlim=(-1, 1), ylim=(-1.1, 0.9))
        panels[2].fill_between(seconds, low, high, color=sc.RIGHT, alpha=0.2, linewidth=0)
        panels[2].plot(seconds, middle, color=sc.RIGHT, linewidth=1.8)
        panels[2].axvline(seconds[frame], color=sc.INK, linewidth=1)
        panels[2].set_title("right knee: flexion and 90 % band", fontsize=11, color=sc.INK, pad=6)
        panels[2].set(xlim=(seconds[0], seconds[-1]), ylim=(0, high.max() + 5))
        panels[2].set_xlabel("seconds", fontsize=9, labelpad=1)
        panels[2].set_ylabel("degrees", fontsize=9, labelpad=1)
        canvas.draw()
        pictures.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy()))
    target = Path(__file__).with_name("walker.webp")
    pictures[0].save(target, save_all=True, append_images=pictures[1:], duration=50, loop=0, quality=75, method=6)
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
