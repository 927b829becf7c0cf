"""From a static camera's axes to a world that is y up, in metres, with its floor at 0, where people stand and walk.

    x_world = R_world_camera x_cam + t_world_camera

The vertical is given, or told by the people (geometry/gravity.py); so is the camera's height over the floor. The roots
are smoothed over time with the feet that stand (geometry/root_path.py). A single camera does not know size: where it
takes a person to be 2 % too large, all is 2 % too far away. A camera height that is given corrects that as far as its
vertical is known, by how far away a person would have to be to stand on the floor.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxpose.compiled import check_shape
from jaxpose.geometry import gravity as grav
from jaxpose.geometry.root_path import CONSTANT, contacts, smooth_root
from jaxpose.geometry.skeleton import H36M_17, Skeleton
from jaxpose.geometry.windows import rows_of_people

ANKLE_HEIGHT = 0.075  # metres, of the joint over the floor: the shared motion capture's standing feet
_DEPTH_SPREAD = 0.033  # of the distance: the samples' spread of depth where there is one sample only
_GIVEN_STD, _CALIBRATED_STD = (
    np.radians(1.0),
    np.radians(0.2),
)  # of a vertical that is given, as by a phone, and measured
_ANKLE_STD = 0.03  # metres, of ANKLE_HEIGHT over people and shoes
_SIZE = 0.04  # of a person the model was not trained on: stature over adults of one sex (ANSUR II: 69 of 1756 mm)
_RATE = 30.0
_LEAST_FRAMES = 5  # of a person whose feet can be told to stand
_HALF_SECONDS = 2.0  # of each half of a clip, whose verticals are compared
_STANDING = 0.7


class World(NamedTuple):
    """Where N poses stand, and how it is known.

    R_world_camera [3, 3], t_world_camera [3]: above. root_world: [N, 3] metres, smoothed, y over the floor.
    root_radius_90: [N] metres about root_world that hold the root in 90 % of the cases, the vertical taken as it is.
    contacts: [N, 2] probability that the left and the right foot stand.
    up_std: degrees, of the vertical. camera_height: metres over the floor. found: the vertical is given, or told by the
    people, and not just assumed. said: how each was found, and doubts.
    """

    R_world_camera: np.ndarray
    t_world_camera: np.ndarray
    root_world: np.ndarray
    root_radius_90: np.ndarray
    contacts: np.ndarray
    up_std: float
    camera_height: float
    found: bool
    said: tuple[str, ...]


class _Person(NamedTuple):
    """Rows of one person by time, what tells the vertical, ankles [F, 2, 3] about the root, and seconds [F]."""

    rows: np.ndarray
    seen: grav.Seen
    ankles: np.ndarray
    seconds: np.ndarray


def to_world(
    joints: np.ndarray,
    root: np.ndarray,
    *,
    frame: np.ndarray | None = None,
    person: np.ndarray | None = None,
    fps: float | None = None,
    gravity: np.ndarray | None = None,
    camera_height: float | None = None,
    placed: tuple[np.ndarray, np.ndarray] | None = None,
    skeleton: Skeleton = H36M_17,
) -> World:
    """The world of N poses that one camera saw without moving.

    joints: [N, J, 3] metres about the root, camera axes; one pose of each frame, as `mean` of `lift`.
    root: [H, N, 3] or [N, 3] metres, camera axes, as `root` of `lift`.
    frame, person: [N]; None: all frames of one person. fps: frames a second (None: 30).
    gravity: [3] the way things fall, camera axes (x right, y down, z forward; of a level camera 0, 1, 0); None: told by
    the people. camera_height: metres over the floor; None: told by the feet.
    placed: R_world_camera and t_world_camera of a world that is y up with its floor at 0, in place of the last two.
    ValueError names the argument.
    """
    joints, root = np.asarray(joints, float), np.asarray(root, float)
    samples, num = root[None] if root.ndim == 2 else root, len(joints)
    check_shape("joints", joints, ("N", len(skeleton.joints), 3), note=f" in the order of {skeleton.name}")
    check_shape("root", root, (num, 3), ("H", num, 3))
    if placed is not None and (gravity is not None or camera_height is not None):
        raise ValueError("gravity and camera_height: needed none where the camera's place is given")
    if camera_height is not None and not camera_height > 0:
        raise ValueError(f"camera_height: needed metres above 0, got {camera_height:g}")
    frame = np.arange(num) if frame is None else np.asarray(frame)
    person = np.zeros(num, int) if person is None else np.asarray(person)
    people = list(_people(joints, samples, frame, person, fps or _RATE, skeleton))
    up, up_std, known, *notes = _up(people, gravity, placed)
    camera_height = camera_height if placed is None else float(placed[1][1])
    walks, given = [_walk(one, up) for one in people], camera_height is not None
    if camera_height is None:
        camera_height = float(np.median(np.concatenate([np.full(len(w.root), w.camera_height) for w in walks])))
    notes.append(f"floor {camera_height:.2f} m below the camera, {'given' if given else 'told by the feet'}")
    notes += _doubts(walks, camera_height, up_std)
    path, radius, stands = np.zeros((num, 3)), np.zeros(num), np.zeros((num, 2))
    for one, walk in zip(people, walks, strict=True):
        path[one.rows], radius[one.rows] = _on_floor(walk, camera_height, up_std, given=given)
        stands[one.rows] = walk.stands
    R, t = _axes(up, path[np.lexsort((person, frame))[0]], camera_height) if placed is None else placed
    R, t = np.asarray(R, float), np.asarray(t, float)
    return World(R, t, path @ R.T + t, radius, stands, float(np.degrees(up_std)), camera_height, known, tuple(notes))


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
    """A person's path in camera axes: root [F, 3], its variance [F], standing feet [F, 2].

    shared: standard deviation of what factor of size and distance all frames share. camera_height: by these feet.
    """

    root: np.ndarray
    variance: np.ndarray
    stands: np.ndarray
    shared: float
    camera_height: float


def _walk(one: _Person, up: np.ndarray) -> _Walk:
    level = grav.ankle_level(one.seen, up)
    stands = np.zeros((len(one.rows), 2))
    lifted = (one.seen.root, one.seen.depth_std, one.ankles)
    path = smooth_root(*lifted, stands, one.seconds, up, level)
    if len(one.rows) >= _LEAST_FRAMES:
        stands = contacts(path.root, one.ankles, one.seconds, up, level)
        if (sure := stands > _STANDING).any():
            level = float(np.median(((path.root[:, None] + one.ankles) @ up)[sure]))
        path = smooth_root(*lifted, stands, one.seconds, up, level)
    else:
        stands = stands + 0.5
    spread = float(np.median(CONSTANT * one.seen.depth_std / np.linalg.norm(path.root, axis=-1)))
    shared = float(np.hypot(_SIZE, spread))
    variance = np.trace(path.covariance, axis1=-2, axis2=-1)
    return _Walk(path.root, variance, stands, shared, ANKLE_HEIGHT - level)


def _on_floor(walk: _Walk, camera_height: float, up_std: float, *, given: bool) -> tuple[np.ndarray, np.ndarray]:
    """Root [F, 3] and its radius [F] where the person is so far away that they stand on the floor, as far as it tells.

    The factor of distance has two sources: the model's knowledge of size, and the floor where the vertical is known.
    """
    distance = np.linalg.norm(walk.root, axis=-1)
    floor = np.hypot(_ANKLE_STD, up_std * np.median(distance)) / camera_height
    share = walk.shared**2 / (walk.shared**2 + floor**2) if walk.camera_height > 0 else 0.0
    factor = (camera_height / walk.camera_height) ** share if share else 1.0
    left = walk.shared * np.sqrt(1 - share) if given else walk.shared
    # 1.645: the error is one of depth in the main, so of one dimension
    return factor * walk.root, 1.645 * np.sqrt(walk.variance + (left * distance) ** 2)


def _doubts(walks: list[_Walk], camera_height: float, up_std: float) -> Iterator[str]:
    """Lines on a floor that contradicts itself."""
    away = np.array([np.median(np.linalg.norm(w.root, axis=-1)) for w in walks])
    off = abs(np.array([w.camera_height for w in walks]) - camera_height)
    if (far := off > 0.3 + 3 * up_std * away).any():
        yield f"{far.sum()} of {len(walks)} people do not stand on this floor: other sizes, or another level"
    if camera_height <= 0:
        yield "the feet are above the camera: if it is tilted much, give --gravity"


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
        yield f"the halves of the clip tell verticals {np.degrees(apart):.0f} degrees apart: the camera may have moved"


def _people(
    joints: np.ndarray, samples: np.ndarray, frame: np.ndarray, person: np.ndarray, fps: float, skeleton: Skeleton
) -> Iterator[_Person]:
    needed = ("hip", "thorax", "left_ankle", "right_ankle")
    if lacks := [name for name in needed if name not in skeleton.joints]:
        raise ValueError(f"skeleton: {skeleton.name} lacks {', '.join(lacks)}, which tell the vertical and the floor")
    hip, thorax, *feet = (skeleton.joints.index(name) for name in needed)
    middle = samples.mean(0)
    ray = middle / np.linalg.norm(middle, axis=-1, keepdims=True)
    depth_std = np.einsum("hnd,nd->hn", samples - middle, ray).std(0)
    if len(samples) == 1:
        depth_std = _DEPTH_SPREAD * np.linalg.norm(middle, axis=-1)
    depth_std = np.maximum(depth_std, 1e-3)
    for who, rows in rows_of_people(person, frame):
        seconds = (frame[rows] - frame.min()) / fps
        if (np.diff(seconds) <= 0).any():
            raise ValueError(f"person {who} is twice in one frame; needed a person number for each of them")
        x, ankles = joints[rows], joints[rows][:, feet]
        lasts = (len(rows) - 1) * float(np.median(np.diff(seconds))) if len(rows) > 1 else 0.0
        legs = x[:, hip] - ankles.mean(1)
        placed = middle[rows][:, None] + ankles
        seen = grav.Seen(x[:, thorax] - x[:, hip], legs, placed, middle[rows], depth_std[rows], lasts)
        yield _Person(rows, seen, ankles, seconds)


def _direction(gravity: np.ndarray) -> np.ndarray:
    g = np.asarray(gravity, float)
    if g.shape != (3,) or not np.isfinite(g).all() or not np.linalg.norm(g) > 0:
        raise ValueError(f"gravity: needed three numbers, not all 0, got {np.asarray(gravity).tolist()}")
    return g / np.linalg.norm(g)
