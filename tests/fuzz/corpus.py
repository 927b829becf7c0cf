"""A small valid file of every format that is read, as the tests of its reader write it, and what reads it."""

import functools
import itertools
import json
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import amass_files
import keypoint_files
import numpy as np
import torch_files
from body_tables import random_tables
from PIL import Image
from videos import picture, write_video

from jaxpose import io, model
from jaxpose.app import export
from jaxpose.app.detect import clip, frames
from jaxpose.app.detect.rtmpose import rtmpose
from jaxpose.datasets import mocap
from jaxpose.evaluation import protocols
from jaxpose.geometry.skeleton import COCO_17, H36M_17, SMPL_22
from jaxpose.io import calibration, motion
from jaxpose.io.arrays import Source, load_arrays, mapped
from jaxpose.io.asf_amc import read_amc, read_asf
from jaxpose.io.bvh import read_bvh, write_bvh
from jaxpose.io.c3d import read_c3d, write_c3d
from jaxpose.io.camera_path import read_camera_path
from jaxpose.io.keypoints import read_frame, read_keypoints
from jaxpose.io.markers import read_trc, write_trc
from jaxpose.io.results import read_result
from jaxpose.io.retarget import GENERIC_OFFSETS
from jaxpose.io.smpl_motion import Motion, save_motion
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.io.untrusted.unpickle import load_dict, load_pickle
from jaxpose.originals.convert.diffpose import read_part
from jaxpose.originals.convert.dposer import read_normaliser
from jaxpose.originals.convert.gfpose import read_gfpose
from jaxpose.originals.datasets import ehf, gmm, h36m, h36m_pickle, mpi3dhp, videopose3d
from tests.app.detect import rtmpose_test
from tests.io import (
    asf_amc_test,
    body_files_test,
    bvh_test,
    calibration_test,
    camera_path_test,
    keypoint_json_test,
    read_test,
)
from tests.originals.datasets import ehf_test, gmm_test, h36m_pickle_test, mpi3dhp_test, videopose3d_test

XYZ = np.random.default_rng(1).uniform(-0.8, 0.8, (3, 17, 3))
PEOPLE = keypoint_files.people(3, 17)


class Entry(NamedTuple):
    """make(path) writes the file; read(path) is what a user's command does with it; beside: of a second file."""

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    beside: tuple[tuple[str, str], ...] = ()


def _text(content: Any) -> Callable[[Path], Any]:
    return lambda path: keypoint_files.write(path, content)


def _arrays(**arrays: Any) -> Callable[[Path], Any]:
    return lambda path: np.savez(path, **arrays)


def _generated(prepare: Callable[..., Any], *given: Any) -> Callable[[Path], list[str]]:
    return lambda path: list(prepare(path, *given, path.with_name("out")))


def _motion(path: Path) -> None:
    turns = np.random.default_rng(0).normal(0, 0.3, (4, 23, 3)).astype(np.float32)
    save_motion(path, Motion(turns[:, 2:], turns[:, 0], turns[:, 1], 30.0, np.zeros(10), "test"))


def _bvh(path: Path) -> None:
    turns = np.tile(np.eye(3), (3, 22, 1, 1))
    write_bvh(path, SMPL_22.joints, SMPL_22.parents, GENERIC_OFFSETS, turns, np.zeros((3, 3)), 30.0)


def _take(path: Path) -> Any:
    return read_amc(path.with_suffix(".amc"), read_asf(path.with_suffix(".asf")))


def _exported(path: Path) -> None:
    import jax

    program = jax.export.export(jax.jit(lambda weights, seed: {"samples": weights[0] * seed}))(
        [jax.ShapeDtypeStruct((3,), np.float32)], jax.ShapeDtypeStruct((), np.uint32)
    )
    header = {"format": export.FORMAT, "inputs": [], "outputs": []}
    export.write(path, export.Program(header, bytes(program.serialize()), [np.ones(3, np.float32)]))


def _released(path: Path) -> None:
    import jax.numpy as jnp
    from random_params import random_params

    from jaxpose.networks.score_mlp import ScoreMLP
    from jaxpose.spaces.person import Statistics

    spec = model.Spec(name="tiny", network=ScoreMLP(hidden=32, time_width=16, num_groups=4))
    ones = jnp.ones((17, 3))
    model.save(path, model.Model(random_params(spec), Statistics(ones, ones), spec), dtype=jnp.float32)


def _checkpoint(path: Path) -> None:
    """The structure of GFPose's; its widths would make a file of megabytes, which `read_torch` need not have."""
    rng = np.random.default_rng(0)
    state = {f"b1_dense{k}.weight": torch_files.tensor(rng.normal(size=(4, 3)).astype(np.float32)) for k in (1, 2)}
    shadow = [torch_files.tensor(np.arange(6.0).reshape(2, 3)), torch_files.tensor(np.int64([1, 2]))]
    torch_files.save(path, {"model_state_dict": OrderedDict(state), "ema": {"shadow_params": shadow}, "epoch": 3})


def _checkpoint_reads(path: Path) -> None:
    """As each of the converters; the networks do not fit, which is the documented error."""
    read_torch(path)
    for read in (read_gfpose, read_part, lambda p: read_normaliser(p, "axis_angle")):
        read(path)


def _frames(path: Path) -> None:
    """Arrays of a folder of frames; the file of the case is one of them."""
    rows = h36m.Frames(*(np.ones((4, *shape), kind) for shape, kind in (h36m.LAYOUT[n] for n in h36m.Frames._fields)))
    folder = path.with_name("frames")
    with h36m.writing_frames(folder, {}) as append:
        append(rows)
    path.write_bytes((folder / "image.npy").read_bytes())


def _part(path: Path) -> None:
    arrays = {"number": np.arange(3), "seconds": np.arange(3.0), "size": np.ones((3, 2), int), "count": np.ones(3, int)}
    np.savez(path, made_of="x", xy_px=np.ones((3, 17, 2)), confidence=np.ones((3, 17)), **arrays)


def _part_read(path: Path) -> Any:
    return clip._made_of(path) and load_arrays(path)


def _bench(path: Path) -> None:
    shapes = {"keypoints": (2, 4, 17, 2), "confidence": (2, 4, 17), "intrinsics": (2, 4), "joints_cam": (2, 4, 17, 3)}
    np.savez(path, **{k: np.ones(s) for k, s in shapes.items()}, category=["a", "b"], name=["c", "d"], fps=25.0)


def _rotations(path: Path) -> Any:
    return mocap.load_rotations(path.parent, path.stem)


def _live(path: Path) -> Any:
    text = path.read_text("utf-8", "replace")
    return [read_frame(Source.of_text(f"{path}, line {n}", line)) for n, line in enumerate(text.split("\n")) if line]


def _frames_read(path: Path) -> Any:
    seen = frames.Clip(path)
    frames.check(seen)
    return frames.expected(seen), [frame.rgb for frame in itertools.islice(frames.frames(seen), 100)]


_H36M_BATCHES: Callable[[Path], Any] = lambda path: [len(b) for b, _ in h36m_pickle._read_batches(path)]  # noqa: E731
_COCO = {
    "images": [{"id": 7, "file_name": "7.jpg", "width": 1000, "height": 900}],
    "annotations": [{"image_id": 7, "keypoints": np.where([1, 1, 0], PEOPLE[0], 2).ravel().tolist(), "track_id": 3}],
}
_MMPOSE = {
    "meta_info": {"keypoint_id2name": dict(enumerate(COCO_17.joints))},
    "instance_info": [
        {"frame_id": 4, "instances": [{"keypoints": p[:, :2].tolist(), "keypoint_scores": p[:, 2].tolist()}]}
        for p in PEOPLE
    ],
}
_HEADER = "frame,person,image," + ",".join(f"{j}_{a}" for j in COCO_17.joints for a in ("x", "y", "confidence"))
_ROW = ",".join(map(str, PEOPLE[2].ravel()))
_RESULT = {
    **{"samples": np.tile(XYZ, (2, 1, 1, 1)), "mean": XYZ, "covariance": np.tile(np.eye(3), (3, 17, 1, 1))},
    **{"joints": np.array(H36M_17.joints), "up": "-y", "frame": np.arange(3), "person": np.zeros(3, int)},
    **{"root": np.ones((2, 3, 3)), "pose": XYZ, "pose_root": np.ones((3, 3)), "unit": "m", "fps": 30.0},
}
_VIEWS = {**read_test.VIEWS, "dist": np.zeros((2, 5)), "up": "z", "fps": 50.0, "frame": np.arange(4)}
_PREPARED = dict(
    zip(
        mocap.Rotations._fields,
        (np.zeros((4, 21, 3)), np.zeros(4, int), *(np.array(["a"]) for _ in mocap.Rotations._fields[2:])),
        strict=False,
    )
)
_TREE = {"S9": {"Walking 1": [gmm_test.mixtures() for _ in range(4)]}}
_META = {"keypoints_symmetry": [list(H36M_17.left), list(H36M_17.right)], "image_size": (1000, 1000)}
_POSITIONS = {"S1": videopose3d_test.positions(length=2)["S1"]}
_QUALISYS = calibration_test.QUALISYS.format(
    left=0, top=0, x=1000, y=2000, z=900, axes=" ".join(f'r{i}{j}="{int(i == j)}"' for i in "123" for j in "123")
)

ENTRIES: dict[str, Entry] = {
    "k.npz": Entry(
        _arrays(keypoints=PEOPLE, joints=COCO_17.joints, fps=25.0, image_size=[1000, 900], intrinsics=np.eye(3)),
        io.read,
    ),
    "clips.npz": Entry(
        _arrays(keypoints=PEOPLE[None, ..., :2], confidence=PEOPLE[None, ..., 2], skeleton="coco17", frame=[7]), io.read
    ),
    "k.npy": Entry(lambda p: np.save(p, keypoint_files.people(3, 26)), io.read),
    "k.csv": Entry(_text(f"{_HEADER}\n0,1,a.jpg,{_ROW}\n1,1,b.jpg,{_ROW}\n"), io.read),
    "bare.csv": Entry(_text(f"{_ROW}\n{_ROW}\n"), lambda p: read_keypoints(p, skeleton=COCO_17)),
    "results.json": Entry(_text(keypoint_files.coco_results(PEOPLE)), io.read),
    "coco.json": Entry(_text(_COCO), io.read),
    "openpose.json": Entry(_text(keypoint_json_test.openpose_text(keypoint_files.people(2, 25))), io.read),
    "mmpose.json": Entry(_text(_MMPOSE), io.read),
    "alphapose.json": Entry(_text(keypoint_json_test.alphapose(PEOPLE)), io.read),
    "images.json": Entry(_text({"7.jpg": {"bodies": [{"joints": PEOPLE[0].ravel().tolist()}]}}), io.read),
    "live.jsonl": Entry(_text(keypoint_json_test.openpose_text(keypoint_files.people(2, 25)) * 1 + "\n"), _live),
    "j.npz": Entry(_arrays(joints3d=XYZ, confidence=np.ones((3, 17)), skeleton="h36m17", fps=50.0, up="-y"), io.read),
    "j.npy": Entry(lambda p: np.save(p, XYZ), io.read),
    "j.csv": Entry(_text("frame,person,hip_x,hip_y,hip_z,hip_visible\n0,0,1,2,3,1\n1,0,1,2,3,0\n"), io.read),
    "j.json": Entry(
        _text([{"frame": n, "person": 0, "joints": {"hip": [1, 2, 3], "head": None}} for n in (1, 2)]), io.read
    ),
    "j.trc": Entry(lambda p: write_trc(p, H36M_17.joints, XYZ, 25.0), lambda p: (read_trc(p), io.read(p))),
    "j.c3d": Entry(lambda p: write_c3d(p, H36M_17.joints, XYZ, 25.0), lambda p: (read_c3d(p), io.read(p))),
    "h.npz": Entry(
        _arrays(heatmaps=read_test.MAPS, skeleton="h36m17", image_size=[64, 48], box=np.tile([0, 0, 9, 9], (2, 1))),
        io.read,
    ),
    "h.npy": Entry(lambda p: np.save(p, read_test.MAPS), lambda p: io.read(p, image_size=(64, 48), skeleton=H36M_17)),
    "v.npz": Entry(_arrays(**_VIEWS), io.read),
    "smplh.npz": Entry(
        lambda p: amass_files.smplh_file(p, np.zeros((4, 156)), np.zeros((4, 3)), 120), motion.read_motion
    ),
    "smplx.npz": Entry(lambda p: amass_files.smplx_file(p, np.zeros((4, 165)), np.zeros((4, 3)), 120), io.read),
    "motion.npz": Entry(_motion, io.read),
    "m.npy": Entry(lambda p: np.save(p, np.zeros((3, 72))), io.read),
    "small.bvh": Entry(_text(bvh_test.SMALL), read_bvh),
    "smpl.bvh": Entry(_bvh, io.read),
    "walk.asf": Entry(_text(asf_amc_test.ASF), _take, (("walk.amc", asf_amc_test.AMC),)),
    "walk.amc": Entry(_text(asf_amc_test.AMC), _take, (("walk.asf", asf_amc_test.ASF),)),
    "body.pkl": Entry(
        lambda p: body_files_test.pickled(
            body_files_test.smpl_tree(random_tables("smpl", num_vertices=30)), p, ("v_template", "weights")
        ),
        io.read,
    ),
    "body.npz": Entry(
        lambda p: np.savez(
            p, **body_files_test.smplx_arrays(random_tables("smplx", num_vertices=20, num_expression=10))
        ),
        io.read,
    ),
    "opencv.yml": Entry(_text(calibration_test.YAML), calibration.read_calibration),
    "opencv.xml": Entry(_text(calibration_test.XML), calibration.read_calibration),
    "pose2sim.toml": Entry(_text(calibration_test.POSE2SIM), calibration.read_calibration),
    "anipose.toml": Entry(_text(calibration_test.ANIPOSE), calibration.read_calibration),
    "qualisys.xml": Entry(_text(_QUALISYS), calibration.read_calibration),
    "tum.txt": Entry(_text(camera_path_test.TUM), read_camera_path),
    "images.txt": Entry(_text(camera_path_test.COLMAP), read_camera_path),
    "path.npz": Entry(
        _arrays(rotation=[np.eye(3)] * 3, translation=np.ones((3, 3)), seconds=np.arange(3.0)), read_camera_path
    ),
    "torch.pth": Entry(_checkpoint, _checkpoint_reads),
    "gmm.npz": Entry(
        lambda p: gmm.write_gmm(p, _TREE, _META), lambda p: (gmm.read_clip(p, "S9/Walking 1/2"), gmm.holds_gmm(p))
    ),
    "positions.npz": Entry(
        lambda p: videopose3d_test.write(p, positions_3d=_POSITIONS),
        _generated(lambda p, *given: videopose3d.prepare_videopose3d(p, None, *given), ["S1"]),
    ),
    "pixels.npz": Entry(
        lambda p: videopose3d_test.write(p, positions_2d=videopose3d_test.pixels_like(_POSITIONS), metadata=_META),
        lambda p: [gmm.holds_gmm(p), videopose3d.check_layout(p), load_dict(p, "positions_2d")],
    ),
    "3dhp.npz": Entry(
        lambda p: mpi3dhp_test.write(p, mpi3dhp_test.test_tree()), _generated(mpi3dhp.prepare_3dhp, "test")
    ),
    "list.pkl": Entry(
        lambda p: h36m_pickle_test.dump(p, h36m_pickle_test.lcn_frames([2, 1])),
        lambda p: list(h36m_pickle.prepare_pickles(p, None, "train", p.with_name("out"))),
    ),
    "list2.pkl": Entry(lambda p: h36m_pickle_test.dump(p, h36m_pickle_test.lcn_frames([1]), 2), _H36M_BATCHES),
    "detections.pkl": Entry(
        lambda p: h36m_pickle_test.dump(p, h36m_pickle_test.detections_of(h36m_pickle_test.lcn_frames([2]))),
        lambda p: h36m_pickle._read_detections(p, "train"),
    ),
    "any.pkl": Entry(
        lambda p: h36m_pickle_test.dump(p, [XYZ, {"a": (1, 2.5, "b", b"c")}, np.float32(3)], 3), load_pickle
    ),
    "tiny.safetensors": Entry(_released, model.load),
    "lift.jaxexport": Entry(_exported, export.load),
    "result.npz": Entry(_arrays(**_RESULT), lambda p: (_result(p), io.read(p))),
    "000000.npz": Entry(_part, _part_read),
    "val_video.npz": Entry(_bench, protocols.load_video_bench),
    "mesh.ply": Entry(
        lambda p: p.write_bytes(ehf_test.ply_bytes(ehf_test.VERTICES, "binary_little_endian", colours=True)),
        ehf.read_ply,
    ),
    "text.ply": Entry(lambda p: p.write_bytes(ehf_test.ply_bytes(ehf_test.VERTICES, "ascii")), ehf.read_ply),
    "image.npy": Entry(_frames, lambda p: mapped(p, np.float32, (4, 17, 3))),
    "train.npz": Entry(_arrays(**_PREPARED), _rotations),
    "film.mp4": Entry(lambda p: write_video(p, map(picture, range(6))), _frames_read),
    "photo.png": Entry(lambda p: Image.fromarray(picture(1)).save(p), _frames_read),
    "net.onnx": Entry(
        lambda p: rtmpose_test.network(p, [5] * 17, [9] * 17, np.ones(17, np.float32)), lambda p: rtmpose(p, None)
    ),
}


def _result(path: Path) -> Any:
    return read_result(path, H36M_17)


@functools.cache
def content(name: str) -> bytes:
    """The bytes of a valid file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        ENTRIES[name].make(path)
        return path.read_bytes()


def as_json(name: str) -> Any:
    return json.loads(content(name))
