"""Gaussian mixtures of 2D joints in files: the `*_gmm.npz` of DiffPose (Gong et al., CVPR 2023).

    positions_2d: subject -> action -> one array [F, 17, M, 5] for each camera;    metadata: a dict, optional

The last axis is weight, u, v, sigma_u, sigma_v of M Gaussians with axes along the image's: u and v in pixels, the
standard deviations in normalised screen units, in which the image is 2 wide (spec/diffpose.md 3.3 and 4):

    uv = 2 uv_px / width - (1, height / width),    sigma = 2 sigma_px / width

Joints are in H36M_17 order. Both values are pickled dicts, read by the restricted unpickler. Files are valid where
the original loader accepts them: it draws a component with numpy's `choice`, so weights must sum to 1 within numpy's
tolerance, the square root of the type's epsilon; and it reads the four cameras of Human3.6M.
"""

import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxpose.diffusion.mixture import Mixture
from jaxpose.files import FilePath, atomic
from jaxpose.geometry.camera import denormalise_screen
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.arrays import as_size
from jaxpose.io.untrusted.unpickle import array_of, describe, list_of_cameras, load_dict
from jaxpose.reading import reader, shown

Tree: TypeAlias = Mapping[str, Mapping[str, Sequence[np.ndarray]]]  # subject -> action -> cameras

_SIDES = [list(H36M_17.left), list(H36M_17.right)]
NUM_CAMERAS = 4  # that the original loader needs
_LARGEST = 1e9
_WIDE = 0.2  # deviation of a joint that was not found, in extents of the person; chosen, not fitted
IMAGE_SIZE = (1000, 1000)  # pixels of Human3.6M, where a file has no size; two of its cameras have two rows more


def read_metadata(path: FilePath) -> Mapping[str, Any]:
    """The dict `metadata` beside `positions_2d` in a file of VideoPose3D or DiffPose, {} where it has none."""
    return load_dict(path, "metadata", {})


@reader("file of 2D keypoints")
def check_layout(path: Path) -> None:
    """ValueError for a 2D file whose metadata names another joint set (COCO has 17 joints, too)."""
    pairs = read_metadata(path).get("keypoints_symmetry")
    if pairs is not None and shown(pairs) != shown(_SIDES):
        raise ValueError(f"{path}: its left and right joints are {shown(pairs)}; needed {_SIDES}, Human3.6M's")


@reader("file of mixtures")
def read_gmm(path: FilePath, *, num_cameras: int | None = NUM_CAMERAS) -> dict[str, dict[str, list[np.ndarray]]]:
    """The mixtures of a file: subject -> action -> one float64 [F, 17, M, 5] for each camera (module docstring).

    num_cameras: how many every action must have; None takes any number. F may differ between cameras, M may not.
    """
    path = Path(path)
    check_layout(path)
    return _checked(load_dict(path, "positions_2d"), f"{path}: ", num_cameras)


def holds_gmm(path: FilePath) -> bool:
    """Whether a file has the layout of `*_gmm.npz`; False for a damaged one."""
    try:
        tree = load_dict(path, "positions_2d") if Path(path).suffix == ".npz" else None
        return tree is not None and all(np.ndim(array) == 4 for array in all_cameras(tree))
    except (ValueError, AttributeError, TypeError):
        return False


@reader("file of mixtures")
def read_clip(path: FilePath, name: str | None = None) -> tuple[Mixture, tuple[int, int]]:
    """The mixtures of one clip in pixels, weight [F, 17, M], and the image's width and height.

    name: "SUBJECT/ACTION/CAMERA", such as "S9/Walking 1/2"; None where the file has one clip alone. The size is that of
    the file's metadata, else 1000 x 1000, Human3.6M's. ValueError names the file and the clips it has.
    """
    tree = read_gmm(path, num_cameras=None)
    clips = {f"{s}/{a}/{c}": x for s, actions in tree.items() for a, xs in actions.items() for c, x in enumerate(xs)}
    if (name is None and len(clips) > 1) or name not in (None, *clips):
        some = ", ".join(list(clips)[:4])
        raise ValueError(f"{path}: clip {name!r}; needed one of its {len(clips)}: {some}{', ...' * (len(clips) > 4)}")
    array = clips[name or next(iter(clips))]
    width, height = as_size(path, "image_size", read_metadata(path).get("image_size", IMAGE_SIZE))
    return Mixture(*map(np.asarray, in_pixels(array, width))), (width, height)  # type: ignore[arg-type]  # numpy


def in_pixels(array: np.ndarray, width: float) -> Mixture:
    """Mixtures [..., M, 5] of a file in pixels of an image `width` wide, float32; a std of 0 becomes 1 px."""
    std = np.where(array[..., 3:] > 0, array[..., 3:] * (width / 2), 1)
    return Mixture(*(x.astype(np.float32) for x in (array[..., 0], array[..., 1:3], std)))  # type: ignore[arg-type]  # numpy


def first_peak(mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints [F, J, 2] and confidence [F, J] of mixtures whose first component is the detection, as files have it.

    The confidence is the weight of the components that belong to the first: at most four times as wide, and nearer than
    twice the sum of both deviations (EM may cut one peak into several). It is 0 where the first has weight 0, or is so
    wide, over _WIDE of the person's extent, that the joint was not found.
    """
    weight, mean, std = (np.asarray(x) for x in mixture)
    near = np.linalg.norm(mean - mean[..., :1, :], axis=-1) <= 2 * (std + std[..., :1, :]).mean(-1)
    same = near & (std <= 4 * std[..., :1, :]).all(-1)
    extent = np.ptp(mean[..., 0, :], axis=-2).max(-1)[..., None]
    detected = (weight[..., 0] > 0) & (std[..., 0, :].max(-1) <= _WIDE * extent)
    confidence = np.where(detected, (weight * same).sum(-1), 0).clip(0, 1)
    return mean[..., 0, :], confidence.astype(np.float32)


def write_gmm(path: FilePath, tree: Tree, metadata: Mapping[str, Any] | None = None) -> None:
    """Write mixtures so that the original loader reads them; the file appears whole or not at all.

    tree: subject -> action -> one [F, 17, M, 5] for each camera; any number of cameras from 1, of which the original
    loader needs four. Weights are made to sum to 1 in float64. metadata: of plain values; the joint set is added.
    ValueError for invalid mixtures, before anything is written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: suffix {path.suffix!r}; needed .npz")
    positions = each_camera(_checked(tree, "", None), _normalised)
    layout = {"num_joints": len(H36M_17.joints), "layout_name": "h36m", "keypoints_symmetry": _SIDES}
    with atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in {"positions_2d": positions, "metadata": {**(metadata or {}), **layout}}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                _write_object(member, value)


def from_mixture(mixture: Mixture, width: float, height: float) -> np.ndarray:
    """[..., M, 5] as a file has it, float32, of a mixture in normalised screen units."""
    uv_px = denormalise_screen(mixture.mean, width, height)
    return np.asarray(jnp.concatenate([mixture.weight[..., None], uv_px, mixture.std], -1))


def each_camera(tree: Tree, change: Callable[[np.ndarray], np.ndarray]) -> dict[str, dict[str, list[np.ndarray]]]:
    """The tree with the array of each camera changed."""
    return {
        subject: {action: [change(array) for array in cameras] for action, cameras in actions.items()}
        for subject, actions in tree.items()
    }


def all_cameras(tree: Mapping[str, Any]) -> list[np.ndarray]:
    """The arrays of all cameras."""
    return [array for actions in tree.values() for cameras in actions.values() for array in cameras]


def _checked(tree: Any, where: str, num_cameras: int | None) -> dict[str, dict[str, list[np.ndarray]]]:
    """The tree in float64; ValueError unless its arrays are mixtures with the same number of components."""
    if not isinstance(tree, Mapping) or not tree:
        raise ValueError(f"{where}needed a dict of subjects, got {describe(tree)}")
    result: dict[str, dict[str, list[np.ndarray]]] = {}
    for subject, actions in tree.items():
        if not isinstance(subject, str) or not isinstance(actions, Mapping) or not actions:
            raise ValueError(f"{where}{subject}: needed a dict of actions, got {describe(actions)}")
        result[subject] = {
            action: [_array(a, at) for at, a in list_of_cameras(value, f"{where}{subject} {action}", num_cameras)]
            for action, value in actions.items()
        }
    counts = {array.shape[2] for array in all_cameras(result)}
    if len(counts) > 1:
        raise ValueError(f"{where}arrays of {sorted(counts)} components; needed one number of them")
    return result


def _array(array: Any, place: str) -> np.ndarray:
    values = array_of(array, place, (len(H36M_17.joints), None, 5), finite=False).astype(np.float64, copy=False)
    weight, sigma = values[..., 0], values[..., 3:]
    not_positive = (sigma < 0) | ((sigma == 0) & (weight > 0)[..., None])
    # how far from 1 a sum of probabilities of this type may be for `numpy.random.choice`
    coarse = np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0
    tolerance, total = float(np.sqrt(max(np.finfo(np.float64).eps, coarse))), weight.sum(-1)
    faults = (
        (~(abs(values) < _LARGEST).all((-1, -2)), "a number that is not finite"),
        ((weight < 0).any(-1), "a negative weight"),
        (~(abs(total - 1) <= tolerance), f"weights that do not sum to 1 within {tolerance:.1g}"),
        (not_positive.any((-1, -2)), "a standard deviation that is not positive"),
    )
    for bad, what in faults:
        if bad.any():
            frame, joint = np.argwhere(bad)[0]
            at = f"frame {frame}, joint {joint} ({H36M_17.joints[joint]})"
            raise ValueError(f"{place}, {at}: {what}: {values[frame, joint].round(8).tolist()}")
    return values


def _normalised(array: np.ndarray) -> np.ndarray:
    return np.concatenate([array[..., :1] / array[..., :1].sum(-2, keepdims=True), array[..., 1:]], -1)


def _write_object(file: IO[bytes], value: Any) -> None:
    """Write `value` to a .npy file as numpy 1 does, which every numpy reads: numpy 2 names `numpy._core`, unknown then.

    With protocol 3 the name occurs once, in plain text at the start.
    """
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    raw = pickle.dumps(np.array(value, dtype=object), protocol=3)
    new, old = b"\x80\x03cnumpy._core.multiarray\n", b"\x80\x03cnumpy.core.multiarray\n"
    if raw.startswith(new):
        file.write(old)
    file.write(memoryview(raw)[len(new) if raw.startswith(new) else 0 :])
