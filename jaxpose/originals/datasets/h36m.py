"""Frames of Human3.6M and MPI-INF-3DHP as arrays: the common output of the readers of their published files.

A folder holds one `.npy` file for each field of `Frames` and a `meta.json` (format, count, sources). The arrays are
memory-mapped, so that a million frames open at once and only the used parts are read.

Every frame has its pose twice: `camera` in metres, and `image` as GFPose trains on it, pixels (u, v) without lens
distortion and a root-relative depth d in pixels (spaces/image_depth.py).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import jax.numpy as jnp
import numpy as np

from jaxpose.files import FilePath, draft_of, take_place, write_json
from jaxpose.io.arrays import Source, mapped
from jaxpose.spaces.image_depth import ratio_of, to_image_depth

FORMAT = "jaxpose-h36m-1"
# Human3.6M's own numbering; 0 and 1 are not activities.
_NAMES = (
    *("Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting", "SittingDown"),
    *("Smoking", "TakingPhoto", "Waiting", "Walking", "WalkingDog", "WalkTogether"),
)
ACTIONS = dict(enumerate(_NAMES, 2))
MIXTURES = "mixture.npy"  # beside the fields, where detections are mixtures


class Frames(NamedTuple):
    """N frames, each of one person in one camera, joints in H36M_17 order.

    image:      [N, 17, 3] float32 pixels (u, v, d).    camera: [N, 17, 3] float32 metres, camera axes.
    keypoints:  [N, 17, 2] float32 pixels, detected.    confidence: [N, 17] float32 in [0, 1].
    ratio:      [N] float32 pixels per metre of depth.  root_depth: [N] float32 metres.
    intrinsics: [N, 4] float32 pixels: fx, fy, cx, cy.
    action, subject, video, frame, camera_id: [N] int32; actions 2..16 (2 Directions ... 16
    WalkTogether), subjects 1..11, frames from 0 within a video (one camera's), cameras 0..3.

    Of MPI-INF-3DHP (mpi3dhp.py): action 0, subjects 1..8 and 101..106, cameras 0..8. Frames of its test videos that
    are not scored have no truth: image, camera, ratio and root_depth are NaN there (`has_truth`).
    """

    image: np.ndarray
    camera: np.ndarray
    keypoints: np.ndarray
    confidence: np.ndarray
    ratio: np.ndarray
    root_depth: np.ndarray
    intrinsics: np.ndarray
    action: np.ndarray
    subject: np.ndarray
    video: np.ndarray
    frame: np.ndarray
    camera_id: np.ndarray


def frames_of(
    camera: np.ndarray, intrinsics: np.ndarray, keypoints: np.ndarray | None, **labels: np.ndarray | int
) -> Frames:
    """Frames of joints `camera` [N, 17, 3] metres in cameras `intrinsics` [N, 4]; the other fields follow.

    keypoints: [N, 17, 2] pixels; None: the projections. labels: action, subject, video, frame, camera_id, [N] or
    one number for all.
    """
    image = np.asarray(to_image_depth(jnp.asarray(intrinsics), jnp.asarray(camera)))
    root_depth = camera[:, 0, 2]
    return Frames(
        image=image,
        camera=camera,
        keypoints=image[..., :2] if keypoints is None else keypoints,
        confidence=np.ones(image.shape[:2], np.float32),
        ratio=np.asarray(ratio_of(jnp.asarray(intrinsics), jnp.asarray(root_depth))),
        root_depth=root_depth,
        intrinsics=intrinsics,
        **{name: np.broadcast_to(np.asarray(value, np.int32), len(camera)) for name, value in labels.items()},
    )


# Field -> shape of one frame and type.
LAYOUT: dict[str, tuple[tuple[int, ...], type]] = {
    **{name: ((17, 3), np.float32) for name in ("image", "camera")},
    **{"keypoints": ((17, 2), np.float32), "confidence": ((17,), np.float32), "intrinsics": ((4,), np.float32)},
    **{name: ((), np.float32) for name in ("ratio", "root_depth")},
    **{name: ((), np.int32) for name in ("action", "subject", "video", "frame", "camera_id")},
}


def load_frames(folder: FilePath) -> Frames:
    """The frames of a folder that `writing_frames` made, memory-mapped; ValueError names a file that does not fit."""
    root = Path(folder)
    meta = load_meta(root)
    layout = ((root / f"{name}.npy", *LAYOUT[name]) for name in Frames._fields)
    return Frames(*(mapped(path, kind, (meta["count"], *shape)) for path, shape, kind in layout))


def load_mixtures(folder: FilePath) -> np.ndarray | None:
    """Mixtures [N, 17, M, 5] of a folder's frames: weight, u, v, their deviations in pixels; None where it has none.

    Memory-mapped; ValueError names a file that does not fit.
    """
    path, count = Path(folder) / MIXTURES, load_meta(folder)["count"]
    return mapped(path, np.float32, (count, 17, None, 5)) if path.is_file() else None


def has_truth(frames: Frames) -> np.ndarray:
    """Mask [N] of the frames with a true pose; the others have keypoints only."""
    return np.isfinite(frames.root_depth)


def load_meta(folder: FilePath) -> dict[str, Any]:
    """The content of `meta.json` of a frames folder; ValueError where it is missing or of another format."""
    path = Path(folder) / "meta.json"
    if not path.is_file():
        raise ValueError(f"{path}: no such file; needed a folder made by `jaxpose prepare`")
    meta = Source(path).json
    actual = meta.get("format") if isinstance(meta, dict) else None
    if actual != FORMAT:
        raise ValueError(f"{path}: the format is {actual!r}; must be {FORMAT!r}")
    if not isinstance(meta.get("count"), int) or meta["count"] < 1:
        raise ValueError(f"{path}: count must be a positive number of frames, got {meta.get('count')!r}")
    return meta


@contextmanager
def writing_frames(out: FilePath, meta: dict[str, Any]) -> Iterator[Callable[..., None]]:
    """A function that appends frames to the new folder `out`, which appears when the block ends without an error.

    Its second argument: mixtures [N, 17, M, 5] of these frames as of `load_mixtures`. meta: stored beside the frames.
    ValueError for arrays of another shape, and where there are no frames.
    """
    with new_folder(out) as draft, ExitStack() as opened:
        files = {name: opened.enter_context(open(draft / f"{name}.npy", "wb")) for name in Frames._fields}
        mixtures: list[np.ndarray] = []
        count = 0

        def append(frames: Frames, mixture: np.ndarray | None = None) -> None:
            nonlocal count
            for name, array in frames._asdict().items():
                shape, kind = LAYOUT[name]
                if array.shape != (len(frames.frame), *shape):
                    raise ValueError(f"{name}: needed shape {(len(frames.frame), *shape)}, got {array.shape}")
                files[name].write(np.ascontiguousarray(array, np.dtype(kind).newbyteorder("<")).tobytes())
            count += len(frames.frame)
            mixtures.extend([] if mixture is None else [mixture.astype("<f4")])

        _write_headers(files, 0)
        yield append
        if not count:
            raise ValueError(f"{out}: there are no frames to write; needed at least one")
        _write_headers(files, count)
        if mixtures:
            np.save(draft / MIXTURES, np.concatenate(mixtures))
        write_json(draft / "meta.json", {"format": FORMAT, "count": count, **meta})


def _write_headers(files: Mapping[str, BinaryIO], count: int) -> None:
    """Headers of .npy files of `count` rows; numpy keeps room in them for any count, so that they can be rewritten."""
    for name, file in files.items():
        shape, kind = LAYOUT[name]
        header = {"descr": np.dtype(kind).newbyteorder("<").str, "fortran_order": False, "shape": (count, *shape)}
        file.seek(0)
        np.lib.format.write_array_header_1_0(file, header)


def described(sources: Iterable[Path]) -> list[dict[str, Any]]:
    """Name and size of each source, as `meta.json` has them."""
    return [{"name": path.name, "bytes": path.stat().st_size} for path in sources]


@contextmanager
def new_folder(out: FilePath) -> Iterator[Path]:
    """A folder beside the new folder `out`, which becomes `out` when the block ends without an error."""
    target = check_new(out)
    with draft_of(target, Path.mkdir) as (draft, _):
        yield draft
        take_place(draft, target)


def check_new(out: FilePath) -> Path:
    """`out` as an absolute path; ValueError where no folder can be made there."""
    target = Path(out).absolute()
    if target.exists():
        raise ValueError(f"{target}: exists already; must be a new folder, or remove it first")
    if not target.parent.is_dir():
        raise ValueError(f"{target}: {target.parent} is not a folder; must be a new folder in one that exists")
    return target
