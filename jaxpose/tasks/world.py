"""From a camera's axes to a world that is y up, in metres, with its floor at 0, where people stand and walk.

    x_world = R_world_camera x_cam + t_world_camera        of each frame, where the camera moves

What a moving camera saw is first put into the axes of its first frame, by its path. The vertical is given, or told by
the people (geometry/gravity.py); so is the camera's height over the floor. The roots are smoothed over time with what
touches the floor (geometry/root_path.py). A single camera does not know size: where it takes a person to be 2 % too
large, all is 2 % too far away. A camera height that is given corrects that as far as its vertical is known, by how far
away a person would have to be to stand on the floor.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxpose.base import Numbers, brief
from jaxpose.compiled import check_shape, checked
from jaxpose.geometry import gravity as grav
from jaxpose.geometry.root_path import CONSTANT, CONTACTS, SCALES, contacts, grounded, scale_evidence, smooth_root
from jaxpose.geometry.skeleton import H36M_17, Skeleton
from jaxpose.geometry.windows import rows_of_people

_DEPTH_SPREAD = 0.033  # of the distance: the samples' spread of depth where there is one sample only
_GIVEN_STD, _CALIBRATED_STD = (
    np.radians(1.0),
    np.radians(0.2),
)  # of a vertical that is given, as by a phone, and measured
_HEIGHT_STD = 0.03  # metres, of the heights of joints that touch the floor, over people and shoes
_SIZE = 0.04  # of a person the model was not trained on: stature over adults of one sex (ANSUR II: 69 of 1756 mm)
_RATE = 30.0
_LEAST_FRAMES = 5  # of a person whose feet can be told to stand
_HALF_SECONDS = 2.0  # of each half of a clip, whose verticals are compared
_STANDING = 0.7
_LEAST_SHARE = 0.05  # of all contacts, of those of one joint that tell the floor
_SUPPORT = 0.4  # of the frames, of people who stand on a floor
_CONTRADICTS = 2.5  # deviations of the scale of a camera's path


class World(NamedTuple):
    """Where N poses stand, and how it is known.

    R_world_camera [3, 3], t_world_camera [3]: above; [N, 3, 3] and [N, 3] of a camera that moves.
    root_world: [N, 3] metres, smoothed, y over the floor.
    root_radius_90: [N] metres about root_world that hold the root in 90 % of the cases, the vertical taken as it is.
    root_paths: [H, N, 3] metres, whole paths as likely as root_world is, for bands of lengths, distances and speeds; as
    many as the given root has hypotheses.
    contacts: [N, 9] probability that each of CONTACTS touches the floor: feet, knees, hands, hips, back.
    joints: [N, J, 3] metres, the poses where they stand, moved a little so that what touches the floor lies on it and
    does not slide.
    up_std: degrees, of the vertical. camera_height: metres over the floor, in the first frame. found: the vertical is
    given, or told by the people, and not just assumed. said: how each was found, and doubts.
    """

    R_world_camera: np.ndarray
    t_world_camera: np.ndarray
    root_world: np.ndarray
    root_radius_90: np.ndarray
    root_paths: np.ndarray
    contacts: np.ndarray
    joints: np.ndarray
    up_std: float
    camera_height: float
    found: bool
    said: tuple[str, ...]

    def __repr__(self) -> str:
        return brief(self)


class _Person(NamedTuple):
    """Rows of one person by time, what tells the vertical, points [F, K, 3] about the root, and seconds [F]."""

    rows: np.ndarray
    seen: grav.Seen
    points: np.ndarray
    seconds: np.ndarray


@checked
def to_world(
    joints: Numbers,
    root: Numbers,
    *,
    frame: Numbers | None = None,
    person: Numbers | None = None,
    fps: float | None = None,
    gravity: Numbers | None = None,
    camera_height: float | None = None,
    placed: tuple[Numbers, Numbers] | None = None,
    camera_path: tuple[Numbers, Numbers] | None = None,
    skeleton: Skeleton = H36M_17,
    seed: int = 0,
) -> World:
    """The world of N poses that one camera saw.

    joints: [N, J, 3] metres about the root, camera axes; one pose of each frame, as `mean` of `lift`.
    root: [H, N, 3] or [N, 3] metres, camera axes, as `root` of `lift`.
    frame, person: [N]; None: all frames of one person. fps: frames a second (None: 30).
    gravity: [3] the way things fall, camera axes (x right, y down, z forward; of a level camera 0, 1, 0); None: told by
    the people. camera_height: metres over the floor; None: told by what touches it.
    placed: R_world_camera and t_world_camera of a world that is y up with its floor at 0, in place of the last two.
    camera_path: R_cam_world [N, 3, 3] and t_cam [N, 3] metres of a camera that moves, at each pose, in a fixed world of
    any axes. The last three are then those of its first frame. None: it stands still.
    seed: of `root_paths`. ValueError names the argument.
    """
    joints, root = np.asarray(joints, float), np.asarray(root, float)
    legal = ("N", len(skeleton.joints), 3)
    check_shape("joints", joints, legal, note=f" in the order of {skeleton.name}", low=-1e6, high=1e6)
    samples, num = root[None] if root.ndim == 2 else root, len(joints)
    check_shape("root", root, (num, 3), ("H", num, 3))
    if not np.linalg.norm(samples.mean(0), axis=-1).min(initial=1) > 0:
        raise ValueError("root: needed places before the camera, got one at its origin")
    if placed is not None and (gravity is not None or camera_height is not None):
        raise ValueError("gravity and camera_height: needed none where the camera's place is given")
    frame = np.arange(num) if frame is None else np.asarray(frame)
    person = np.zeros(num, int) if person is None else np.asarray(person)
    check_shape("frame", frame, (num,))
    check_shape("person", person, (num,))
    first = np.lexsort((person, frame))[0]
    turn, eye = _from_first(camera_path, num, first)
    poses = joints @ np.swapaxes(turn, -1, -2)
    samples = np.einsum("nij,hnj->hni", turn, samples) + eye
    people = list(_people(poses, samples, eye, (frame - frame.min()) / (fps or _RATE), person, skeleton))
    placed = None if placed is None else (np.asarray(placed[0], float), np.asarray(placed[1], float))
    up, up_std, known, *notes = _up(people, None if gravity is None else np.asarray(gravity), placed)
    camera_height = camera_height if placed is None else float(placed[1][1])
    rng, given = np.random.default_rng(seed), camera_height is not None
    walks = [_walk(one, up, rng, len(samples)) for one in people]
    floor = _floor(walks, up, up_std, camera_height)
    if not (given or gravity is not None):
        lying, up = max(len(walk.places) for walk in walks) > 1, floor.up
        if lying:  # what touches the floor is known better with the better vertical
            walks = [_walk(one, up, rng, len(samples)) for one in people]
            floor = _floor(walks, up, up_std, None)
            up = floor.up
    camera_height = floor.camera_height
    notes.append(f"floor {camera_height:.2f} m below the camera, {'given' if given else 'told by what touches it'}")
    notes += _doubts([int(person[one.rows[0]]) for one in people], floor)
    notes += [] if camera_path is None else _scaled(people)
    path, radius, touches = np.zeros((num, 3)), np.zeros(num), np.zeros((num, len(CONTACTS)))
    paths = np.zeros(samples.shape)
    for one, walk, factor, sure in zip(people, walks, floor.factor, floor.factor_std, strict=True):
        left = sure if given else walk.shared
        away = walk.root - one.seen.eye
        path[one.rows], touches[one.rows] = one.seen.eye + factor * away, walk.touches
        distance = np.linalg.norm(away, axis=-1)
        # 1.645: the error is one of depth in the main, so of one dimension
        radius[one.rows] = 1.645 * np.sqrt(walk.variance + (left * distance) ** 2)
        size = 1 + left * rng.normal(size=(len(samples), 1, 1))
        paths[:, one.rows] = one.seen.eye + factor * size * (walk.draws - one.seen.eye)
    R, t = _axes(up, path[first], camera_height) if placed is None else placed
    x = poses @ R.T + (path @ R.T + t)[:, None]
    for one in people:
        x[one.rows] = grounded(x[one.rows], touches[one.rows], one.seconds, skeleton)
    placed_paths = (path @ R.T + t, radius, paths @ R.T + t)
    R, t = (R, t) if camera_path is None else (R @ turn, eye @ R.T + t)
    return World(R, t, *placed_paths, touches, x, float(np.degrees(up_std)), camera_height, known, tuple(notes))


def _from_first(camera_path: tuple[Numbers, Numbers] | None, num: int, first: np.intp) -> tuple[np.ndarray, np.ndarray]:
    """R [N, 3, 3] from each camera's axes to those of the row `first`, and where each camera is in them [N, 3]."""
    if camera_path is None:
        return np.broadcast_to(np.eye(3), (num, 3, 3)), np.zeros((num, 3))
    R, t = (np.asarray(x, float) for x in camera_path)
    check_shape("camera_path: R_cam_world", R, (num, 3, 3))
    check_shape("camera_path: t_cam", t, (num, 3))
    turn = R[first] @ np.swapaxes(R, -1, -2)
    return turn, t[first] - np.einsum("nij,nj->ni", turn, t)


def _axes(up: np.ndarray, root: np.ndarray, camera_height: float) -> tuple[np.ndarray, np.ndarray]:
    """Axes of a world whose origin is on the floor below the first root [3]."""
    R = grav.world_axes(up)
    first = R @ root
    return R, np.array([-first[0], camera_height, -first[2]])


def _up(people: list[_Person], gravity: np.ndarray | None, placed: tuple[np.ndarray, np.ndarray] | None) -> Any:
    """The vertical in camera axes, its standard deviation, whether it is known, and notes on how it was found."""
    if placed is not None:
        return placed[0].T @ [0.0, 1.0, 0.0], _CALIBRATED_STD, True, "vertical and floor of the calibration file"
    if gravity is not None:
        return -_direction(gravity), _GIVEN_STD, True, "vertical given"
    vertical = grav.vertical([p.seen for p in people])
    how = "told by the people, who are" if vertical.found else "not known, a level camera is assumed:"
    note = f"vertical {how} {vertical.why}, +-{np.degrees(vertical.std):.1f} degrees"
    return vertical.up, vertical.std, vertical.found, note, *_moved(people, vertical)


class _Walk(NamedTuple):
    """A person's path in camera axes: root [F, 3], its variance [F], draws [H, F, 3], what touches the floor [F, K].

    shared: standard deviation of what factor of size and distance all frames share. camera_height: by what touches.
    places: [P, 3] on the floor, below the ankles that stand, and below each other joint that lies on it. eye: [3] the
    middle of the camera's places.
    """

    root: np.ndarray
    variance: np.ndarray
    draws: np.ndarray
    touches: np.ndarray
    shared: float
    camera_height: float
    places: np.ndarray
    eye: np.ndarray


def _walk(one: _Person, up: np.ndarray, rng: np.random.Generator, num_draws: int) -> _Walk:
    level, points = grav.floor_level(one.seen, up), one.points - one.seen.heights[:, None] * up
    eye = one.seen.eye
    touches = np.zeros(points.shape[:2])
    if len(one.rows) >= _LEAST_FRAMES:
        first = (one.seen.root, one.seen.depth_std, points[:, :2], touches[:, :2], one.seconds, up, level)
        path = smooth_root(*first, eye=eye)
        touches = contacts(path.root, points, one.seconds, up, level, eye)
        if (sure := touches > _STANDING).any():
            level = float(np.median(((path.root[:, None] + points) @ up)[sure]))
    used = np.flatnonzero((touches > 0.5).any(0) | (np.arange(points.shape[1]) < 2))
    lifted = (one.seen.root, one.seen.depth_std, points[:, used], touches[:, used])
    path = smooth_root(*lifted, one.seconds, up, level, rng, num_draws, eye)
    if len(one.rows) < _LEAST_FRAMES:
        touches = touches + 0.5
    spread = float(np.median(CONSTANT * one.seen.depth_std / np.linalg.norm(path.root - eye, axis=-1)))
    variance = np.trace(path.covariance, axis1=-2, axis2=-1)
    placed, sure = path.root[:, None] + points, touches > _STANDING
    sure = sure if sure.any() else (placed @ up) <= (placed @ up).min(1, keepdims=True)
    groups = [[0, 1], *([k] for k in range(2, points.shape[1]))]
    on = [placed[:, k][sure[:, k]] for k in groups if sure[:, k].sum() >= _LEAST_SHARE * sure.sum()]
    level, middles = float(np.median(placed[sure] @ up)), [np.median(x, 0) for x in on]
    places = [x + (np.median(each @ up) - x @ up) * up for x, each in zip(middles, on, strict=True)]
    return _Walk(
        path.root, variance, path.draws, touches, float(np.hypot(_SIZE, spread)), -level, np.array(places), eye.mean(0)
    )


class _Floor(NamedTuple):
    """The floor that people stand on, by P people.

    up: the vertical [3] that agrees best with it. factor, factor_std [P]: of size and distance, with which each person
    stands on it. above [P]: metres that those are over it who do not, 0 of the others.
    """

    camera_height: float
    up: np.ndarray
    factor: np.ndarray
    factor_std: np.ndarray
    above: np.ndarray


def _floor(walks: list[_Walk], up: np.ndarray, up_std: float, camera_height: float | None) -> _Floor:
    """One floor, the vertical and the sizes of all who stand on it, by least squares.

    up . (a + s_i (a - e_i)) + d . a + h = 0, a the places where person i touches it, e the eye, d across up. People
    who would need more than three deviations of s and d do not stand on it. Of floors that two in five frames stand on
    it is the lowest: people stand on things, seldom in pits.
    """
    foot, size = np.stack([w.places.mean(0) for w in walks]), np.array([w.shared for w in walks])
    heights, frames = np.array([w.camera_height for w in walks]), np.array([len(w.root) for w in walks])
    below = foot - np.stack([w.eye for w in walks])
    across = np.linalg.svd(up[None])[2][1:]
    apart = np.linalg.norm((foot[:, None] - foot) @ across.T, axis=-1)
    over_floor = heights + (foot - below) @ up  # of the eyes
    level_std = np.hypot(_HEIGHT_STD, size * over_floor)
    spread = np.sqrt(level_std[:, None] ** 2 + level_std**2 + (up_std * apart) ** 2)
    with_whom = abs(heights[:, None] - heights) < 3 * spread
    if camera_height is not None:
        on = abs(heights - camera_height) < 3 * np.hypot(level_std, up_std * np.linalg.norm(foot @ across.T, axis=-1))
    else:
        support = (with_whom * frames).sum(1)
        legal = support >= min(_SUPPORT * frames.sum(), support.max())
        on = with_whom[np.argmax(np.where(legal, heights, -np.inf))]
    num, whose = len(walks), np.repeat(np.arange(len(walks)), [len(w.places) for w in walks])
    places = np.concatenate([w.places for w in walks])
    tall = (below @ up) * (whose[:, None] == np.arange(num))  # places of one person do not tell the size
    A = np.concatenate([places @ across.T, np.ones((len(places), 1)), tall], 1)[on[whose]] / _HEIGHT_STD
    y = -(places @ up)[on[whose]] / _HEIGHT_STD
    h = float(np.median(np.repeat(heights[on], frames[on]))) if camera_height is None else camera_height
    prior = np.diag([up_std**-2, up_std**-2, 1e-6 if camera_height is None else 1e12, *size**-2.0])
    P = np.linalg.inv(A.T @ A + prior)
    x = P @ (A.T @ y + prior @ np.eye(3 + num)[2] * h)
    turned = up + x[:2] @ across if len(y) > 1 else up
    factor, std = np.where(on & (over_floor > 0), 1 + x[3:], 1.0), np.sqrt(np.diag(P)[3:])
    turned = turned / np.linalg.norm(turned)
    height = float(x[2]) if camera_height is None else camera_height
    over = (foot + (factor - 1)[:, None] * below) @ turned + height
    return _Floor(height, turned, factor, std, np.where(on, 0, over))


def _doubts(people: list[int], floor: _Floor) -> Iterator[str]:
    """Lines on a floor that contradicts itself."""
    off = [f"person {who}, {floor.above[i]:+.2f} m" for i, who in enumerate(people) if floor.above[i]]
    if off:
        yield f"do not stand on this floor: {'; '.join(off)}: other sizes, or another level"
    if floor.camera_height <= 0:
        yield "the feet are above the camera: if it is tilted much, give --gravity"


def _scaled(people: list[_Person]) -> Iterator[str]:
    """A line where feet that stand contradict the scale of the camera's path."""
    feet = [(p.seen.root, p.points[:, :2], p.seconds, p.seen.eye) for p in people if len(p.rows) >= _LEAST_FRAMES]
    log_p = np.sum([scale_evidence(*each) for each in feet], 0) + 0 * SCALES
    p, logs = np.exp(log_p - log_p.max()), np.log(SCALES)
    mean = (p * logs).sum() / p.sum()
    std = np.sqrt((p * (logs - mean) ** 2).sum() / p.sum())
    if abs(mean) > _CONTRADICTS * std:
        far, low, high = np.exp(mean + std * np.array([0, -1, 1]))
        yield f"feet that stand tell that the camera goes {far:.2f} ({low:.2f} to {high:.2f}) times as far as its path"


def _moved(people: list[_Person], vertical: grav.Vertical) -> Iterator[str]:
    """A line where the halves of a clip tell verticals too different for a camera that stands still."""
    last = max(p.seconds[-1] for p in people)
    first = min(p.seconds[0] for p in people)
    if not vertical.found or last - first < 2 * _HALF_SECONDS:
        return
    halves = []
    for low, high in ((first, (first + last) / 2), ((first + last) / 2, last)):
        cut = [(p.seen, (p.seconds >= low) & (p.seconds <= high)) for p in people]
        parts = [grav.frames_of(seen, keep) for seen, keep in cut if keep.any()]
        halves.append(grav.vertical(parts))
    a, b = halves
    apart = np.arccos(np.clip(a.up @ b.up, -1, 1))
    if a.found and b.found and apart > 4 * np.hypot(a.std, b.std):
        words = f"the halves of the clip tell verticals {np.degrees(apart):.0f} degrees apart"
        yield f"{words}: the camera may have moved in another way"


def _people(
    joints: np.ndarray, samples: np.ndarray, eye: np.ndarray, times: np.ndarray, person: np.ndarray, skeleton: Skeleton
) -> Iterator[_Person]:
    needed = ("hip", "thorax", *CONTACTS)
    if lacks := [name for name in needed if name not in skeleton.joints]:
        raise ValueError(f"skeleton: {skeleton.name} lacks {', '.join(lacks)}, which tell the vertical and the floor")
    hip, thorax, *touching = (skeleton.joints.index(name) for name in needed)
    middle = samples.mean(0)
    far = np.linalg.norm(middle - eye, axis=-1)
    ray = (middle - eye) / far[:, None]
    depth_std = np.einsum("hnd,nd->hn", samples - middle, ray).std(0)
    if len(samples) == 1:
        depth_std = _DEPTH_SPREAD * far
    depth_std = np.maximum(depth_std, 1e-3)
    for who, rows in rows_of_people(person, times):
        seconds = times[rows]
        if (np.diff(seconds) <= 0).any():
            raise ValueError(f"person {who} is twice in one frame; needed a person number for each of them")
        x, points = joints[rows], joints[rows][:, touching]
        lasts = (len(rows) - 1) * float(np.median(np.diff(seconds))) if len(rows) > 1 else 0.0
        placed, heights = middle[rows][:, None] + points, np.array([*CONTACTS.values()])
        directions = x[:, thorax] - x[:, hip], x[:, hip] - points[:, :2].mean(1)
        seen = grav.Seen(*directions, placed, middle[rows], depth_std[rows], heights, lasts, eye[rows])
        yield _Person(rows, seen, points, seconds)


def _direction(gravity: np.ndarray) -> np.ndarray:
    g = np.asarray(gravity, float)
    check_shape("gravity", g, (3,))
    return g / np.linalg.norm(g)
