"""Priors over body poses for a fit, as pytrees that pass through jit: DPoser, and those that it is compared with.

The latter are energies of a body pose, or of any vector of D numbers: a negative log density, up to a constant that
makes it at least 0:

    none               0
    L2                 |x|^2
    Gaussian           1/2 |z|^2,                    z = W' (x - mean),    W W' the precision
    Gaussian mixture   -log sum_m p_m exp(-1/2 |z_m|^2),    p_m = w_m sqrt(|P_m| / max_k |P_k|)
    its nearest mode   min_m 1/2 |z_m|^2 - log p_m,         which is what SMPLify adds to its loss

Both Gaussians are fitted by maximum likelihood with a ridge on the covariance, a share of the mean variance of the
coordinates: a coordinate that never moves in the data gets that variance, not an infinite precision. For full
covariances in 63 dimensions; mixtures of diagonal Gaussians, and EM's references, are in `diffusion/mixture.py`.

Source: Bogo et al., Keep it SMPL (ECCV 2016), section 3.2, equation 7 for the minimum over modes.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Key
from jaxpose.compiled import as_pytree
from jaxpose.diffusion.mixture import fit_mixture as fit_diagonal
from jaxpose.diffusion.mixture import responsibilities
from jaxpose.diffusion.regulariser import (
    Reduction,
    Schedule,
    Weight,
    regulariser,
    snr_squared,
    summed,
    target,
    truncated,
)
from jaxpose.fitting.engine import PosePrior
from jaxpose.model import Model, require, scored
from jaxpose.tasks.rotations import to_state

_CURVATURE = 0.6  # of a network that takes all for noise steps grow below a half; with 0.3 fits diverged
_SCHEDULE = truncated(0.2, 0.05)  # DPoser-X's of motion denoising
RIDGE = 1e-3  # share of the mean variance: of axis-angle body poses some (0.5 degrees)^2
BLOCK = 1 << 15  # samples whose squares are summed at once
START_SAMPLES = 10_000  # the diagonal mixture that EM starts from is fitted to so many


@flax.struct.dataclass
class DPoserPrior:
    """The DPoser regulariser of a prior over rotations, all poses at the one t of the step; see `dposer_prior`."""

    model: Model
    schedule: Schedule = flax.struct.field(pytree_node=False)
    weight: Weight = flax.struct.field(pytree_node=False)
    reduction: Reduction = flax.struct.field(pytree_node=False)

    def __call__(self, key: Key, body_pose: Array, k: Array, num_steps: int) -> Array:
        """Energy [...] of poses [..., 21, 3] at step k of `num_steps`."""
        t_key, z_key = jax.random.split(key)
        t, state = self.schedule(t_key, k, num_steps), to_state(self.model, body_pose)
        sde, predict = self.model.spec.sde(), self.model.predict_fn()
        return regulariser(z_key, predict, sde, state, t, weight=self.weight, reduction=self.reduction)

    def residuals(self, key: Key, body_pose: Array, k: Array, num_steps: int) -> Callable[[Array], Array]:
        """A function of poses [..., 21, 3] to residuals [..., 21, D], whose squares have L's gradient at `body_pose`.

        Their curvature is `_CURVATURE` of that of L with a fixed target: the target follows the pose where poses vary.
        """
        t_key, z_key = jax.random.split(key)
        t, state = self.schedule(t_key, k, num_steps), to_state(self.model, body_pose)
        sde = self.model.spec.sde()
        beyond = (target(z_key, self.model.predict_fn(), sde, state, t) - state) / _CURVATURE
        # a sum or a mean of squares: how much of one number's square is in L
        share = self.reduction(jnp.ones(state.shape[-2:])) / np.prod(state.shape[-2:])
        factor = jnp.sqrt(2 * _CURVATURE * share * self.weight(sde.alpha(t) / sde.sigma(t)))
        return lambda pose: factor * (to_state(self.model, pose) - state - beyond)


def dposer_prior(
    model: Model, schedule: Schedule | None = None, *, weight: Weight = snr_squared, reduction: Reduction = summed
) -> DPoserPrior:
    """The DPoser regulariser (diffusion/regulariser.py) of a prior over rotations, such as `load("prior21")`.

    With `snr_squared` and `summed` a weight of 1 serves all tasks. Of a few-step model, its base.
    """
    require(model, "a fit", "rotations")
    model = scored(model)
    require(model, "a fit", "score")
    return DPoserPrior(model, schedule or _SCHEDULE, weight, reduction)


def energy_prior(energy: Callable[[Array], Array]) -> PosePrior:
    """A prior from an energy of poses as vectors x [..., 63] -> [...], such as those below."""
    if inspect.ismethod(energy):  # of a pytree such as `GaussianPrior`: its arrays pass through jit
        energy = jax.tree_util.Partial(energy.__func__, energy.__self__)
    return jax.tree_util.Partial(_of_vectors, as_pytree(energy))


def _of_vectors(energy: Callable[[Array], Array], key: Key, body_pose: Array, k: Array, num_steps: int) -> Array:
    return energy(body_pose.reshape(*body_pose.shape[:-2], -1))


class GaussianPrior(NamedTuple):
    """A Gaussian over D numbers: mean [D]; whiten [D, D], z = (x - mean) whiten has unit covariance."""

    mean: Array
    whiten: Array

    def energy(self, x: Array) -> Array:
        """Half the squared Mahalanobis distance of x [..., D] from the mean: [...], >= 0."""
        return jnp.square((x - self.mean) @ self.whiten).sum(-1) / 2


class MixturePrior(NamedTuple):
    """M Gaussians over D numbers: log_peak [M] = log p_m <= 0, mean [M, D], whiten [M, D, D]."""

    log_peak: Array
    mean: Array
    whiten: Array

    def energy(self, x: Array) -> Array:
        """Negative log density of x [..., D] up to a constant: [...], >= 0."""
        return -jax.nn.logsumexp(self._log_terms(x), -1)

    def nearest_energy(self, x: Array) -> Array:
        """Negative log of the largest term alone at x [..., D] (SMPLify): [...], >= `energy`, at most log M more."""
        return -self._log_terms(x).max(-1)

    def _log_terms(self, x: Array) -> Array:
        z = jnp.einsum("...md,mde->...me", x[..., None, :] - self.mean, self.whiten)
        return self.log_peak - jnp.square(z).sum(-1) / 2


class Gaussians(NamedTuple):
    """Parameters of a mixture in numpy float64: weight [M], mean [M, D], covariance [M, D, D]."""

    weight: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray


def l2_energy(x: Array) -> Array:
    """|x|^2 of x [..., D]: pulls every number to 0, the rest pose."""
    return jnp.square(x).sum(-1)


def fit_gaussian(x: Array | np.ndarray, *, ridge: float = RIDGE) -> GaussianPrior:
    """The Gaussian of samples x [N, D]; `ridge` times the mean variance is added to each variance."""
    samples, floor = _checked("fit_gaussian", x, ridge)
    mean = samples.mean(0)
    away = samples - mean
    whiten, _ = _whiten(away.T @ away / len(samples) + floor * np.eye(len(mean)))
    return GaussianPrior(jnp.asarray(mean), jnp.asarray(whiten))


def fit_mixture(
    key: Key,
    x: Array | np.ndarray,
    num_components: int = 8,
    *,
    ridge: float = RIDGE,
    num_steps: int = 100,
    tolerance: float = 1e-3,
    start: Gaussians | None = None,
) -> MixturePrior:
    """The mixture of Gaussians with full covariances of samples x [N, D], by EM in double precision.

    num_components: 8 in SMPLify.
    ridge:          times the mean variance of x, added to each component's variances in every step.
    num_steps:      EM steps at most; it ends when the mean log-likelihood changes by less than `tolerance` nats.
    start:          the mixture to begin with; None: that of a diagonal mixture, fitted with `key` to a draw of 10,000.
    """
    samples, floor = _checked("fit_mixture", x, ridge)
    if not 1 <= num_components <= len(samples):
        raise ValueError(f"fit_mixture needs num_components in [1, {len(samples)}] (N), got {num_components}")
    centre = samples.mean(0)  # moments are taken about it: they lose no digits to a far origin
    samples = samples - centre
    mixture = start or _start(key, samples + centre, num_components, floor)
    mixture, before = mixture._replace(mean=mixture.mean - centre), -np.inf
    for _ in range(num_steps):
        mixture, after = _em_step(mixture, samples, floor)
        if abs(after - before) < tolerance:
            break
        before = after
    return _prior(mixture._replace(mean=mixture.mean + centre))


def _prior(mixture: Gaussians) -> MixturePrior:
    whiten, log_det = _whiten(mixture.covariance)
    with np.errstate(divide="ignore"):  # a component without samples has weight 0
        log_peak = np.log(mixture.weight) + log_det - log_det[mixture.weight > 0].max()
    return MixturePrior(jnp.asarray(log_peak), jnp.asarray(mixture.mean), jnp.asarray(whiten))


def _em_step(mixture: Gaussians, x: np.ndarray, floor: float) -> tuple[Gaussians, float]:
    """The mixture after one EM step on x [N, D], and the mean log-likelihood before it."""
    num, (_, dim) = len(mixture.weight), x.shape
    whiten, log_det = _whiten(mixture.covariance)
    with np.errstate(divide="ignore"):
        peak = np.log(mixture.weight) + log_det - dim * np.log(2 * np.pi) / 2
    mass, first, second, total = np.zeros(num), np.zeros((num, dim)), np.zeros((num, dim, dim)), 0.0
    for block in np.array_split(x, -(-len(x) // BLOCK)):
        away = (block @ w - m @ w for m, w in zip(mixture.mean, whiten, strict=True))
        joint = peak[:, None] - np.stack([np.einsum("nd,nd->n", z, z) for z in away]) / 2
        log_density = np.logaddexp.reduce(joint, 0)
        total += log_density.sum()
        share = np.exp(joint - log_density)
        mass += share.sum(1)
        first += share @ block
        second += np.stack([(s[:, None] * block).T @ block for s in share])
    return _maximise(mass, first, second, mixture.mean, floor), total / len(x)


def _maximise(mass: np.ndarray, first: np.ndarray, second: np.ndarray, before: np.ndarray, floor: float) -> Gaussians:
    """The likeliest mixture given each component's mass [M] and moments; one without samples keeps its mean."""
    alive = mass > 1e-9
    mass, held = np.where(alive, mass, 0), np.where(alive, mass, 1)[:, None]
    mean = np.where(alive[:, None], first / held, before)
    outer = mean[:, :, None] * mean[:, None, :]
    covariance = np.where(alive[:, None, None], second / held[..., None] - outer, 0)
    return Gaussians(mass / mass.sum(), mean, covariance + floor * np.eye(mean.shape[-1]))


def _start(key: Key, x: np.ndarray, num_components: int, floor: float) -> Gaussians:
    """Full covariances of the samples that each component of a diagonal mixture answers for."""
    draw_key, fit_key = jax.random.split(key)
    if len(x) > START_SAMPLES:
        x = x[np.asarray(jax.random.permutation(draw_key, len(x)))[:START_SAMPLES]]
    diagonal, _ = fit_diagonal(fit_key, jnp.asarray(x), num_components, floor=floor)
    share = np.asarray(responsibilities(diagonal, jnp.asarray(x)), np.float64).T
    second = np.stack([(s[:, None] * x).T @ x for s in share])
    return _maximise(share.sum(1), share @ x, second, np.asarray(diagonal.mean, np.float64), floor)


def _whiten(covariance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(W, log |W|) with W W' the inverse of each covariance [..., D, D]."""
    root = np.linalg.cholesky(covariance)
    log_det = -np.log(np.diagonal(root, axis1=-2, axis2=-1)).sum(-1)
    return np.linalg.inv(root).swapaxes(-1, -2), log_det


def _checked(name: str, x: Array | np.ndarray, ridge: float) -> tuple[np.ndarray, float]:
    """The samples in double precision, and the variance that the ridge adds."""
    samples = np.asarray(x, np.float64)
    if samples.ndim != 2 or len(samples) < 2 or not ridge > 0:
        raise ValueError(
            f"{name} needs samples x [N, D] with N >= 2 and ridge > 0, got shape {samples.shape}, ridge={ridge}"
        )
    if not np.isfinite(samples).all():
        row = np.argwhere(~np.isfinite(samples))[0]
        raise ValueError(f"{name}: x must be finite, got {samples[tuple(row)]} at {row.tolist()}")
    floor = ridge * samples.var(0).mean()
    if not floor > 0:
        raise ValueError(f"{name} needs samples that differ, got {len(samples)} that are all alike")
    return samples, floor
