"""The path of a person's root before a camera, and what touches the floor when, by a Kalman smoother.

A lifted root is good across its ray and poor along it, with an error that lasts; what touches the floor does not move.
State and observations at a frame, a_k point k about the root in the lifted pose, less its height when it touches:

    r, v   root and its velocity; white noise acceleration          root = r + b ray + noise
    b      error of depth that lasts, first-order autoregressive    a_k  = q_k - r + noise
    q_k    point k; still while it touches, else free               up . q_k = level of the floor + noise

Whether k touches is a logistic function of its height over that level and of its speed across the ray and along it,
along a path that was smoothed without contacts. Those of feet were fitted to training subjects: standing is an ankle
below 0.15 m and 0.3 m/s; those of the other points with ACCAD's woman besides, who lies and crawls: no more than 0.06 m
over its height, and as slow (experiments/evaluate/world.py).
Source: the Rauch-Tung-Striebel smoother; feet as landmarks: Bloesch et al., State Estimation for Legged Robots, 2012.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxpose.geometry.skeleton import Skeleton

# Metres of a joint over the floor when it touches it: the shared motion capture's standing feet, and those who lie.
CONTACTS = {"left_ankle": 0.075, "right_ankle": 0.075, "left_knee": 0.05, "right_knee": 0.05, "left_wrist": 0.04}
CONTACTS |= {"right_wrist": 0.04, "left_hip": 0.07, "right_hip": 0.07, "thorax": 0.13}
# Of the samples' spread of depth: noise that differs from frame to frame, that lasts, and that all frames share.
_WHITE, _LASTING, CONSTANT = 0.4, 0.6, 0.52
_LASTS = 0.2  # seconds, of b
_ACROSS = 0.01  # metres, least noise of the root across its ray
_ACCELERATION = 1.0  # m^2 / s^3
_POINT_ACROSS, _POINT_ALONG = 0.04, 0.1  # metres; a pose's errors last, so more than a frame's
_SLIP, _FREE = 0.005, 1.0  # metres from frame to frame, of points that touch and do not
_LEVEL = 0.10  # metres: of a point's level in one frame of about ten that say the same
_WIDE = 10.0  # metres and metres a second, before the first frame
_STEP, _SMOOTHING = 0.2, 0.067  # seconds over which speeds are taken; deviation over which points are averaged
# Logit of touching: 1, height over the level (m), its positive part, log speed across and along (m/s), height over the
# other ankle (m).
_STANDS = np.array([-2.99, 1.12, -25.89, -2.62, -0.43, -2.17])
_TOUCHES = np.array([-2.22, 14.65, -39.24, -2.64, -0.24, 0.0])
_LIMBS = [(f"{side}_{a}", f"{side}_{b}", f"{side}_{c}") for side in ("left", "right")
          for a, b, c in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))]  # fmt: skip
_OFF, _RAISED, _TILTED = 0.05, 0.1, 0.1  # metres of contacts in a pose; of whole poses: metres, radians
_FADE = 0.15  # seconds over which a limb leaves its place on the floor
_LEAST_SPEED = 0.05  # m / s
SCALES = np.exp(np.linspace(-3, 3, 121))  # of a camera's path, that feet can tell
_STILL, _SCALE_SECONDS = 0.15, 0.7  # m / s, of a foot that stands; what is seen for so long counts once


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
    points: np.ndarray,
    touches: np.ndarray,
    seconds: np.ndarray,
    up: np.ndarray,
    level: float,
    rng: np.random.Generator | None = None,
    num_draws: int = 0,
    eye: np.ndarray | float = 0.0,
) -> Path:
    """The root's path [F, 3], metres, of what was lifted from F frames of one person, in axes that do not move.

    root: [F, 3]. depth_std: [F] of the samples along the ray. points: [F, K, 3] about the root, less their heights.
    touches: [F, K] probabilities, 0: nothing is known of the point. seconds: [F] rising. up: [3]. level: up . x of the
    floor. rng, num_draws: source and number H of the paths that are drawn. eye: [F, 3] the camera.
    """
    num, size = len(root), 7 + points[0].size
    # Of a smooth root: along a ray with the root's own noise, b would take that noise up, and the depth with it.
    ray = _averaged(root - eye, seconds)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    along = ray[:, :, None] * ray[:, None, :]
    across = np.eye(3) - along
    noise_root = _jitter(root, across) ** 2 * across + (_WHITE * depth_std)[:, None, None] ** 2 * along
    noise_point = _POINT_ACROSS**2 * across + _POINT_ALONG**2 * along
    means, covariances, before = [], [], []
    x, P = np.zeros(size), _WIDE**2 * np.eye(size)
    x[:3], x[7:] = root[0], (root[0] + points[0]).ravel()
    P[6, 6] = (_LASTING * depth_std[0]) ** 2
    for f in range(num):
        F = np.eye(size)
        if f:
            F, Q = _transition(seconds[f] - seconds[f - 1], depth_std[f], np.minimum(touches[f], touches[f - 1]))
            x, P = F @ x, F @ P @ F.T + Q
        before.append((F, x, P))
        H, noise = _observation(ray[f], noise_root[f], noise_point[f], touches[f], up)
        z = np.concatenate([root[f], points[f].ravel()])
        z = np.concatenate([z, [level] * (len(H) - len(z))])
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
    ray: np.ndarray, noise_root: np.ndarray, noise_point: np.ndarray, touches: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """H and the covariance of what is observed at a frame: root, points about it, and the level of those that touch."""
    size, on = 3 + 3 * len(touches), np.flatnonzero(touches > 0.5)
    H, noise = np.zeros((size + len(on), size + 4)), np.zeros((size + len(on), size + len(on)))
    H[:3, :3], H[:3, 6], noise[:3, :3] = np.eye(3), ray, noise_root
    for k in range(len(touches)):
        at, q = slice(3 + 3 * k, 6 + 3 * k), slice(7 + 3 * k, 10 + 3 * k)
        H[at, :3], H[at, q], noise[at, at] = -np.eye(3), np.eye(3), noise_point
    for row, k in enumerate(on.tolist(), size):
        H[row, 7 + 3 * k : 10 + 3 * k], noise[row, row] = up, (_LEVEL / touches[k]) ** 2
    return H, noise


def _jitter(root: np.ndarray, across: np.ndarray) -> float:
    """Standard deviation per coordinate of the root's noise across its ray, metres, from its second differences."""
    if len(root) < 5:
        return _ACROSS
    second = root[2:] - 2 * root[1:-1] + root[:-2]
    square = np.einsum("fi,fij,fj->f", second, across[1:-1], second) / 6  # of two coordinates: median 2 log 2
    return float(np.maximum(_ACROSS, np.sqrt(max(np.median(square), 0) / (2 * np.log(2)))))


def _transition(dt: float, depth_std: float, touches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    F, Q = np.eye(7 + 3 * len(touches)), np.zeros((7 + 3 * len(touches),) * 2)
    F[:3, 3:6] = dt * np.eye(3)
    for row, column, value in ((0, 0, dt**3 / 3), (0, 3, dt**2 / 2), (3, 0, dt**2 / 2), (3, 3, dt)):
        Q[row : row + 3, column : column + 3] = _ACCELERATION * value * np.eye(3)
    F[6, 6] = np.exp(-dt / _LASTS)
    Q[6, 6] = (1 - F[6, 6] ** 2) * (_LASTING * depth_std) ** 2
    Q[7:, 7:] = np.diag(np.repeat(_SLIP ** (2 * touches) * _FREE ** (2 * (1 - touches)), 3))
    return F, Q


def contacts(
    root: np.ndarray,
    points: np.ndarray,
    seconds: np.ndarray,
    up: np.ndarray,
    level: float,
    eye: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Probability [F, K] that each point, of CONTACTS, touches the floor; arguments as of `smooth_root`, root smoothed.

    K is 2, the ankles, or more.
    """
    x = root[:, None] + _averaged(points, seconds)
    height = x @ up - level
    speed = _velocity(x, seconds)
    ray = root - eye
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    along = np.einsum("fkd,fd->fk", speed, ray)
    across = np.linalg.norm(speed - along[..., None] * ray[:, None], axis=-1)
    logs = (np.log(across + _LEAST_SPEED), np.log(abs(along) + _LEAST_SPEED))
    other = height - height[:, [1, 0, *range(2, height.shape[1])]]
    features = np.stack([np.ones_like(height), height, np.maximum(height, 0), *logs, other], -1)
    weights = np.concatenate([np.tile(_STANDS, (2, 1)), np.tile(_TOUCHES, (height.shape[1] - 2, 1))])
    probability: np.ndarray = 1 / (1 + np.exp(-(features * weights).sum(-1)))
    return probability


def scale_evidence(root: np.ndarray, ankles: np.ndarray, seconds: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """Log likelihood [S] of SCALES by which a camera may go farther than its path `eye` [F, 3]: mostly, a foot stands.

    root, ankles [F, 2, 3] and seconds: as of `smooth_root`. Speeds are those across the rays, which are known better.
    Constants were chosen on 37 clips of training subjects (experiments/evaluate/world.py).
    """
    ray = (root - eye) / np.linalg.norm(root - eye, axis=-1, keepdims=True)
    feet, camera = _velocity((root - eye)[:, None] + _averaged(ankles, seconds), seconds), _velocity(eye, seconds)
    v = feet + SCALES[:, None, None, None] * camera[:, None]
    square = (v**2).sum(-1) - (v * ray[:, None]).sum(-1) ** 2
    log_p: np.ndarray = -1.5 * np.log1p(square / _STILL**2).min(-1).mean(-1)
    return log_p * (seconds[-1] - seconds[0]) / _SCALE_SECONDS


def grounded(x: np.ndarray, touches: np.ndarray, seconds: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Joints [F, J, 3] metres, y up, floor at 0, moved so that those which touch the floor lie on it and do not slide.

    touches: [F, K] probabilities of CONTACTS. Each pose is raised and tilted a little as a whole; then ankles and
    wrists stay where they are in the mean while they touch, by a turn of the limb, whose bones keep their lengths.
    """
    from scipy.spatial.transform import Rotation

    index = [skeleton.joints.index(name) for name in CONTACTS]
    heights, on = np.array(list(CONTACTS.values())), touches > 0.5
    middle = x.mean(1, keepdims=True)
    A = np.where([True, False, True], (x - middle)[:, index], 1.0)[..., [1, 0, 2]]
    W = np.where(on, touches, 0)[..., None] / _OFF**2
    prior = np.diag([_RAISED**-2, _TILTED**-2, _TILTED**-2])
    lift = np.linalg.solve(np.einsum("fki,fkj->fij", W * A, A) + prior,
                           np.einsum("fki,fk->fi", W * A, heights - x[:, index, 1])[..., None])[..., 0]  # fmt: skip
    lift = _averaged(lift, seconds)
    turn = Rotation.from_rotvec(np.stack([-lift[:, 2], 0 * lift[:, 0], lift[:, 1]], -1)).as_matrix()
    x = middle + np.einsum("fij,fkj->fki", turn, x - middle) + lift[:, :1, None] * [0, 1, 0]
    far = round(_FADE / float(np.median(np.diff(seconds)))) if len(x) > 1 else 0
    for limb in _LIMBS:
        a, b, c = (skeleton.joints.index(name) for name in limb)
        k = list(CONTACTS).index(limb[2])
        shift = np.zeros((len(x), 3))
        for first, last in np.flatnonzero(np.diff(on[:, k], prepend=False, append=False)).reshape(-1, 2):
            place = x[first:last, c].mean(0)
            shift[first:last] = np.where([True, False, True], place, heights[k]) - x[first:last, c]
        near = np.convolve(on[:, k], np.ones(2 * far + 1))[far : far + len(x)]
        known = on[:, k] | (near < 0.5)
        if known.any():
            shift = np.stack([np.interp(seconds, seconds[known], d[known]) for d in shift.T], -1)
            x[:, b], x[:, c] = _bent(x[:, a], x[:, b], x[:, c], x[:, c] + shift, seconds)
    return x


def _bent(
    a: np.ndarray, b: np.ndarray, c: np.ndarray, goal: np.ndarray, seconds: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The middle and the end [F, 3] of limbs a, b, c whose ends are as near to their goals as the bones reach."""
    upper, lower = np.linalg.norm(b - a, axis=-1, keepdims=True), np.linalg.norm(c - b, axis=-1, keepdims=True)
    away = np.maximum(np.linalg.norm(goal - a, axis=-1, keepdims=True), 1e-6)  # joints at one place stay there
    aim = (goal - a) / away
    reach = np.clip(away, abs(upper - lower) + 1e-6, np.maximum(upper + lower, 1e-6))
    along = (upper**2 - lower**2 + reach**2) / (2 * reach)
    side = _averaged(b - (a + c) / 2, seconds)
    side = side - (side * aim).sum(-1, keepdims=True) * aim
    side = side / np.maximum(np.linalg.norm(side, axis=-1, keepdims=True), 1e-9)
    return a + along * aim + np.sqrt(np.maximum(upper**2 - along**2, 0)) * side, a + reach * aim


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
