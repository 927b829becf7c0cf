"""The law of BlazePose's errors on rendered people beside that on real videos.

Errors are in pixels of a 256 x 256 crop of 1.2 times the person's extent, of the 12 limb joints. The walker's truth is
the triangulation of the other three cameras (1 to 2 cm, 1 to 2 px of it), less each camera's median error
(experiments/evaluate/blazepose.py). The two people's videos have no truth: they show what needs none, the disagreement
of networks and the movement between frames.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import pearsonr, spearmanr

from experiments.evaluate import blazepose as walker
from experiments.evaluate.blazepose import LIMBS
from experiments.rendered import scenes, shards
from jaxpose.app.commands.clips import keypoints_of
from jaxpose.app.commands.values import VideoFile
from jaxpose.datasets.mocap import data_root
from jaxpose.geometry.camera import project
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33
from jaxpose.io.keypoints import Keypoints, read_keypoints

_AT = [MEDIAPIPE_33.joints.index(joint) for joint in LIMBS]
_SAME = [H36M_17.joints.index(joint) for joint in LIMBS]
_GROUPS = {part: [j for j, name in enumerate(LIMBS) if name.endswith(part)] for part in ("ankle", "knee", "hip")}
_GROUPS |= {part: [j for j, name in enumerate(LIMBS) if name.endswith(part)] for part in ("wrist", "elbow", "shoulder")}
_ENDS = sorted(j for part in ("ankle", "knee", "wrist", "elbow") for j in _GROUPS[part])
_BONES = [*zip(_GROUPS["hip"] + _GROUPS["knee"], _GROUPS["knee"] + _GROUPS["ankle"], strict=True)]
_BONES += zip(_GROUPS["shoulder"] + _GROUPS["elbow"], _GROUPS["elbow"] + _GROUPS["wrist"], strict=True)
_CROP = 1.2 / 256


class Law(NamedTuple):
    """N readings of one network; NaN where something is not known.

    error [N, 12, 2] px; visibility [N, 12]; disagreement with the other network, and movement since 1/30 s ago, both
    [N, 12] px; before [N]: the row of that frame, or -1; hidden [N, 12]: scenes.VISIBLE..., 255 where not known;
    own_mm [N]: P-MPJPE of the network's own 3D.
    """

    error: np.ndarray
    visibility: np.ndarray
    disagreement: np.ndarray
    movement: np.ndarray
    before: np.ndarray
    hidden: np.ndarray
    own_mm: np.ndarray


def correlation(a: np.ndarray, b: np.ndarray, of: Callable[..., Any] = pearsonr) -> float:
    """Pearson's, or another one of scipy, of pairs that are both finite; NaN of fewer than ten."""
    kept = np.isfinite(a) & np.isfinite(b)
    return float(of(a[kept], b[kept]).statistic) if kept.sum() > 10 else float("nan")


def quantile(x: np.ndarray, q: float) -> float:
    """A quantile of what is finite."""
    return float(np.quantile(x[np.isfinite(x)], q)) if np.isfinite(x).any() else float("nan")


def figures(law: Law) -> dict[str, float]:
    """The law in numbers."""
    size = np.linalg.norm(law.error, axis=-1)
    result = {f"error, {100 * q:.0f} %, px": quantile(size, q) for q in (0.5, 0.9, 0.99)}
    for name, at in _GROUPS.items():
        result[f"{name}: 50 %, px"], result[f"{name}: 90 %, px"] = (quantile(size[:, at], q) for q in (0.5, 0.9))
        result[f"{name}: bias downwards, px"] = quantile(law.error[:, at, 1], 0.5)
    above, below = (np.concatenate([law.error[:, bone[k]].ravel() for bone in _BONES]) for k in (0, 1))
    result["correlation along a limb"] = correlation(above, below)
    later = np.flatnonzero(law.before >= 0)
    result["correlation over 1/30 s"] = correlation(law.error[later].ravel(), law.error[law.before[later]].ravel())
    for name in ("visibility", "disagreement", "movement"):
        values = getattr(law, name)
        result[f"rank correlation with {name}"] = correlation(
            values[:, _ENDS].ravel(), size[:, _ENDS].ravel(), spearmanr
        )
    result |= {f"disagreement, {100 * q:.0f} %, px": quantile(law.disagreement, q) for q in (0.5, 0.9)}
    result |= {f"movement, {100 * q:.0f} %, px": quantile(law.movement, q) for q in (0.5, 0.9)}
    result["visibility below 0.5, %"] = 100 * float((law.visibility < 0.5).mean())
    result["own 3D, P-MPJPE, mm"] = float(np.nanmean(law.own_mm)) if np.isfinite(law.own_mm).any() else float("nan")
    for kind, name in enumerate(("visible", "hidden by oneself", "covered", "outside the image")):
        at = law.hidden == kind
        result[f"{name}: share, %"] = 100 * float(at.mean()) if (law.hidden < 255).any() else float("nan")
        result[f"{name}: 50 %, px"], result[f"{name}: 90 %, px"] = (quantile(size[at], q) for q in (0.5, 0.9))
    return result


def of_shards(data: dict[str, np.ndarray], network: str) -> Law:
    """The law of a network on the rendered frames where it reads the person."""
    rows = shards.readings(data, network).rows
    truth, xy, other = shards.truth_px(data)[:, _SAME], *(data[f"{name}.xy"][:, _AT] for name in _two(network))
    pixel = _CROP * np.ptp(truth, 1).max(-1)[:, None]
    follows = np.r_[False, (data["clip"][1:] == data["clip"][:-1]) & (np.diff(data["seconds"]) < 0.04)]
    move = np.r_[xy[:1], xy[1:] - xy[:-1]]
    move[~follows] = np.nan
    place = np.full(len(xy), -1)
    place[rows] = np.arange(len(rows))
    joints, own = data["joints"][:, _SAME], data[f"{network}.world"][:, _AT].astype(np.float32)
    law = Law(
        (xy - truth) / pixel[..., None],
        data[f"{network}.visibility"][:, _AT].astype(np.float64),
        np.linalg.norm(xy - other, axis=-1) / pixel,
        np.linalg.norm(move, axis=-1) / pixel,
        np.where(follows, place[np.arange(len(xy)) - 1], -1),
        data["hidden"][:, _SAME],
        walker.aligned_mm(np.nan_to_num(own), joints, np.ones(joints.shape[:2], bool)),
    )
    return Law(*(values[rows] for values in law))


def _walkers_errors(view: walker.Seen) -> tuple[np.ndarray, np.ndarray]:
    """Errors [F, 12, 2] in pixels of the crop, NaN where there is no reference, and confidences [F, 12]."""
    kp, camera = view.keypoints, view.camera
    order = [kp.skeleton.joints.index(joint) for joint in LIMBS]
    seen = np.asarray(project(camera.intrinsics, view.reference.astype(np.float32), camera.distortion))
    error = (kp.xy[:, order] - seen) / (_CROP * np.nanmax(np.nanmax(seen, 1) - np.nanmin(seen, 1), -1)[:, None, None])
    return error - np.nanmedian(error, (0, 1)), kp.confidence[:, order]


def of_walker(network: str, cache: Path) -> Law:
    """The law of a network on the walker's four videos, at 60 frames a second."""
    laws = []
    for camera in range(4):
        options = [walker.Options(detector=f"blazepose-{name}", cache=str(cache)) for name in _two(network)]
        view, other = (walker.view_of(camera, each) for each in options)
        error, sure = _walkers_errors(view)
        own = walker.aligned_mm(view.landmarks, view.reference, np.isfinite(view.reference).all(-1))
        laws.append(_without_truth(view.keypoints.xy, other.keypoints.xy, sure, 2)._replace(error=error, own_mm=own))
    return _joined(laws)


def of_two_people(network: str, cache: Path) -> Law:
    """What needs no truth, of two cameras and several people, at 60 frames a second."""
    laws = []
    for camera in ("cam01", "cam02"):
        video, pair = data_root() / "video" / "two_people" / f"{camera}.mp4", list[Keypoints]()
        for name in _two(network):
            run = keypoints_of(video, VideoFile(detector=f"blazepose-{name}", people=2), cache / f"two-{name}", camera)
            for _ in run:
                pass
            pair.append(read_keypoints(cache / f"two-{name}" / f"{camera}_keypoints.npz"))
        for person in np.unique(pair[0].person):
            rows = np.flatnonzero(pair[0].person == person)
            same = [(i, j) for i in rows if (j := nearest(pair[0], int(i), pair[1])) >= 0]
            if len(same) > 10:
                i, j = np.array(same).T
                laws.append(_without_truth(pair[0].xy[i], pair[1].xy[j], pair[0].confidence[i][:, _AT], 2))
    return _joined(laws)


def _without_truth(xy: np.ndarray, other: np.ndarray, visibility: np.ndarray, step: int) -> Law:
    """The law of landmarks [F, 33, 2] of successive frames where nothing is known of the truth."""
    xy, other = xy[:, _AT], other[:, _AT]
    pixel = _CROP * np.ptp(xy, 1).max(-1)[:, None]
    move = np.full(xy.shape[:2], np.nan)
    move[step:] = np.linalg.norm(xy[step:] - xy[:-step], axis=-1) / pixel[step:]
    before = np.r_[np.full(step, -1), np.arange(len(xy) - step)]
    away = np.linalg.norm(xy - other, axis=-1) / pixel
    unknown = np.full(xy.shape, np.nan)
    return Law(unknown, visibility, away, move, before, np.full(xy.shape[:2], 255), unknown[:, 0, 0])


def _joined(laws: list[Law]) -> Law:
    first = np.cumsum([0, *(len(law.error) for law in laws)])
    moved = [
        law._replace(before=np.where(law.before < 0, -1, law.before + start))
        for law, start in zip(laws, first, strict=False)
    ]
    return Law(*(np.concatenate(x) for x in zip(*moved, strict=True)))


def _two(network: str) -> tuple[str, str]:
    return network, "lite" if network != "lite" else "full"


def nearest(kp: Keypoints, i: int, other: Keypoints) -> int:
    """The row of the same person in the other file, or -1."""
    rows = np.flatnonzero(other.frame == kp.frame[i])
    away = np.linalg.norm(other.xy[rows][:, _AT] - kp.xy[i][_AT], axis=-1).mean(-1)
    near = len(rows) and away.min() < 0.2 * np.ptp(kp.xy[i][_AT], 0).max()
    return int(rows[away.argmin()]) if near else -1


def table(folder: Path, split: str, cache: Path, most: int | None) -> Iterator[str]:
    """Lines of the table: a row for each figure, a column for each network and source; then a line for each effect."""
    data = shards.load(folder, split, most)
    num, columns = len(data["clip"]), dict[str, dict[str, float]]()
    yield f"{num} frames of {folder}/{split}, {len(np.unique(data['clip']))} clips and single frames"
    for network in ("lite", "full", "heavy"):
        run = np.isfinite(data[f"{network}.presence"])
        there, ours = (data[f"{network}.presence"] >= 0.5).sum(), len(shards.readings(data, network).rows)
        yield f"{network}: {run.sum()} frames, of {there} with a person, of {ours} with this one"
        columns[f"rendered, {network}"] = figures(of_shards(data, network))
        columns[f"walker, {network}"] = figures(of_walker(network, cache)) if network != "heavy" else {}
        columns[f"two people, {network}"] = figures(of_two_people(network, cache)) if network != "heavy" else {}
    columns = {name: column for name, column in columns.items() if column}
    yield "| | " + " | ".join(columns) + " |"
    yield "| --- |" + " --- |" * len(columns)
    for name in columns["rendered, full"]:
        places = 2 if "correlation" in name else 1
        cells = ("" if np.isnan(column[name]) else f"{column[name]:.{places}f}" for column in columns.values())
        yield f"| {name} | " + " | ".join(cells) + " |"
    law, rows = of_shards(data, "full"), shards.readings(data, "full").rows
    size = np.linalg.norm(law.error, axis=-1)
    masks = {name: data["effects"][rows] >> bit & 1 > 0 for bit, name in enumerate(scenes.SHARES)}
    for name, has in (masks | {"any of these": data["effects"][rows] > 0}).items():
        cells = (f"{quantile(size[at], 0.5):.1f}, {quantile(size[at], 0.9):.1f}" for at in (has, ~has))
        yield f"full, 50 and 90 % with and without {name}: {'; '.join(cells)}"
