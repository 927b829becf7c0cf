"""A set of generated poses against a set of real ones: do they look real, and are all the real ones among them?

    APD         mean over pairs of samples of the mean joint distance                 (diversity)
    Frechet     |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), means and covariances    (Heusel et al. 2017)
    precision, recall      balls of k nearest neighbours                              (Kynkaanniemi et al. 2019)
    density, coverage      the same balls of the real set alone                       (Naeem et al. 2020)
    nearest     mean joint distance to the nearest reference pose                     (copies; poses far from any)

and of plausibility.py the shares of poses with bones and joint angles of real bodies.

Every figure is read beside a reference. Precision, recall, density and coverage depend on the numbers of poses, and
real poses of other people do not reach 1: compare with real training poses in place of the samples, in equal number.
Against the 1,997 validation poses of the benchmark with k = 3, 10,000 views of training frames have precision 0.56 and
recall 0.71; against 1,997 other training views, 0.89 and 0.90.

Distances are differences, squared and summed, by scipy. The matrix product |a|^2 + |b|^2 - 2 a.b would lose those of
near neighbours: about 1e-6 m^2 for poses of 5 m^2 in float32, and frames in sequence are 4e-4 m^2 apart.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import check_shape
from jaxpose.evaluation.metrics import align_root, pairwise_distance
from jaxpose.evaluation.plausibility import angle_plausibility, bone_plausibility
from jaxpose.geometry.measures import ANGLES
from jaxpose.geometry.rotations import quaternion_from_axis_angle
from jaxpose.geometry.skeleton import H36M_17, check_joints

_ROWS = 64  # rows of the distance matrix in memory: 40 MB against 80,000 references


class Neighbours(NamedTuple):
    """Shares in 0..1, but density, which is about 1 for a set like the real one and may exceed it."""

    precision: float
    recall: float
    density: float
    coverage: float


def apd(samples: Array | np.ndarray) -> float:
    """Mean distance of a joint in two different samples, metres; samples [N, J, D], N >= 2, not moved in any way."""
    return float(_apd(_finite("samples", samples, "J", "D")))


def frechet_distance(a: Array | np.ndarray, b: Array | np.ndarray) -> float:
    """Squared Frechet distance of the normal distributions fitted to a [N, F] and b [M, F]; unit: theirs squared.

    Covariances over N - 1, in float64. Singular ones are legal: with S = R R', tr (S1 S2)^(1/2) is the sum of the
    singular values of R1' R2. ValueError for features that are not finite, N < 2, or another F.
    """
    a, b = (x.astype(np.float64) for x in _both("F", a=a, b=b))
    roots, spread = [], 0.0
    for x in (a, b):
        values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(x, rowvar=False)))
        values = np.maximum(values, 0)  # rounding puts those of a singular covariance about 0
        roots.append(vectors * np.sqrt(values))
        spread += values.sum()
    shared = np.linalg.svd(roots[0].T @ roots[1], compute_uv=False).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + spread - 2 * shared)


def neighbour_metrics(real: Array | np.ndarray, fake: Array | np.ndarray, k: int = 3) -> Neighbours:
    """Precision, recall, density and coverage of fake [N, F] against real [M, F] by Euclidean distance.

    A point's ball is what lies nearer to it (strictly) than its k-th nearest neighbour in its own set, itself not
    counted.

        precision   share of fakes that lie in the ball of some real
        recall      share of reals that lie in the ball of some fake
        density     number of real balls that a fake lies in, mean over fakes, over k
        coverage    share of reals in whose ball some fake lies

    A point with k exact copies has an empty ball. ValueError for features that are not finite, another F, and k outside
    1 .. min(N, M) - 1.
    """
    real, fake = _both("F", real=real, fake=fake)
    if not 1 <= k < min(len(real), len(fake)):
        raise ValueError(f"k must be in 1..{min(len(real), len(fake)) - 1}, fewer than the points of a set, got {k}")
    real_radius, fake_radius = _radii(real, k), _radii(fake, k)
    balls = np.concatenate([(rows < real_radius).sum(1) for rows in _distances(fake, real)])
    inside = [((rows < fake_radius).any(1), rows.min(1)) for rows in _distances(real, fake)]
    recalled, nearest = (np.concatenate(x) for x in zip(*inside, strict=True))
    shares = (balls > 0).mean(), recalled.mean(), balls.mean() / k, (nearest < real_radius).mean()
    return Neighbours(*map(float, shares))


def nearest_distance(samples: Array | np.ndarray, reference: Array | np.ndarray) -> np.ndarray:
    """Mean joint distance [N] of each sample [N, J, D] to the reference pose [M, J, D] nearest to it, metres.

    Leave the samples out of the reference. ValueError for poses that are not finite and for other joints.
    """
    samples, reference = _both("J", "D", samples=samples, reference=reference)
    joints = zip(*(_distances(samples[:, j], reference[:, j]) for j in range(samples.shape[1])), strict=True)
    return np.concatenate([np.mean(rows, axis=0).min(1) for rows in joints])


def nearest_rotations(samples: Array | np.ndarray, reference: Array | np.ndarray) -> np.ndarray:
    """Distance [N] in radians, summed over joints, of poses [N, J, 3] (axis-angle) to the nearest of [M, J, 3].

    The angle between two rotations is 2 acos |q . q'| (DPoser's dNN; spec/dposer.md, section 7.1).
    """
    both = _both("J", "D", samples=samples, reference=reference)
    return np.asarray(_nearest_turn(*(quaternion_from_axis_angle(jnp.asarray(x)) for x in both)))


def align_heading(poses: Array) -> Array:
    """Poses [..., 17, 3] turned about the axis y so that the line from right to left hip points to +x.

    In camera axes a person who stands upright then faces the camera. y is taken as the vertical: a camera's pitch
    stays in the poses. Where the hip line is vertical, nothing is turned.
    """
    check_joints(poses, H36M_17)
    poses = jnp.asarray(poses)
    left, right = (H36M_17.joints.index(f"{side}_hip") for side in ("left", "right"))
    line = poses[..., left, :] - poses[..., right, :]
    length = jnp.hypot(line[..., 0], line[..., 2])
    cos, sin = (jnp.where(length > 0, v / length, w)[..., None] for v, w in ((line[..., 0], 1), (line[..., 2], 0)))
    x, y, z = jnp.moveaxis(poses, -1, 0)
    return jnp.stack([cos * x + sin * z, y, cos * z - sin * x], -1)


def generation_row(
    samples: Array | np.ndarray, reference_val: Array | np.ndarray, reference_train: Array | np.ndarray, k: int = 3
) -> dict[str, float]:
    """Every figure of samples [N, 17, 3] against held-out real poses [M, 17, 3] and training poses [L, 17, 3].

    Poses of `H36M_17` in metres and in axes of one kind: camera axes with any heading, so motion capture is first seen
    through drawn cameras (examples/views.py), as the held-out poses are. Roots are moved to the origin here.

    Names carry units; shares have none. `heading_` stands before figures of poses that all head one way. Names with
    `val_` are the same figure of the held-out poses, for reference. Nearest distances are to training poses, all
    headed one way.
    """
    named = zip(("samples", "reference_val", "reference_train"), (samples, reference_val, reference_train), strict=True)
    poses = [align_root(jnp.asarray(_finite(name, x, "J", "D"))) for name, x in named]
    samples, val, train = poses
    headed, headed_val, headed_train = (align_heading(x) for x in poses)
    row = {"num_samples": float(len(samples)), "apd_mm": 1e3 * apd(samples), "val_apd_mm": 1e3 * apd(val)}
    for prefix, fake, real in (("", samples, val), ("heading_", headed, headed_val)):
        fake, real = fake.reshape(len(fake), -1), real.reshape(len(real), -1)
        row[f"{prefix}frechet_cm2"] = 1e4 * frechet_distance(fake, real)
        row |= {prefix + name: value for name, value in neighbour_metrics(real, fake, k)._asdict().items()}
    for prefix, x, x_headed in (("", samples, headed), ("val_", val, headed_val)):
        far = 1e3 * nearest_distance(x_headed, headed_train)
        row |= {f"{prefix}nearest_mm_p{p:02d}": float(np.percentile(far, p)) for p in (5, 50, 95)}
        row |= {prefix + name: value for name, value in _plausibility_figures(x, train).items()}
    return row


def _plausibility_figures(poses: Array, train: Array) -> dict[str, float]:
    """Shares and mm; the rate of an angle is the mean of both sides' rates."""
    bone, angle = bone_plausibility(poses, train), angle_plausibility(poses, train)
    rates: dict[str, list[float]] = {}
    for name, rate in zip(ANGLES, angle.outside, strict=True):
        rates.setdefault(name.removeprefix("left_").removeprefix("right_"), []).append(float(rate))
    return {
        "bones_plausible": bone.plausible,
        "bone_excess_mm": 1e3 * float(bone.excess.mean()),
        "asymmetry_mm": 1e3 * bone.asymmetry,
        "angles_plausible": angle.plausible,
    } | {f"{name}_outside": float(np.mean(rate)) for name, rate in rates.items()}


_apd = jax.jit(lambda samples: pairwise_distance(samples).mean())


def _distances(x: np.ndarray, others: np.ndarray) -> Iterator[np.ndarray]:
    """Distances [_ROWS, M] of rows of x [N, F] to others [M, F], portion by portion."""
    from scipy.spatial.distance import cdist

    return (cdist(x[i : i + _ROWS], others) for i in range(0, len(x), _ROWS))


def _radii(x: np.ndarray, k: int) -> np.ndarray:
    """Distance [N] to the k-th nearest other point; the nearest of all, at 0, is the point itself."""
    return np.concatenate([np.partition(rows, k)[:, k] for rows in _distances(x, x)])


@jax.jit
def _nearest_turn(samples: Array, reference: Array) -> Array:
    columns = jnp.moveaxis(reference, 0, -1)

    def one(q: Array) -> Array:
        def add(j: Array, total: Array) -> Array:
            dot = sum((q[j, d] * columns[j, d] for d in range(1, 4)), q[j, 0] * columns[j, 0])
            return total + 2 * jnp.arccos(jnp.minimum(jnp.abs(dot), 1))

        return jax.lax.fori_loop(0, len(q), add, jnp.zeros(len(reference))).min()

    return jax.lax.map(one, samples)


def _finite(name: str, x: Array | np.ndarray, *row: int | str) -> np.ndarray:
    """x itself, in numpy, if it has at least two rows of a shape, all finite."""
    values: np.ndarray = np.asarray(x)
    check_shape(name, values, ("N", *row), low=-np.inf)
    if len(values) < 2:
        raise ValueError(f"{name}: needed two rows or more, got {len(values)}")
    return values


def _both(*row: str, **named: Array | np.ndarray) -> list[np.ndarray]:
    """Two arguments by name as `_finite` gives them; ValueError where they differ in an axis but the first."""
    (name, a), (other, b) = named.items()
    a = _finite(name, a, *row)
    return [a, _finite(other, b, *a.shape[1:])]
