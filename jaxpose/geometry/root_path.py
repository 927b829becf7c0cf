"""The path of a person's root before a static camera, and when their feet stand, by a Kalman smoother.

A lifted root is good across its ray and poor along it, with an error that lasts; a foot that stands does not move, and
stands on the floor. State and observations at a frame, a_f the ankle about the root in the lifted pose:

    r, v   root and its velocity; white noise acceleration          root = r + b ray + noise
    b      error of depth that lasts, first-order autoregressive    a_f  = q_f - r + noise
    q_f    ankle f; still while f stands, else free                 up . q_f = level of standing ankles + noise

Whether f stands is a logistic function of the ankle's height over that level and of its speed across the ray and along
it, along a path that was smoothed without feet. It was fitted to training subjects: standing is an ankle below 0.15 m
and 0.3 m/s (experiments/evaluate/world.py).
Source: the Rauch-Tung-Striebel smoother; feet as landmarks: Bloesch et al., State Estimation for Legged Robots, 2012.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Of the samples' spread of depth: noise that differs from frame to frame, that lasts, and that all frames share.
_WHITE, _LASTING, CONSTANT = 0.4, 0.6, 0.52
_LASTS = 0.2  # seconds, of b
_ACROSS = 0.01  # metres, least noise of the root across its ray
_ACCELERATION = 1.0  # m^2 / s^3
_ANKLE_ACROSS, _ANKLE_ALONG = 0.04, 0.1  # metres; a pose's errors last, so more than a frame's
_SLIP, _FREE = 0.005, 1.0  # metres from frame to frame, of ankles that stand and do not
_LEVEL = 0.10  # metres: of the ankle's level in one frame of about ten that say the same
_WIDE = 10.0  # metres and metres a second, before the first frame
_STEP, _SMOOTHING = 0.2, 0.067  # seconds over which speeds are taken; deviation over which ankles are averaged
# Logit of standing: 1, height over the level (m), its positive part, log speed across and along (m/s), height over the
# other ankle (m).
_STANDS = np.array([-2.99, 1.12, -25.89, -2.62, -0.43, -2.17])
_LEAST_SPEED = 0.05  # m / s


class Path(NamedTuple):
    """root [F, 3] metres and its covariance [F, 3, 3], without the error of depth that all frames share.

    draws: [H, F, 3] metres, whole paths drawn from the smoother's distribution.
    """

    root: np.ndarray
    covariance: np.ndarray
    draws: np.ndarray


def smooth_root(
    root: np.ndarray,
    depth_std: np.ndarray,
    ankles: np.ndarray,
    stands: np.ndarray,
    seconds: np.ndarray,
    up: np.ndarray,
    level: float,
    rng: np.random.Generator | None = None,
    num_draws: int = 0,
) -> Path:
    """The root's path [F, 3], camera axes, metres, of what was lifted from F frames of one person.

    root: [F, 3]. depth_std: [F] of the samples along the ray. ankles: [F, 2, 3] about the root. stands: [F, 2]
    probabilities, 0: nothing is known of the foot. seconds: [F] rising. up: [3]. level: up . x of ankles that stand.
    rng, num_draws: source and number H of the paths that are drawn.
    """
    num, size = len(root), 13
    # Of a smooth root: along a ray with the root's own noise, b would take that noise up, and the depth with it.
    ray = _averaged(root, seconds)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    along = ray[:, :, None] * ray[:, None, :]
    across = np.eye(3) - along
    noise_root = _jitter(root, across) ** 2 * across + (_WHITE * depth_std)[:, None, None] ** 2 * along
    noise_ankle = _ANKLE_ACROSS**2 * across + _ANKLE_ALONG**2 * along
    means, covariances, before = [], [], []
    x, P = np.zeros(size), _WIDE**2 * np.eye(size)
    x[:3], x[7:] = root[0], (root[0] + ankles[0]).ravel()
    P[6, 6] = (_LASTING * depth_std[0]) ** 2
    for f in range(num):
        F = np.eye(size)
        if f:
            F, Q = _transition(seconds[f] - seconds[f - 1], depth_std[f], np.minimum(stands[f], stands[f - 1]))
            x, P = F @ x, F @ P @ F.T + Q
        before.append((F, x, P))
        H, noise = _observation(ray[f], noise_root[f], noise_ankle[f], stands[f], up)
        z = np.concatenate([root[f], ankles[f].ravel(), [level] * (len(H) - 9)])
        gain = np.linalg.solve(H @ P @ H.T + noise, H @ P).T
        keep = np.eye(size) - gain @ H
        x, P = x + gain @ (z - H @ x), keep @ P @ keep.T + gain @ noise @ gain.T
        means.append(x)
        covariances.append(P)
    draws = _backwards(means, covariances, before, rng, num_draws)
    return Path(np.array(means)[:, :3], np.array(covariances)[:, :3, :3], draws)


def _backwards(
    means: list[np.ndarray],
    covariances: list[np.ndarray],
    before: Sequence[tuple[np.ndarray, ...]],
    rng: np.random.Generator | None,
    num: int,
) -> np.ndarray:
    """Backward pass over the filter's states, in place, and paths [H, F, 3] drawn on the way (Carter and Kohn, 1994).

    before: F, mean and covariance of each frame ahead of its observation. Without rng no path is drawn.
    """
    paths = np.zeros((0 if rng is None else num, len(means), 3))
    x, last = np.zeros((len(paths), len(means[0]))), len(means) - 1
    for f in range(last, -1, -1):
        mean, covariance = means[f], covariances[f]
        if f < last:
            F, x_next, P_next = before[f + 1]
            back = np.linalg.solve(P_next, F @ covariance).T
            means[f] = mean + back @ (means[f + 1] - x_next)
            covariances[f] = covariance + back @ (covariances[f + 1] - P_next) @ back.T
            mean, covariance = mean + (x - x_next) @ back.T, covariance - back @ P_next @ back.T
        if rng is not None:
            value, vector = np.linalg.eigh(covariance)
            x = mean + rng.normal(size=(num, len(value))) * np.sqrt(np.maximum(value, 0)) @ vector.T
            paths[:, f] = x[:, :3]
    return paths


def _observation(
    ray: np.ndarray, noise_root: np.ndarray, noise_ankle: np.ndarray, stands: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """H and the covariance of what is observed at a frame: root, ankles about it, and the level of those that stand."""
    H, noise = np.zeros((9, 13)), np.zeros((9, 9))
    H[:3, :3], H[:3, 6], noise[:3, :3] = np.eye(3), ray, noise_root
    for foot in (0, 1):
        at, q = slice(3 + 3 * foot, 6 + 3 * foot), slice(7 + 3 * foot, 10 + 3 * foot)
        H[at, :3], H[at, q], noise[at, at] = -np.eye(3), np.eye(3), noise_ankle
    for foot in np.flatnonzero(stands > 0.5).tolist():
        H, noise = np.pad(H, ((0, 1), (0, 0))), np.pad(noise, (0, 1))
        H[-1, 7 + 3 * foot : 10 + 3 * foot], noise[-1, -1] = up, (_LEVEL / stands[foot]) ** 2
    return H, noise


def _jitter(root: np.ndarray, across: np.ndarray) -> float:
    """Standard deviation per coordinate of the root's noise across its ray, metres, from its second differences."""
    if len(root) < 5:
        return _ACROSS
    second = root[2:] - 2 * root[1:-1] + root[:-2]
    square = np.einsum("fi,fij,fj->f", second, across[1:-1], second) / 6  # of two coordinates: median 2 log 2
    return float(np.maximum(_ACROSS, np.sqrt(np.median(square) / (2 * np.log(2)))))


def _transition(dt: float, depth_std: float, stands: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    F, Q = np.eye(13), np.zeros((13, 13))
    F[:3, 3:6] = dt * np.eye(3)
    for row, column, value in ((0, 0, dt**3 / 3), (0, 3, dt**2 / 2), (3, 0, dt**2 / 2), (3, 3, dt)):
        Q[row : row + 3, column : column + 3] = _ACCELERATION * value * np.eye(3)
    F[6, 6] = np.exp(-dt / _LASTS)
    Q[6, 6] = (1 - F[6, 6] ** 2) * (_LASTING * depth_std) ** 2
    for foot in (0, 1):
        q = slice(7 + 3 * foot, 10 + 3 * foot)
        Q[q, q] = _SLIP ** (2 * stands[foot]) * _FREE ** (2 * (1 - stands[foot])) * np.eye(3)
    return F, Q


def contact_features(
    root: np.ndarray, ankles: np.ndarray, seconds: np.ndarray, up: np.ndarray, level: float
) -> np.ndarray:
    """[F, 2, 6] of what tells that an ankle stands; arguments as of `smooth_root`, root smoothed."""
    x = root[:, None] + _averaged(ankles, seconds)
    height = x @ up - level
    speed = _velocity(x, seconds)
    ray = root / np.linalg.norm(root, axis=-1, keepdims=True)
    along = np.einsum("fkd,fd->fk", speed, ray)
    across = np.linalg.norm(speed - along[..., None] * ray[:, None], axis=-1)
    logs = (np.log(across + _LEAST_SPEED), np.log(abs(along) + _LEAST_SPEED))
    return np.stack([np.ones_like(height), height, np.maximum(height, 0), *logs, height - height[:, ::-1]], -1)


def contacts(root: np.ndarray, ankles: np.ndarray, seconds: np.ndarray, up: np.ndarray, level: float) -> np.ndarray:
    """Probability [F, 2] that the left and the right foot stand."""
    return 1 / (1 + np.exp(-contact_features(root, ankles, seconds, up, level) @ _STANDS))


def _averaged(x: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """[F, ...] averaged over time with Gaussian weights."""
    rows, apart = np.arange(len(x)), float(np.median(np.diff(seconds))) if len(x) > 1 else 1.0
    total, weights = np.zeros_like(x), np.zeros((len(x), *(1,) * (x.ndim - 1)))
    for offset in range(-round(3 * _SMOOTHING / apart), round(3 * _SMOOTHING / apart) + 1):
        at = np.clip(rows + offset, 0, len(x) - 1)
        weight = np.exp(-0.5 * ((seconds[at] - seconds) / _SMOOTHING) ** 2).reshape(weights.shape)
        weight = np.where((at == rows + offset).reshape(weights.shape), weight, 0)
        total, weights = total + weight * x[at], weights + weight
    return total / weights


def _velocity(x: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """[F, ...] m/s between the frames that are about half a `_STEP` before and after each."""
    first = np.searchsorted(seconds, seconds - 0.5 * _STEP - 1e-6)
    last = np.searchsorted(seconds, seconds + 0.5 * _STEP + 1e-6, side="right") - 1
    dt = np.maximum(seconds[last] - seconds[first], 1e-6).reshape(-1, *(1,) * (x.ndim - 1))
    return (x[last] - x[first]) / dt
