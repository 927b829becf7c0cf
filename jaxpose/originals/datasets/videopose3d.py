"""Conversion of Human3.6M as published by VideoPose3D to a folder of arrays (h36m.py).

    data_3d_h36m.npz   positions_3d: subject -> action -> [F, 32, 3] metres, world axes
    data_2d_h36m_*.npz positions_2d: subject -> action -> four of [F', 17, 2] pixels, one for each camera; metadata
    *_gmm.npz          the same of mixtures [F', 17, M, 5] (gmm.py): keypoints are their first components

Both are pickled dicts inside .npz (untrusted/unpickle.py). The subject's four cameras see every frame; pixels and depth
are those of GFPose's files (spaces/image_depth.py).

Cameras (`cameras_of`): x_cam = R_cam_world x_world + t_cam with R_cam_world = R(q)^T and t_cam = -R_cam_world c, where
q = (w, x, y, z) is the orientation and c the position, camera to world. Their order, also in the 2D files: 54138969,
55011271, 58860488, 60457274. Lens distortion is ignored, as in GFPose. Source: the data set's calibration, as quoted by
VideoPose3D (common/h36m_dataset.py); exact to float32.

The frames differ from GFPose's: its test list is 4 % longer than S9 and S11 here, in unknown places (spec/gfpose.md,
7).
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.untrusted.unpickle import array_of, describe, list_of_cameras, load_dict
from jaxpose.originals.datasets.gmm import IMAGE_SIZE, check_layout, holds_gmm, in_pixels, read_gmm
from jaxpose.originals.datasets.h36m import ACTIONS, Frames, check_new, described, frames_of, writing_frames
from jaxpose.reading import one_line, reading

# Of the 32 joints of the motion capture, those of H36M_17 in its order; the others are constant or duplicates.
_OF_32 = np.array([0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27])
# Names in the files, which may be followed by the number of a second take.
_ACTIONS = {name: number for number, name in ACTIONS.items()} | {"Photo": 12, "WalkDog": 15}
_LARGEST = 100.0  # metres from the origin: coordinates beyond are millimetres


# one action: its number, joints [F, 17, 3] metres, world, and of each camera keypoints [F, 17, 2] px, or mixtures
_Part: TypeAlias = tuple[int, np.ndarray, list[np.ndarray] | None]

# fx, fy, cx, cy in pixels
_INTRINSICS = (
    (1145.0494, 1143.7811, 512.5415, 515.4515),
    (1149.6757, 1147.5917, 508.84863, 508.0649),
    (1149.1407, 1148.799, 519.81586, 501.40265),
    (1145.5114, 1144.7739, 514.9682, 501.88202),
)

# subject, orientation w, x, y, z, and position in millimetres: four rows for each subject
_EXTRINSICS = np.array(
    [
        (1, 0.14070565, -0.15007018, -0.7552408, 0.62232804, 1841.107, 4955.2847, 1563.4454),
        (1, 0.6157188, -0.7648363, -0.14833826, 0.11794741, 1761.2786, -5078.007, 1606.265),
        (1, 0.14651473, -0.14647852, 0.76530236, -0.60941756, -1846.7777, 5215.0464, 1491.9724),
        (1, 0.58340085, -0.7853162, 0.14548823, -0.14749594, -1794.7897, -3722.699, 1574.8927),
        (5, 0.14673772, -0.16237096, -0.7551893, 0.6178939, 2097.3916, 4880.945, 1605.7324),
        (5, 0.61597586, -0.7626792, -0.15728192, 0.1189815, 2031.7008, -5167.933, 1612.9231),
        (5, 0.14291371, -0.12907842, 0.7678385, -0.6110143, -1620.5948, 5171.6587, 1496.437),
        (5, 0.592048, -0.7814218, 0.12747486, -0.15036418, -1637.1737, -3867.3174, 1547.0332),
        (6, 0.13378978, -0.15692396, -0.75710905, 0.61988795, 1935.4518, 4950.2456, 1618.0839),
        (6, 0.61471975, -0.7628813, -0.16174768, 0.11819245, 1969.804, -5128.739, 1632.7788),
        (6, 0.15299481, -0.13529131, 0.76460963, -0.6112781, -1769.5964, 5185.3613, 1476.9934),
        (6, 0.59161013, -0.7804774, 0.1283227, -0.15615939, -1721.6687, -3884.1313, 1540.4879),
        (7, 0.14352418, -0.16313368, -0.75483286, 0.6188825, 1974.513, 4926.3545, 1597.8326),
        (7, 0.6141673, -0.76382625, -0.15966456, 0.117792994, 1937.0585, -5119.79, 1631.5665),
        (7, 0.1455006, -0.12874816, 0.76605165, -0.61271393, -1741.8112, 5208.2495, 1464.8246),
        (7, 0.5912848, -0.78217643, 0.12445474, -0.15196487, -1734.7106, -3832.4214, 1548.583),
        (8, 0.14110588, -0.15589868, -0.75619173, 0.61964405, 2150.6519, 4896.161, 1611.9047),
        (8, 0.61696017, -0.7647668, -0.1484635, 0.11158158, 2219.9656, -5148.453, 1613.0441),
        (8, 0.1471444, -0.1337712, 0.76701283, -0.61003697, -1571.2216, 5137.0186, 1498.1761),
        (8, 0.59278244, -0.78258705, 0.12147816, -0.14631996, -1476.9133, -3896.7412, 1547.9722),
        (9, 0.15540588, -0.15548216, -0.75320953, 0.6199595, 2044.4585, 4935.117, 1481.2275),
        (9, 0.6187845, -0.7634735, -0.14132239, 0.11933968, 1990.9597, -5123.8105, 1568.8048),
        (9, 0.13357827, -0.13671005, 0.76894546, -0.61007386, -1670.9922, 5211.986, 1528.388),
        (9, 0.5879399, -0.7823407, 0.14276144, -0.1479487, -1696.0435, -3827.0999, 1591.4127),
        (11, 0.15232472, -0.1544232, -0.75475633, 0.619107, 2098.4402, 4926.5547, 1500.2786),
        (11, 0.61894494, -0.7600917, -0.15300633, 0.12552583, 2083.1824, -4912.173, 1561.0786),
        (11, 0.14943229, -0.15650228, 0.7681234, -0.60263044, -1609.8153, 5177.336, 1537.8967),
        (11, 0.58942515, -0.7818877, 0.13991211, -0.14715362, -1590.738, -3854.169, 1578.0176),
    ]
)

SUBJECTS = tuple(f"S{number:g}" for number in _EXTRINSICS[::4, 0])


class Cameras(NamedTuple):
    """Four cameras: R_cam_world [4, 3, 3], t_cam [4, 3] metres, intrinsics [4, 4] pixels; float64."""

    R_cam_world: np.ndarray
    t_cam: np.ndarray
    intrinsics: np.ndarray


def cameras_of(subject: str) -> Cameras:
    """The cameras that filmed `subject`, one of SUBJECTS; ValueError for others."""
    from scipy.spatial.transform import Rotation

    if subject not in SUBJECTS:
        raise ValueError(f"subject: got {subject!r}, must be one of {', '.join(SUBJECTS)}")
    rows = _EXTRINSICS[_EXTRINSICS[:, 0] == int(subject[1:])]
    R = Rotation.from_quat(np.roll(rows[:, 1:5], -1, 1)).as_matrix().transpose(0, 2, 1)
    position = rows[:, 5:] / 1000
    return Cameras(R, -np.einsum("cij,cj->ci", R, position), np.array(_INTRINSICS, np.float64))


def prepare_videopose3d(
    data_3d_npz: FilePath, data_2d_npz: FilePath | None, subjects: Sequence[str], out: FilePath
) -> Iterator[str]:
    """Convert `subjects` ("S1", "S5", ...) to the new folder `out`; yields lines about the progress.

    Without a 2D file the keypoints are the exact projections. Where lengths differ, the shorter is used. ValueError
    names file, subject and action of what is wrong.
    """
    target = check_new(out)
    if not subjects or len(set(subjects)) != len(subjects):
        raise ValueError(f"subjects: needed distinct names, at least one, got {list(subjects)}")
    cameras = {subject: cameras_of(subject) for subject in subjects}
    sources = [Path(data_3d_npz)] if data_2d_npz is None else [Path(data_3d_npz), Path(data_2d_npz)]
    parts = {}
    with reading(sources[0], "file of VideoPose3D"):
        positions = load_dict(sources[0], "positions_3d")
        detections = None
        if data_2d_npz is not None:
            check_layout(sources[1])
            detections = read_gmm(sources[1]) if holds_gmm(sources[1]) else load_dict(sources[1], "positions_2d")
        for subject in subjects:
            actions = _entry(positions, subject, sources[0])
            keypoints = None if detections is None else _entry(detections, subject, sources[1])
            parts[subject] = yield from _read_subject(subject, actions, keypoints, sources)
    video = count = 0
    with writing_frames(target, {"subjects": list(subjects), "sources": described(sources)}) as append:
        for subject in subjects:
            frames, mixture = _film(parts[subject], cameras[subject], subject, video, sources[0])
            append(frames, mixture)
            video, count = video + 4 * len(parts[subject]), count + len(frames.frame)
    yield f"wrote {target}: {count} frames"


def _read_subject(
    subject: str, actions: Mapping[str, Any], detections: Mapping[str, Any] | None, sources: list[Path]
) -> Generator[str, None, list[_Part]]:
    """The subject's actions, checked, joints and keypoints cut to one length; yields a line for each cut."""
    parts: list[_Part] = []
    for name, value in actions.items():
        place = f"{sources[0]}: {subject} {name}"
        action, joints, keypoints = _ACTIONS.get(name.split(" ")[0]), _joints(value, place), None
        if action is None:
            raise ValueError(f"{place}: an unknown action; must be one of {', '.join(_ACTIONS)}, and a number after it")
        if detections is not None:
            cameras = list_of_cameras(detections.get(name), f"{sources[1]}: {subject} {name}", 4)
            keypoints = [_seen(array, at) for at, array in cameras]
        lengths = [len(joints), *map(len, keypoints or ())]
        shortest = min(lengths)
        if max(lengths) != shortest:
            yield f"{subject} {name}: {lengths[0]} frames in 3D, {lengths[1:]} in 2D; kept the first {shortest}"
        parts.append((action, joints[:shortest], keypoints and [k[:shortest] for k in keypoints]))
    yield f"{subject}: {len(parts)} actions, {4 * sum(len(x) for _, x, _ in parts)} frames"
    return parts


def _film(
    parts: list[_Part], cameras: Cameras, subject: str, first_video: int, path: Path
) -> tuple[Frames, np.ndarray | None]:
    """The frames of one subject, action by action, camera by camera, and their mixtures where detections are such."""
    order = [(action, len(x), camera) for action, x, _ in parts for camera in range(4)]
    action, length, camera_id = np.array(order, np.int32).reshape(-1, 3).T
    per_video = {"action": action, "video": first_video + np.arange(len(order), dtype=np.int32), "camera_id": camera_id}
    labels: dict[str, Any] = {name: np.repeat(values, length) for name, values in per_video.items()}
    labels |= {"subject": int(subject[1:])}
    turned = (np.einsum("cij,fkj->cfki", cameras.R_cam_world, x) + cameras.t_cam[:, None, None] for _, x, _ in parts)
    x_cam = np.concatenate([x.reshape(-1, 17, 3) for x in turned]).astype(np.float32)
    if not (x_cam[..., 2] > 0).all():
        video = np.searchsorted(np.cumsum(length), np.argmin((x_cam[..., 2] > 0).all(-1)), side="right")
        at = f"camera {camera_id[video]} in action {action[video]}"
        raise ValueError(f"{path}: {subject} is not in front of {at}; needed z > 0")
    intrinsics = cameras.intrinsics.astype(np.float32)[labels["camera_id"]]
    detected = [k for _, _, keypoints in parts for k in keypoints or ()]
    mixture = np.concatenate(detected) if detected and detected[0].ndim == 4 else None
    points = [k if k.ndim == 3 else k[:, :, 0, 1:3] for k in detected]
    keypoints = np.concatenate(points).astype(np.float32) if points else None
    labels["frame"] = np.concatenate([np.arange(n, dtype=np.int32) for n in length])
    return frames_of(x_cam, intrinsics, keypoints, **labels), mixture


def _seen(array: Any, place: str) -> np.ndarray:
    """Keypoints [F, 17, 2] pixels, or mixtures [F, 17, M, 5] whose deviations are pixels too."""
    if getattr(array, "ndim", 0) == 4:
        weight, mean, std = in_pixels(array, IMAGE_SIZE[0])
        return np.concatenate([weight[..., None], mean, std], -1)
    return array_of(array, place, (17, 2)).astype(np.float32)


def _joints(value: Any, place: str) -> np.ndarray:
    joints = array_of(value, place, (32, 3), (17, 3)).astype(np.float64)
    joints = joints[:, _OF_32] if joints.shape[1] == 32 else joints
    if np.abs(joints).max() > _LARGEST:
        raise ValueError(f"{place}: a coordinate of {np.abs(joints).max():.0f}; needed metres, not millimetres")
    return joints


def _entry(tree: Mapping[str, Any], subject: str, path: Path) -> Mapping[str, Any]:
    actions = tree.get(subject)
    if not isinstance(actions, dict) or not actions or not all(isinstance(name, str) for name in actions):
        actual = ", ".join(str(name)[:40] for name in tree)
        raise ValueError(
            f"{path}: needed a dict of actions for {subject}, got {describe(actions)}; it has {one_line(actual)}"
        )
    return actions
