"""Small inputs of commands, right but for a few numbers: files by name, and how each is written.

`write_input(name, folder, rng)` writes one, in half of the cases with numbers that are extreme, missing or none at all.
"""

import functools
import json
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from small_models import write_joint_model, write_motion_model, write_prior

from jaxpose.io.retarget import GENERIC_OFFSETS, write_motion_bvh
from jaxpose.io.smpl_motion import Motion
from jaxpose.model import ASSETS

_EXTREME = (0.0, -1.0, 1e-30, 1e12, 1e25, 3e38, -1e25, np.nan, np.inf, -np.inf)


def _spoiled(values: np.ndarray, rng: random.Random) -> np.ndarray:
    """A copy with an entry, a row or all of it replaced; with fewer rows; or as it is."""
    values = np.array(values, np.float32)
    how = rng.random()
    if how < 0.5 or not values.size:
        return values
    extreme = np.float32(rng.choice(_EXTREME))
    if how < 0.65:
        values.flat[rng.randrange(values.size)] = extreme
    elif how < 0.8:
        values[rng.randrange(len(values))] = extreme
    elif how < 0.87:
        values[:] = extreme
    elif how < 0.93:
        values = values * np.float32(rng.choice((0, 1e6, 1e18)))
    else:
        values = values[: rng.choice((0, 1))]
    return values


@functools.cache
def _clip() -> dict[str, np.ndarray]:
    with np.load(ASSETS / "demo_clip.npz") as clip:
        return {name: clip[name][::30] for name in ("keypoints", "confidence", "joints_cam")}


def _keypoints(path: Path, rng: random.Random) -> None:
    size = {"image_size": rng.choice(([1920, 1080], [0, 0], [1e9, 5], [-1, 7]))} if rng.random() < 0.3 else {}
    np.savez(
        path,
        keypoints=_spoiled(_clip()["keypoints"], rng),
        confidence=_clip()["confidence"] * rng.choice((1, 1, 1, 0)),
        skeleton="h36m17",
        **size,
    )


def _coco(path: Path, rng: random.Random) -> None:
    people = [
        {"image_id": i, "category_id": 1, "keypoints": _spoiled(np.tile([300.0 + i, 200, 1], 17), rng).tolist()}
        for i in range(rng.choice((0, 1, 3)))
    ]
    for person in people:
        person["score"] = 0.9
    path.write_text(json.dumps(people), encoding="utf-8")


def _joints(path: Path, rng: random.Random) -> None:
    joints = _spoiled(_clip()["joints_cam"], rng)
    if rng.random() < 0.4:
        joints = joints.copy()
        joints[:, 3:5] = np.nan
    np.savez(path, joints3d=joints, skeleton="h36m17", up=rng.choice(("-y", "y", "z")))


def _rotations(path: Path, rng: random.Random) -> None:
    poses = _spoiled(np.random.default_rng(0).normal(0, 0.2, (12, 66)), rng)
    rate = rng.choice((30.0, 60.0, 0.0, 1e9))
    np.savez(path, poses=poses, trans=_spoiled(np.ones((len(poses), 3)), rng), mocap_framerate=rate)


def _bvh(path: Path, rng: random.Random) -> None:
    still = np.random.default_rng(0).normal(0, 0.1, (12, 21, 3)).astype(np.float32)
    write_motion_bvh(path, Motion(still, still[:, 0], still[:, 1], 30.0), GENERIC_OFFSETS)
    if rng.random() < 0.3:
        path.write_text(
            path.read_text(encoding="utf-8").replace("0.", rng.choice(("1e25.", "nan ", "9"))), encoding="utf-8"
        )


def _cameras(path: Path, rng: random.Random) -> None:
    K = np.tile([[900.0, 0, 500], [0, 900, 500], [0, 0, 1]], (2, 1, 1))
    R, t = np.tile(np.eye(3), (2, 1, 1)), np.array([[0.0, 0, 4], [0.5, 0, 4]])
    seen = np.repeat(_clip()["keypoints"][:, None], 2, 1)
    keypoints = np.concatenate([seen, np.ones((*seen.shape[:3], 1))], -1)
    np.savez(path, keypoints=_spoiled(keypoints, rng), K=_spoiled(K, rng), R=R, t=t, skeleton="h36m17")


def _result(path: Path, rng: random.Random) -> None:
    from jaxpose.geometry.skeleton import H36M_17

    mean = _spoiled(_clip()["joints_cam"], rng)
    spread = np.tile(1e-4 * np.eye(3), (len(mean), 17, 1, 1))
    np.savez(path, samples=np.stack([mean, mean]), mean=mean, covariance=spread, joints=H36M_17.joints, up="-y")


def _heatmaps(path: Path, rng: random.Random) -> None:
    maps = np.zeros((2, 17, 8, 8), np.float32)
    maps[:, :, 3, 4] = 1
    np.savez(path, heatmaps=_spoiled(maps, rng), image_size=[64, 64], skeleton="h36m17")


def _stream(path: Path, rng: random.Random) -> None:
    def line(frame: int) -> str:
        xyc = _spoiled(np.tile([300.0, 200, 1], 25), rng).tolist()
        return json.dumps({"frame": frame, "people": [{"pose_keypoints_2d": xyc}] * rng.choice((0, 1, 2))})

    path.write_text("\n".join(line(frame) for frame in rng.choice(([0, 1], [5, 1], [], [0, 10**9]))), encoding="utf-8")


def _text(path: Path, rng: random.Random) -> None:
    path.write_bytes(
        rng.choice((b"", b"\x00\xff\xfe", b"{}", b"[]", b"PK\x03\x04", b"a,b\n1,2\n", b"[" * 5000, b"\x80\x04."))
    )


@functools.cache
def _models() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="fuzz_models_"))
    for write in (write_joint_model, write_prior, write_motion_model):
        write(folder)
    return folder


def _model(path: Path, rng: random.Random) -> None:
    shutil.copy(_models() / path.name, path)


INPUTS: dict[str, Callable[[Path, random.Random], Any]] = {
    "keypoints.npz": _keypoints,
    "coco.json": _coco,
    "joints.npz": _joints,
    "rotations.npz": _rotations,
    "motion.bvh": _bvh,
    "cameras.npz": _cameras,
    "result.npz": _result,
    "heatmaps.npz": _heatmaps,
    "stream.jsonl": _stream,
    "text.npz": _text,
    "text.json": _text,
    "tiny.safetensors": _model,
    "tinyrot.safetensors": _model,
    "tinymotion.safetensors": _model,
}


# Inputs that suit a command; others take any.
SUITABLE = {
    "lift": ("keypoints.npz", "coco.json", "heatmaps.npz"),
    "live": ("stream.jsonl", "stream.jsonl", "-"),
    "fuse": ("cameras.npz",),
    "complete": ("joints.npz", "keypoints.npz", "rotations.npz"),
    "denoise": ("joints.npz", "rotations.npz"),
    "score": ("joints.npz", "rotations.npz"),
    "ik": ("joints.npz",),
    "fit": ("keypoints.npz", "cameras.npz", "coco.json"),
    "interpolate": ("rotations.npz", "motion.bvh"),
    "view": ("result.npz",),
    "measure": ("result.npz",),
    "calibrate": ("result.npz",),
    "prepare fragments": ("rotations.npz", "motion.bvh"),
    "prepare motion": ("rotations.npz", "motion.bvh"),
    "prepare mocap": ("rotations.npz", "motion.bvh", "joints.npz"),
    "prepare gmm": ("keypoints.npz", "heatmaps.npz"),
}


def write_input(name: str, folder: Path, rng: random.Random) -> Path:
    """One of INPUTS in a folder."""
    path = folder / name
    with np.errstate(all="ignore"):
        INPUTS[name](path, rng)
    return path
