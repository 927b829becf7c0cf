"""Heatmaps as the commands take them: their peaks are keypoints like others, and to DiffPose they are mixtures.

The mixture of a joint is fitted by EM to points drawn from its map, in pixels. Joints that the file lacks are made of
its own, as for `jaxpose prepare gmm`.
"""

from __future__ import annotations

import zipfile
import zlib
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Key
from jaxpose.datasets.prepare_gmm import COMPONENTS, SAMPLES, fit_block
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry.camera import denormalise_screen
from jaxpose.geometry.heatmaps import heatmap_peak, to_image
from jaxpose.geometry.joint_sets import joint_map
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.heatmap_files import Heatmaps, intensities
from jaxpose.io.keypoints import Keypoints

DEFAULT_COMPONENTS = COMPONENTS
_BLOCK = 32  # frames at once


def holds_heatmaps(path: Path) -> bool:
    """Whether a file is one of heatmaps: an .npz with the key `heatmaps`, an .npy [N, J, h, w] with w above 3."""
    try:
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                return "heatmaps.npy" in archive.namelist()
        if path.suffix.lower() == ".npy":
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
            return len(shape) == 4 and shape[-1] > 3  # [N, F, J, 2 or 3] are clips of keypoints
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error):
        pass  # the reader of keypoints says what is wrong
    return False


def peaks(data: Heatmaps) -> Keypoints:
    """One detection a frame: each map's peak in pixels, and how high it is as confidence."""
    size, find = data.maps.shape[-2:], jax.jit(heatmap_peak)
    xy, confidence = [], []
    for first, rows in _blocks(len(data.maps)):
        uv, sure = find(intensities(data, rows))
        xy.append(np.asarray(to_image(uv, data.box[rows], size))[: len(data.maps) - first])
        confidence.append(np.asarray(sure)[: len(data.maps) - first])
    seen = np.concatenate(confidence)
    return Keypoints(
        xy=np.where(seen[..., None] > 0, np.concatenate(xy), 0).astype(np.float32),
        confidence=seen,
        skeleton=data.skeleton,
        frame=data.frame,
        person=np.zeros(len(seen), np.int64),
        image=("",) * len(seen),
        intrinsics=data.intrinsics,
        image_size=data.image_size,
        fps=data.fps,
    )


def mixture_px(key: Key, data: Heatmaps, target: Skeleton, num_components: int) -> Mixture:
    """Mixtures of the joints of `target` in pixels, weight [N, J, M]; the heaviest component first."""
    num, (width, height) = len(data.maps), data.image_size
    weights, fitted = joint_map(data.skeleton, target)[0], []
    for first, rows in _blocks(num):
        keys = jax.vmap(partial(jax.random.fold_in, key))(jnp.asarray(rows))
        box = data.box[rows]
        block = fit_block(keys, intensities(data, rows), box, weights, width, height, SAMPLES, num_components)
        fitted.append(jax.tree.map(lambda x, kept=num - first: np.asarray(x)[:kept], block))
    weight, mean, std = (np.concatenate(x) for x in zip(*fitted, strict=True))
    mean_px = denormalise_screen(jnp.asarray(mean), width, height)
    return Mixture(jnp.asarray(weight), mean_px, jnp.asarray(std) * (width / 2))


def _blocks(num: int) -> list[tuple[int, np.ndarray]]:
    """First row and rows of each block, all of one size: one program serves them; the last row comes again."""
    size = min(num, _BLOCK)
    return [(first, np.minimum(np.arange(first, first + size), num - 1)) for first in range(0, num, size)]
