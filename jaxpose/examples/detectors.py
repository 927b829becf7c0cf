"""A virtual 2D detector: its errors, its confidences, and what it misses, in JAX.

Its errors follow published figures of a real one on Human3.6M, per joint (J. Y. Chang, G. Moon, K. M. Lee,
AbsPoseLifter, arXiv:1910.12029), in pixels of a 256 x 256 crop around the person: a bias, a spread, and a share of
outliers. Its confidence falls with its error, as a calibrated detector's does; a share of the examples has no
confidence, so that a model does not depend on it. Another share may have the errors of BlazePose, as
`experiments.evaluate blazepose --table` of commit 301b7c0 measured them.

Faults beyond the tables, each in its share of the examples: gross errors

    e = g (b_j + s_j (a n_j + c m_limb(j)) / sqrt(u_limb(j))),    3 u chi-squared of 3 degrees: Student's t

of a common factor g, log-uniform, in part alike along a limb; left and right exchanged, of the legs, the arms or both;
joints near a place hidden by something; joints beyond a border of the image missing; and a confidence that says
nothing: a constant, or drawn without regard to the error.

Over the frames of a clip errors drift (`drift`), and outliers and exchanges come in runs (`runs`). The memory of both
was chosen by eye from the errors of the benchmark's validation clips.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.examples.bodies import squared
from jaxpose.examples.rates import ViewRates
from jaxpose.files import ASSETS
from jaxpose.geometry.products import product
from jaxpose.geometry.skeleton import H36M_17, other_side

# Detection minus truth, pixels of a 256 x 256 crop, joints of H36M_17 in order: mean x, mean y, std x, std y, inliers.
DETECTOR = np.array(
    [
        (-0.06, -2.37, 1.33, 2.13, 1.00),
        (-0.83, -2.07, 3.41, 2.69, 1.00),
        (-0.04, -1.01, 1.74, 2.20, 0.95),
        (0.52, -3.40, 1.39, 2.14, 0.93),
        (0.78, -2.79, 3.26, 2.28, 1.00),
        (0.42, -0.15, 1.53, 1.99, 0.94),
        (-0.15, -3.78, 1.39, 2.39, 0.93),
        (-0.05, 0.10, 1.36, 1.74, 0.99),
        (0.14, -2.56, 1.18, 1.15, 0.99),
        (0.13, -0.26, 0.78, 0.59, 0.98),
        (0.09, 0.49, 1.35, 0.87, 0.99),
        (-0.19, 0.31, 2.51, 1.48, 0.99),
        (0.11, -0.60, 1.79, 1.76, 0.95),
        (-0.02, 0.88, 2.02, 2.10, 0.91),
        (0.52, -0.12, 2.23, 1.73, 0.99),
        (0.06, -0.44, 1.93, 1.63, 0.95),
        (0.05, 0.16, 2.02, 2.24, 0.90),
    ],
    np.float32,
)


def _limb_table(path: Path) -> np.ndarray:
    """A table like DETECTOR of a file of the limbs: hip and thorax are middles of pairs, what is left is as thorax."""
    rows = {
        row["joint"]: [row[key] for key in _COLUMNS] for row in json.loads(path.read_text(encoding="utf-8"))["joints"]
    }
    for middle, side in (("hip", "hip"), ("thorax", "shoulder")):
        rows[middle] = np.mean([rows[f"left_{side}"], rows[f"right_{side}"]], 0).tolist()
    return np.array([rows.get(joint, rows["thorax"]) for joint in H36M_17.joints], np.float32)


_COLUMNS = ("mean_x", "mean_y", "std_x", "std_y", "inlier")
BLAZEPOSE = _limb_table(ASSETS / "detector_blazepose.json")
# The next constants were chosen by eye from the errors and confidences of the benchmark's validation frames.
CROP = 1.2  # the crop's side over the person's larger extent
OUTLIER_STD_PX = 13.5  # px of the crop
_LEAST = 0.08  # confidence of a detection that is far off
_CONFIDENCE_MID, _CONFIDENCE_WIDTH, _CONFIDENCE_STD = 9.5, 4.2, 0.1  # px of the crop, px of the crop, 1
# The next are chosen by what is known of detectors, not fitted: figures of gross errors and of what is missed.
_GAIN = (0.7, 3.5)  # factor on the tables of gross errors
_ALIKE = 0.6  # of a limb's error that its joints share
_LEAST_JOINTS = 5  # that hiding leaves
_MEMORY = (0.8, 0.93)  # of a joint's error, from a frame to the next at 30 fps; one draw for a clip
_FAULT_STAYS = 0.7  # probability that an outlier, or an exchange of sides, is there in the next frame too
_LIMB = np.array([np.isin(np.arange(17), part) for part in H36M_17.parts], np.float32)


def detect(key: Key, xy: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Noisy keypoints and confidences ([17, 2], [17]; 0: missing) of projected joints xy [17, 2], in the unit of xy."""
    return jax.tree.map(lambda x: x[0], detect_clip(key, xy[None], rates))


def detect_clip(key: Key, xy: Array, rates: ViewRates) -> tuple[Array, Array]:
    """The same of the frames of one clip [F, 17, 2]: ([F, 17, 2], [F, 17])."""
    own_key, outlier_key, jump_key, gain_key, confidence_key, plain_key = jax.random.split(key, 6)
    table = jnp.asarray(DETECTOR)
    if rates.blazepose:
        table = jnp.where(jax.random.bernoulli(jax.random.fold_in(key, 6), rates.blazepose), BLAZEPOSE, table)
    gain = jax.random.uniform(gain_key, minval=rates.noise[0], maxval=rates.noise[1])
    memory_key, own_key = jax.random.split(own_key)
    memory = jax.random.uniform(memory_key, minval=_MEMORY[0], maxval=_MEMORY[1])
    error = gain * (table[:, :2] + table[:, 2:4] * drift(own_key, xy.shape, memory))
    outlier = runs(outlier_key, 1 - table[:, 4], xy.shape[:2])
    error = jnp.where(outlier[..., None], OUTLIER_STD_PX * jax.random.normal(jump_key, xy.shape), error)
    if rates.rough:
        is_rough = jax.random.bernoulli(jax.random.fold_in(key, 7), rates.rough)
        error = jnp.where(is_rough, gross_error(jax.random.fold_in(key, 8), table, memory, len(xy)), error)
    confidence = draw_confidence(confidence_key, error)
    plain = jax.random.bernoulli(plain_key, rates.no_confidence)
    confidence = jnp.where(plain, 1.0, confidence)
    pixel = crop_pixel(xy)[:, None, None]
    return faults(jax.random.fold_in(key, 9), xy + pixel * error, confidence, rates)


def drift(key: Key, shape: tuple[int, ...], memory: Array) -> Array:
    """Normal numbers [F, ...] that a frame shares with the one before: e_f = m e_f-1 + sqrt(1 - m^2) z_f."""
    white = jax.random.normal(key, shape)
    fresh = jnp.sqrt(1 - memory**2)
    _, later = jax.lax.scan(lambda e, z: (memory * e + fresh * z,) * 2, white[0], white[1:])
    return jnp.concatenate([white[:1], later])


def runs(key: Key, share: Array | float, shape: tuple[int, ...]) -> Array:
    """Mask [F, ...] (bool) of a `share` of frames, in runs: a two-state Markov chain that stays with _FAULT_STAYS."""
    begins = share * (1 - _FAULT_STAYS) / (1 - share)
    u = jax.random.uniform(key, shape)
    first = u[0] < share
    _, later = jax.lax.scan(lambda on, u: (u < jnp.where(on, _FAULT_STAYS, begins),) * 2, first, u[1:])
    return jnp.concatenate([first[None], later])


def crop_pixel(xy: Array) -> Array:
    """Size [...] of a pixel of the 256 x 256 crop around joints xy [..., J, 2], in their unit."""
    return CROP * jnp.max(xy.max(-2) - xy.min(-2), -1) / 256


def gross_error(key: Key, table: Array, memory: Array, num_frames: int) -> Array:
    """Errors [F, 17, 2] px of the crop with heavy tails, a part of which is common to a limb."""
    gain_key, own_key, limb_key, tail_key = jax.random.split(key, 4)
    gain = jnp.exp(jax.random.uniform(gain_key, minval=np.log(_GAIN[0]), maxval=np.log(_GAIN[1])))
    of_limb = drift(limb_key, (num_frames, len(_LIMB), 2), memory)
    tail = jnp.square(drift(tail_key, (num_frames, len(_LIMB), 3), memory)).mean(-1)  # chi-squared of 3 degrees over 3
    own = drift(own_key, (num_frames, 17, 2), memory)
    own = np.sqrt(1 - _ALIKE) * own + np.sqrt(_ALIKE) * product(_LIMB.T, of_limb)
    return gain * (table[:, :2] + table[:, 2:4] * own / jnp.sqrt(product(tail, _LIMB))[..., None])


def faults(key: Key, xy: Array, confidence: Array, rates: ViewRates) -> tuple[Array, Array]:
    """Keypoints [F, 17, 2] and confidences [F, 17] with sides exchanged, joints missing, confidences that say nothing.

    Over a clip, sides are exchanged in runs; what hides the person stands still, as does the image's border.
    """
    swap_key, part_key, occlude_key, border_key, vague_key = jax.random.split(key, 5)
    if rates.swap:
        which = jax.random.randint(part_key, (), 0, 3)  # legs, arms, both
        arms = np.isin(np.arange(17), H36M_17.parts[2] + H36M_17.parts[3])
        legs = np.isin(np.arange(17), H36M_17.parts[0] + H36M_17.parts[1])
        part = jnp.where(which == 0, legs, jnp.where(which == 1, arms, True))
        moved = runs(swap_key, jnp.asarray(rates.swap), xy.shape[:1])[:, None] & part
        other = other_side(H36M_17)
        xy = jnp.where(moved[..., None], xy[:, other], xy)
        confidence = jnp.where(moved, confidence[:, other], confidence)
    if rates.vague:
        kind, level, sure = jax.random.split(vague_key, 3)
        constant = jax.random.uniform(level, minval=0.2)
        free = jax.random.uniform(sure, confidence.shape, minval=0.1)
        choice = jax.random.uniform(kind) / rates.vague
        confidence = jnp.where(choice < 0.5, constant, jnp.where(choice < 1, free, confidence))
    placed_by = xy[len(xy) // 2]  # the frame by which what hides the person is put
    if rates.occlude:
        draw, at, size = jax.random.split(occlude_key, 3)
        middle = placed_by[jax.random.randint(at, (), 0, 17)]
        extent = jnp.max(placed_by.max(0) - placed_by.min(0))
        radius = extent * jax.random.uniform(size, minval=0.05, maxval=0.3)
        near = squared(xy - middle) < radius**2
        confidence = _hide(confidence, near & jax.random.bernoulli(draw, rates.occlude))
    if rates.truncate:
        draw, side, share = jax.random.split(border_key, 3)
        directions = jnp.asarray([(0.0, 1.0), (0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)], xy.dtype)
        direction = directions[jax.random.randint(side, (), 0, 5)]
        along = (placed_by * direction).sum(-1)
        border = along.max() - jax.random.uniform(share, maxval=0.6) * (along.max() - along.min())
        confidence = _hide(confidence, ((xy * direction).sum(-1) > border) & jax.random.bernoulli(draw, rates.truncate))
    return xy, confidence


def _hide(confidence: Array, hidden: Array) -> Array:
    """No confidence in what is hidden [F, 17], in the frames that this leaves enough joints."""
    return jnp.where(hidden & ((~hidden).sum(-1, keepdims=True) >= _LEAST_JOINTS), 0.0, confidence)


def draw_confidence(key: Key, error: Array) -> Array:
    """Confidences [...] of detections whose error [..., 2] is known, in pixels of a 256 x 256 crop."""
    size = jnp.sqrt(squared(error))
    mean = _LEAST + (1 - _LEAST) * jax.nn.sigmoid((_CONFIDENCE_MID - size) / _CONFIDENCE_WIDTH)
    return jnp.clip(mean + _CONFIDENCE_STD * jax.random.normal(key, size.shape), 0.05, 1.0)


def as_coco(key: Key, xy: Array, confidence: Array) -> tuple[Array, Array]:
    """Keypoints [17, 2] and confidences [17] as `convert_joints` makes them of COCO's 17.

    Hip and thorax are the middles of hips and shoulders; spine and head are not seen. The neck needs COCO's nose, which
    the motion capture lacks: it is kept in half of the examples.
    """
    keep_neck = jax.random.bernoulli(key).astype(confidence.dtype)
    for joint, left, right in ((0, 4, 1), (8, 11, 14)):
        xy = xy.at[joint].set(0.5 * (xy[left] + xy[right]))
        confidence = confidence.at[joint].set(jnp.minimum(confidence[left], confidence[right]))
    return xy, confidence.at[9].multiply(keep_neck).at[np.array([7, 10])].set(0.0)
