"""Score any lifting model on a prepared folder of Human3.6M or MPI-INF-3DHP, by DiffPose's protocols.

    jaxpose prepare videopose3d --poses data_3d_h36m.npz --detections data_2d_h36m_cpn_ft_h36m_dbb.npz \
        --subjects S9,S11 --out data/h36m_test                                or h36m, or 3dhp --split test
    python -m experiments.evaluate h36m --model=diffpose17 --data=data/h36m_test [--flip]
    python -m experiments.evaluate h36m --model=official.safetensors --data=data/h36m_test --strict --batch_size=1024

Human3.6M: protocols #1 and #2, N-MPJPE and MPJVE, mean per action, then over actions. MPI-INF-3DHP: MPJPE, PCK and AUC.
A video model sees windows of its length; each frame counts once. `--strict` books as the released code does
(evaluation/h36m.py), windows that overlap included. Converted checkpoints of DiffPose's authors (codec "screen") run as
these do (recipes/diffpose.py): one pose, whatever --hypotheses says.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.base import Array, Camera
from jaxpose.evaluation import aggregate
from jaxpose.geometry.camera import normalise
from jaxpose.geometry.skeleton import flip_average
from jaxpose.geometry.windows import Windows, tile
from jaxpose.originals.datasets.h36m import Frames, has_truth, load_frames, load_meta
from jaxpose.originals.datasets.mpi3dhp import image_size as image_size_3dhp
from jaxpose.originals.evaluation.h36m import h36m_row, report
from jaxpose.originals.evaluation.mpi3dhp import mpi3dhp_row
from jaxpose.originals.recipes.diffpose import lift_official
from jaxpose.spaces.person import decode_pose, encode_keypoints
from jaxpose.tasks.diffpose import encode_rows
from jaxpose.tasks.lift import lift

AGGREGATES = {f.__name__: f for f in (aggregate.mean, aggregate.median, aggregate.geometric_median, aggregate.mode)}
H36M_WIDTH, H36M_HEIGHTS = 1000, np.array([1002, 1000, 1000, 1002])  # pixels, of cameras 0..3
_PINHOLE = (1.0, 1.0, 0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option(None, "A model's name or a .safetensors file.", required=True)
    data: str = option(None, "Folder made by `jaxpose prepare`.", required=True)
    hypotheses: int = option(20, "Samples of a pose.", low=1)
    aggregate: str = option("mean", "One pose of the samples.", legal=tuple(AGGREGATES))
    encoder_only: bool = option(False, "DiffPose's context encoder without the diffusion.")
    flip: bool = option(False, "Average with the poses of the mirrored input.")
    strict: bool = option(False, "Averages as the released code of DiffPose has them.")
    batch_size: int | None = option(
        None, "With --strict, poses that share a P-MPJPE: 1024 in the code for frames.", low=1
    )
    window_stride: int | None = option(None, "Frames from a window to the next; by default side by side.", low=1)
    stride: int = option(1, "Every n-th frame, or window of a video model, only.", low=1)
    rows: int = option(2048, "Frames in flight at once.", low=1)


def h36m(model: released.Model, options: Options) -> Iterator[Item]:
    """One row: the protocol's figures, printed as its table."""
    frames, meta = load_frames(options.data), load_meta(options.data)
    is_3dhp = meta.get("dataset") == "mpi_inf_3dhp"
    check_flags(options, is_3dhp)
    windows = make_windows(model, frames, options)
    title = f"{model.spec.name}, {windows.counted.sum()} frames of {options.data}"
    yield Table(title, privileges(model), "nothing of ours")
    started = time.perf_counter()
    poses = draw_all(model, frames, windows, image_size(frames, is_3dhp), options)
    seconds = (time.perf_counter() - started) / windows.counted.sum()
    rows = windows.index[windows.counted]
    scored = has_truth(frames)[rows]
    row, text = score(poses[windows.counted][scored], frames, rows[scored], meta, is_3dhp, options)
    print(text)
    yield {"data": {"folder": options.data, "frames": int(scored.sum()), **meta}}
    yield Row("all", {"seconds_per_frame": float(seconds), **row})


def check_flags(options: Options, is_3dhp: bool) -> None:
    """ValueError for flags that do not go together, before anything is computed."""
    if options.strict and is_3dhp:
        raise ValueError("--strict: for Human3.6M only, there is no released code for MPI-INF-3DHP")
    if options.batch_size and not options.strict:
        raise ValueError("--batch_size: needs --strict")


def make_windows(model: released.Model, frames: Frames, options: Options) -> Windows:
    """Which frames are seen together and which count: windows of a video model, else each frame that has a truth."""
    length = num_frames(model)
    if length:
        how: dict[str, Any] = {"stride": options.window_stride, "strict": options.strict}
        windows = tile(frames.video, frames.frame, length, **how)
    else:
        rows = np.flatnonzero(has_truth(frames))[:, None]
        windows = Windows(rows, np.ones(rows.shape, bool))
    return Windows(*(x[:: options.stride] for x in windows))


def num_frames(model: released.Model) -> int:
    """Length of a video model's windows; 0 of others."""
    return model.spec.network.window or 0


def draw_all(model: released.Model, frames: Frames, windows: Windows, size: np.ndarray, options: Options) -> np.ndarray:
    """Poses [W, F, 17, 3] metres, root-relative, of every window, a block of them at a time."""
    count, length = windows.index.shape
    predict, key = jax.jit(predictor(model, options)), jax.random.key(options.seed)
    poses, done, started = [], 0, time.monotonic()
    for block, (chosen, kept) in enumerate(bench.blocks(count, options.rows // length)):
        rows = windows.index[chosen].reshape(-1)
        seen = [jnp.asarray(x[rows]) for x in (frames.keypoints, frames.confidence, frames.intrinsics, size)]
        # one key for all windows of video: neighbours then share their noise, and no seam shows
        block_key = key if num_frames(model) else jax.random.fold_in(key, block)
        poses.append(np.asarray(predict(model, block_key, *seen)).reshape(-1, length, 17, 3)[:kept])
        done += kept
        bench.tell_progress(done * length, count * length, started)
    return np.concatenate(poses)


def predictor(model: released.Model, options: Options) -> Callable[..., Array]:
    """(model, key, keypoints, confidence, intrinsics, image size) -> poses, by the model's codec."""
    if _of_screen(model):
        return partial(official_poses, options)
    return partial(person_poses, options)  # which refuses others


def _of_screen(model: released.Model) -> bool:
    return "screen" in model.capabilities


def person_poses(
    options: Options,
    model: released.Model,
    key: Array,
    keypoints: Array,
    confidence: Array,
    intrinsics: Array,
    size: Array,
) -> Array:
    """Poses [N, 17, 3] by intrinsics, of which the image size is no part."""
    del size
    length = num_frames(model)
    windows = None
    if length:
        index = np.arange(len(keypoints)).reshape(-1, length)
        windows = (jnp.asarray(index), jnp.ones(index.shape, bool))
    alone = options.encoder_only or {"encoder", "denoiser"} & model.capabilities == {"encoder"}

    def pose(x: Array) -> Array:
        uv, sure, pinhole = x[..., :2], x[..., 2], jnp.array(_PINHOLE)
        if alone:
            cond, view = encode_keypoints(pinhole, uv, sure)
            return decode_pose(model.statistics, view, encode_rows(model, cond, windows).pose)
        lifted = lift(key, model, uv, sure, camera=Camera(pinhole), num_hypotheses=options.hypotheses, windows=windows)
        return AGGREGATES[options.aggregate](lifted.samples)

    # on the plane z = 1, where a mirror through the lens is a change of sign
    x = jnp.concatenate([normalise(intrinsics, keypoints), confidence[..., None]], -1)
    return (flip_average(pose, model.skeleton) if options.flip else pose)(x)


def official_poses(
    options: Options,
    model: released.Model,
    key: Array,
    keypoints: Array,
    confidence: Array,
    intrinsics: Array,
    size: Array,
) -> Array:
    """Poses [N, 17, 3] of the authors' checkpoints, by image size; these know no confidence and draw nothing."""
    del key, confidence, intrinsics
    shape = (-1, num_frames(model)) if num_frames(model) else (-1,)
    width, height = (v.reshape(shape) for v in (size[:, 0], size[:, 1]))
    poses = lift_official(model, keypoints.reshape(*shape, 17, 2), (width, height), flip=options.flip)
    return poses.reshape(-1, 17, 3)


def image_size(frames: Frames, is_3dhp: bool) -> np.ndarray:
    """Width and height [N, 2] pixels."""
    if is_3dhp:
        return np.stack(image_size_3dhp(np.asarray(frames.subject)), -1).astype(np.float32)
    heights = H36M_HEIGHTS[frames.camera_id]
    return np.stack([np.full_like(heights, H36M_WIDTH), heights], -1).astype(np.float32)


def score(
    poses: np.ndarray, frames: Frames, rows: np.ndarray, meta: dict[str, Any], is_3dhp: bool, options: Options
) -> tuple[dict[str, Any], str]:
    """The protocol's figures of poses [N, 17, 3] of `rows`, and their table."""
    truth, video, frame = (np.asarray(x[rows]) for x in (frames.camera, frames.video, frames.frame))
    if is_3dhp:
        names = np.array([v["name"] for v in meta["videos"]])
        row = mpi3dhp_row(poses, truth, names[video])
        form = "{:12s} MPJPE {mpjpe_mm:6.1f} mm  PCK {pck:.3f}  AUC {auc:.3f}"
        return row, "\n".join(form.format(k, **v) for k, v in {**row["per_sequence"], "all": row}.items())
    order = np.lexsort((frame, video))
    moving = bool(((np.diff(video[order]) == 0) & (np.diff(frame[order]) == 1)).any())
    how: dict[str, Any] = {"strict": options.strict, "batch_size": options.batch_size}
    how |= {"video": video, "frame": frame} if moving else {}
    protocols = h36m_row(poses, truth, np.asarray(frames.action[rows]), **how)
    return {name: result._asdict() for name, result in protocols.items()}, report(protocols)


def privileges(model: released.Model) -> str:
    """What the model is told beyond keypoints."""
    if _of_screen(model):
        return "size of the image; trained on this data set's own metres; root depth and intrinsics are not given"
    return "true intrinsics, without lens distortion; root depth and body size are not given"
