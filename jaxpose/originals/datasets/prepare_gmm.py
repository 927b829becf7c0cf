"""Conversion of 2D detections and heatmaps to Gaussian mixtures for DiffPose (gmm.py), one per joint and frame.

A detection without confidences becomes one Gaussian at the joint, with the weights (1, 0, ...) that the published files
have (spec/diffpose.md, 4). A detection with confidence c is correct with probability c, else the joint is anywhere on
the person:

    p(uv) = c N(uv | detected, sigma^2) + (1 - c) N(uv | m, s^2)

with m, s the mean and deviation of the person's detected joints, or those of a point anywhere in the image where fewer
than two are detected. The confidence is used as a probability, though detectors are not calibrated. A joint with
confidence 0, or that the file's joint set lacks, is the wide Gaussian alone. The first component is the detection.

A heatmap becomes a mixture fitted by EM (diffusion/mixture.py) to points drawn from it, the heaviest component first.
Joints that the file lacks are composed of its joints (`joint_sets.joint_map`), from independent points. A joint that
cannot be composed, or whose map is zero, is uniform on the map.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.diffusion.mixture import Mixture, fit_mixture, heaviest_first
from jaxpose.files import FilePath
from jaxpose.geometry.camera import normalise_screen
from jaxpose.geometry.heatmaps import Missing, sample_heatmaps, to_image
from jaxpose.geometry.joint_sets import convert_joints, joint_map
from jaxpose.geometry.skeleton import H36M_17, Skeleton
from jaxpose.geometry.windows import rows_of_people
from jaxpose.io.heatmap_files import Heatmaps, blocks, intensities, read_heatmaps
from jaxpose.io.keypoints import read_keypoints
from jaxpose.io.untrusted.unpickle import array_of, describe, list_of_cameras, load_dict
from jaxpose.originals.datasets import gmm

SIGMA = 0.01  # normalised units: 5 px of 1000, the video repository's constant for tests (spec/diffpose.md, 4)
SAMPLES = 1000  # points drawn from a heatmap; the paper's number was not recovered
COMPONENTS = 5  # the paper's
_SUBJECT = "S0"
_FLOOR = 1e-6  # variance, normalised units: half a pixel of 1000


def gmm_of_detections(
    path: FilePath,
    out: FilePath,
    *,
    components: int | None = None,
    sigma: float = SIGMA,
    image_size: tuple[int, int] | None = None,
) -> Iterator[str]:
    """Mixtures of VideoPose3D's `data_2d_*.npz`, all its subjects, actions and cameras; yields lines of progress.

    Its arrays are [F, 17, 2] pixels, or [F, 17, 3] with confidences. components: None takes 1, or 2 with confidences;
    further components get weight 0. sigma: normalised units. image_size: width, height in pixels.
    ValueError names the file or the argument that is wrong.
    """
    path, target = _opened(path, out, components, sigma)
    gmm.check_layout(path)
    size = image_size or gmm.IMAGE_SIZE
    tree: dict[str, dict[str, list[np.ndarray]]] = {}
    for subject, actions in load_dict(path, "positions_2d").items():
        if not isinstance(actions, dict):
            raise ValueError(f"{path}: {subject}: needed a dict of actions, got {describe(actions)}")
        tree[subject] = {name: _detected(cameras, f"{path}: {subject} {name}") for name, cameras in actions.items()}
    arrays = gmm.all_cameras(tree)
    count = _num_components(components, any((a[..., 2] < 1).any() for a in arrays))
    mixtures = gmm.each_camera(tree, lambda a: _around(a, count, sigma, size))
    few = {len(cameras) for actions in tree.values() for cameras in actions.values()}
    notes = {"image_size": list(size)} if image_size else {}
    what = f"{sum(map(len, arrays))} frames of {sorted(few)} cameras"
    yield from _write(target, mixtures, {"source": path.name, "sigma": sigma, **notes}, what, size)


def gmm_of_keypoints(
    path: FilePath,
    out: FilePath,
    *,
    components: int | None = None,
    sigma: float = SIGMA,
    image_size: tuple[int, int] | None = None,
    skeleton: Skeleton | None = None,
    format: str | None = None,
) -> Iterator[str]:
    """Mixtures of a file or folder that `read_keypoints` reads, brought to H36M_17; yields lines of progress.

    They have the subject "S0" and one camera; the action is the file's name without suffix, followed by the number of
    the person where there are several. Rows are the person's detected frames in order; `metadata` lists them.
    components, sigma as above; image_size: needed where the file has none.
    """
    path, target = _opened(path, out, components, sigma)
    kp = read_keypoints(path, skeleton=skeleton, format=format)
    size = image_size or kp.image_size
    if size is None:
        raise ValueError(f"{path}: it has no image size; needed --image-size WIDTH,HEIGHT in pixels")
    converted = convert_joints(jnp.asarray(kp.xy), jnp.asarray(kp.confidence), kp.skeleton, H36M_17)
    xy, confidence = jax.device_get(converted)
    detected = np.concatenate([xy, confidence[..., None]], -1).astype(np.float64)
    count = _num_components(components, bool((confidence < 1).any()))
    array = _around(detected, count, sigma, size)
    people = list(rows_of_people(kp.person, kp.frame))
    rows = {path.stem if len(people) == 1 else f"{path.stem} {who}": of_person for who, of_person in people}
    tree = {_SUBJECT: {name: [array[rows_of_person]] for name, rows_of_person in rows.items()}}
    frames = {name: kp.frame[rows_of_person].tolist() for name, rows_of_person in rows.items()}
    metadata = {"source": path.name, "sigma": sigma, "image_size": list(size), "frames": frames}
    what = f"{len(array)} detections of {len(rows)} people, {kp.skeleton.name}"
    yield from _write(target, tree, metadata, what, size)


def gmm_of_heatmaps(
    path: FilePath,
    out: FilePath,
    *,
    components: int = COMPONENTS,
    samples: int = SAMPLES,
    seed: int = 0,
    image_size: tuple[int, int] | None = None,
    skeleton: Skeleton | None = None,
    missing: Missing = "error",
) -> Iterator[str]:
    """Mixtures fitted to the heatmaps of a file (heatmap_files.py), brought to H36M_17; yields lines of progress.

    They have the subject "S0", one camera and the file's name as action. samples: points drawn from each map,
    frame i with fold_in(key(seed), i). Other arguments and errors as in `read_heatmaps`.
    """
    path, target = _opened(path, out, components, SIGMA)
    if samples < components:
        raise ValueError(f"samples: needed at least the {components} components, got {samples}")
    data = read_heatmaps(path, skeleton=skeleton, image_size=image_size, missing=missing)
    num, (width, height) = len(data.maps), data.image_size
    fitted: list[np.ndarray] = []
    for done, mixture in fit_heatmaps(jax.random.key(seed), data, H36M_17, components, samples):
        fitted.append(gmm.from_mixture(mixture, width, height))
        yield f"{done} of {num} frames fitted"
    tree = {_SUBJECT: {path.stem: [np.concatenate(fitted)]}}
    settings = {"source": path.name, "samples": samples, "seed": seed, "image_size": [width, height]}
    metadata = {**settings, "frames": {path.stem: data.frame.tolist()}}
    yield from _write(target, tree, metadata, f"{num} frames of heatmaps, {data.skeleton.name}", data.image_size)


def fit_heatmaps(
    key: Key, data: Heatmaps, target: Skeleton, components: int = COMPONENTS, samples: int = SAMPLES
) -> Iterator[tuple[int, Mixture]]:
    """Mixtures [n, J, M] of the joints of `target` in normalised units, block by block, and the frames done.

    They are fitted by EM to points drawn from the maps, of frame i with fold_in(key, i); the heaviest component first.
    Joints that the file lacks are made of its own.
    """
    weights, size = joint_map(data.skeleton, target)[0], data.image_size
    for kept, rows in blocks(len(data.maps)):
        keys = jax.vmap(partial(jax.random.fold_in, key))(rows)
        fitted = _fit_block(keys, intensities(data, rows), data.box[rows], weights, *size, samples, components)
        yield int(rows[-1]) + 1, Mixture(*(x[kept] for x in fitted))


@partial(jax.jit, static_argnames=("samples", "components"))
def _fit_block(
    keys: Key, maps: Array, box: Array, weights: Array, width: float, height: float, samples: int, components: int
) -> Mixture:
    """The mixtures [F, 17, M] of maps [F, J, h, w], in normalised units; weights [17, J] make the joints."""
    unknown = 1 - weights.sum(-1, keepdims=True)  # weight of a uniform map, added last
    maps, weights = jnp.pad(maps, ((0, 0), (0, 1), (0, 0), (0, 0))), jnp.concatenate([weights, unknown], -1)

    def fit(key: Key, maps: Array, box: Array) -> Mixture:
        key_draw, key_fit = jax.random.split(key)
        uv_px = to_image(sample_heatmaps(key_draw, maps, samples), box, (maps.shape[-2], maps.shape[-1]))
        uv = normalise_screen(uv_px, width, height)
        uv = jnp.einsum("ts,snd->tnd", weights, uv, precision=jax.lax.Precision.HIGHEST)
        return heaviest_first(fit_mixture(key_fit, uv, components, floor=_FLOOR)[0])

    return jax.vmap(fit)(keys, maps, box)


def _around(detected: np.ndarray, count: int, sigma: float, size: tuple[int, int]) -> np.ndarray:
    """Mixtures [F, 17, count, 5] of detections [F, 17, 3] u, v, confidence, by the module's formula."""
    width, height = size
    uv, confidence = detected[..., :2], detected[..., 2:]
    detected_mask = confidence > 0
    number = detected_mask.sum(1, keepdims=True)
    known = number >= 2
    mean = np.where(detected_mask, uv, 0).sum(1, keepdims=True) / np.maximum(number, 1)
    square = np.where(detected_mask, (uv - mean) ** 2, 0).sum(1, keepdims=True) / np.maximum(number, 1)
    mean = np.where(known, mean, (width / 2, height / 2))
    # The deviation of a point anywhere in an image is its side / sqrt(12).
    spread = np.where(known, np.sqrt(square), np.array([width, height]) / np.sqrt(12)) * (2 / width)
    centre, spread = np.broadcast_to(mean, uv.shape), np.broadcast_to(np.maximum(spread, sigma), uv.shape)
    sharp = np.concatenate([confidence, np.where(detected_mask, uv, centre), np.full(uv.shape, sigma)], -1)
    wide = np.concatenate([1 - confidence, centre, spread], -1)
    unused = np.concatenate([np.zeros_like(confidence), centre, spread], -1)
    return np.stack([sharp, wide, *[unused] * (count - 2)][:count], -2)


def _detected(cameras: Any, place: str) -> list[np.ndarray]:
    """Detections [F, 17, 3] u, v, confidence of each camera of an action."""
    result = []
    for at, array in list_of_cameras(cameras, place):
        values = array_of(array, at, (17, 2), (17, 3)).astype(np.float64)
        if values.shape[-1] == 2:
            values = np.concatenate([values, np.ones((*values.shape[:2], 1))], -1)
        if (values[..., 2] < 0).any() or (values[..., 2] > 1).any():
            raise ValueError(f"{at}: a confidence outside 0 to 1")
        result.append(values)
    return result


def _num_components(given: int | None, unsure: bool) -> int:
    if given == 1 and unsure:
        raise ValueError("components: 1 needs confidences of 1; with confidences below 1 needed 2 or more")
    return given or (2 if unsure else 1)


def _opened(path: FilePath, out: FilePath, components: int | None, sigma: float) -> tuple[Path, Path]:
    """Both files as paths; ValueError for wrong numbers, and where no file can be written at `out`."""
    target = Path(out)
    if target.suffix != ".npz" or not target.parent.is_dir():
        raise ValueError(f"{target}: needed a file NAME.npz in a folder that exists")
    if components is not None and components < 1:
        raise ValueError(f"components: needed at least 1, got {components}")
    if not 0 < sigma < 1:
        raise ValueError(f"sigma: needed normalised units between 0 and 1, got {sigma:g}")
    return Path(path), target


def _write(path: Path, tree: gmm.Tree, metadata: dict[str, Any], what: str, size: tuple[int, int]) -> Iterator[str]:
    gmm.write_gmm(path, tree, metadata)
    components = gmm.all_cameras(tree)[0].shape[2]
    yield f"wrote {path}: {what}, mixtures of {components} Gaussians, image {size[0]} x {size[1]}"
    if any(len(cameras) != 4 for actions in tree.values() for cameras in actions.values()):
        yield "the loader of the original DiffPose needs four cameras of every action; this file has another number"
