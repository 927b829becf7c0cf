"""Dressed people: ANNY's bodies of all ages and shapes with skin, hair, shoes, clothes as bumps, skirts and things.

Clothes move the vertices of the body outward, more towards hems, with smooth noise; patterns are functions of the
place at rest. Skirts, bags and things in a hand are further surfaces. Everything is skinned by ANNY's 24 joints.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments.rendered.raster import normals
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.body_joints import MODEL_JOINTS, PICKED
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33, SMPL_24
from jaxpose.io.anny_body import ASSET, age_of_years, anny_body, target_coefficients
from jaxpose.io.arrays import load_arrays
from jaxpose.io.take import rotation_matrices

_J = {name: j for j, name in enumerate(SMPL_24.joints)}
# Vertices of the body that are points of BlazePose's, by its names; what ANNY does not pick is not there.
_POINTS = {
    **{name: name for name in PICKED if name in MEDIAPIPE_33.joints},
    **{f"{side}_foot_index": f"{side}_big_toe" for side in ("left", "right")},
}
_SKIN = np.array([(0.95, 0.80, 0.69), (0.88, 0.68, 0.53), (0.72, 0.50, 0.35), (0.45, 0.29, 0.19), (0.27, 0.17, 0.12)])
_HAIR = np.array([(0.05, 0.04, 0.04), (0.22, 0.13, 0.08), (0.45, 0.30, 0.16), (0.75, 0.60, 0.35), (0.6, 0.6, 0.6)])


class Person(NamedTuple):
    """A body at rest: points [V, 3] metres, weights [V, 24], faces [F, 3], colour [V, 3], joints [24, 3], size.

    size: stature over 1.7 m. Points beyond ANNY's are of skirts and things.
    """

    points: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    colour: np.ndarray
    joints: np.ndarray
    size: float


class Posed(NamedTuple):
    """points [F, V, 3], joints [F, 17, 3] of H36M_17 and landmarks [F, 33, 3] of BlazePose (NaN: none), metres."""

    points: np.ndarray
    joints: np.ndarray
    landmarks: np.ndarray


@functools.cache
def tables() -> dict[str, np.ndarray]:
    """ANNY's arrays as numpy, posedirs as [207, 3V]; curls [4, V, 3], what closing the fingers moves."""
    body, z = anny_body(), load_arrays(ASSET)
    names = ("faces", "weights", "posedirs", "picks", "v_template", "shapedirs", "joint_template", "joint_shapedirs")
    tables = {name: np.asarray(getattr(body, name)) for name in names} | {"phenotypes": z["phenotypes"]}
    curls = np.zeros((4, 30, 3), np.float32)  # fingers more or less closed, about z at rest
    curls[..., 2] = np.linspace(-0.2, 1.1, 4)[:, None] * np.repeat([-1, 1], 15)
    hands = (
        anny_body("smplx")
        .shape()
        .pose(full_rotations(anny_body("smplx"), jnp.zeros((21, 3)), hand_pose=jnp.asarray(curls)))
    )
    tables |= {"curls": np.asarray(hands.skin()) - tables["v_template"], "offset": z["phenotype_offset"]}
    return tables | {"posedirs": tables["posedirs"].reshape(len(tables["posedirs"]), -1), "targets": z["targets"]}


# Beta distributions (alpha, beta) of ANNY's height at its ages 0, 0.05, 0.215, 0.415, 0.67: boys, girls.
_HEIGHTS = (
    ((21.60, 51.98, 22.15, 13.40, 16.50), (58.60, 57.36, 45.86, 22.11, 25.66)),
    ((29.52, 66.28, 31.82, 21.26, 13.68), (96.72, 74.54, 59.49, 23.98, 25.75)),
)


def drawn_phenotypes(rng: np.random.Generator, num: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Years [num] of people of 0 to 85, and their phenotypes.

    Heights follow ANNY's calibration to the growth charts of the WHO; other phenotypes are spread about the middle.
    """
    years = rng.uniform(0, 85, num)
    age, gender = age_of_years(years), rng.beta(0.5, 0.5, num)
    alpha, beta = (
        np.where(gender < 0.5, *(np.interp(age, (0, 0.05, 0.215, 0.415, 0.67), row) for row in rows))
        for rows in zip(*_HEIGHTS, strict=True)
    )
    race = rng.dirichlet(np.ones(3), num)
    others = {name: rng.beta(2, 2, num) for name in ("muscle", "weight", "proportions", "cupsize", "firmness")}
    return years, {"age": age, "gender": gender, "height": rng.beta(alpha, beta), "race": race, **others}


def _betas(rng: np.random.Generator) -> np.ndarray:
    """A person's shape [S]; four of five are adults."""
    years, drawn = drawn_phenotypes(rng, 40)
    wanted = (years > 16) & (years < 75) if rng.random() < 0.8 else years > 3
    row = np.flatnonzero(wanted)[:1]
    targets = [tuple(name.split("-")) for name in tables()["targets"].tolist()]
    coefficients = target_coefficients(targets, **{k: v[row] for k, v in drawn.items()})
    return np.asarray(coefficients[0] @ tables()["phenotypes"] + tables()["offset"])


def draw_person(rng: np.random.Generator) -> Person:
    """A dressed person."""
    t, betas = tables(), _betas(rng).astype(np.float32)
    points = t["v_template"] + t["shapedirs"] @ betas + t["curls"][rng.integers(0, 4)]
    joints = t["joint_template"] + t["joint_shapedirs"] @ betas
    weights = tables()["weights"]
    where = _where(points, joints, weights)
    colour = _skin(rng, points, where)
    outward = normals(points, tables()["faces"])
    size = float(np.ptp(points[:, 1])) / 1.7
    offset = _dress(rng, points, where, colour, size)
    points = points + offset[:, None] * outward
    person = Person(points, weights, tables()["faces"], colour, joints, size)
    if rng.random() < 0.15:
        person = _with_skirt(rng, person)
    if rng.random() < 0.15:  # on the back or at the side
        at = joints[_J["spine3"]] + size * np.array([rng.choice([0, 0, 0.2, -0.2]), -0.05, -0.2])
        person = with_box(person, at, size * rng.uniform(0.06, 0.2, 3), "spine3", rng.random(3))
    if rng.random() < 0.15:
        hand = rng.choice(["left", "right"])
        at = joints[_J[f"{hand}_hand"]] + [0, -0.03, 0]
        person = with_box(person, at, size * np.exp(rng.uniform(-4, -1.2, 3)), f"{hand}_hand", rng.random(3))
    return person


def _where(points: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Parts [V] bool, and how far along arms (0 shoulder, 1 wrist) and legs (0 hip, 1 ankle) points are."""
    owner = np.array(MODEL_JOINTS["smpl"])[weights.argmax(1)]
    part = np.array([name.split("_")[-1] if name != "head_base" else "head" for name in owner])
    shoulder, wrist, hip, ankle = (joints[_J[f"left_{name}"]] for name in ("shoulder", "wrist", "hip", "ankle"))
    arm = (abs(points[:, 0]) - shoulder[0]) / (wrist[0] - shoulder[0])
    leg = (hip[1] - points[:, 1]) / (hip[1] - ankle[1])
    is_arm = np.isin(part, ("shoulder", "elbow", "wrist", "hand", "collar")) & (arm > 0)
    is_leg = np.isin(part, ("hip", "knee", "ankle", "foot"))
    head = part == "head"
    return {"arm": np.where(is_arm, arm, 0), "leg": np.where(is_leg, leg, 0), "is_arm": is_arm, "is_leg": is_leg} | {
        **{"head": head, "neck": part == "neck", "hand": is_arm & (arm > 0.98), "shoe": is_leg & (leg > 0.97)},
        **{"trunk": ~(is_arm | is_leg | head | (part == "neck")), "waist": joints[_J["spine1"]][1] - points[:, 1]},
        **{"part": part},
    }


def noise(rng: np.random.Generator, points: np.ndarray, low: float, high: float, waves: int = 4) -> np.ndarray:
    """Smooth noise [V] of variance 1: waves of `low` to `high` radians a metre."""
    k = rng.normal(size=(3, waves))
    k *= np.exp(rng.uniform(np.log(low), np.log(high), waves)) / np.linalg.norm(k, axis=0)
    return np.asarray(np.sin(points @ k + rng.uniform(0, 6.3, waves)).sum(1) * np.sqrt(2 / waves))


def _skin(rng: np.random.Generator, points: np.ndarray, where: dict[str, np.ndarray]) -> np.ndarray:
    """Colours [V, 3] of skin, face and hair; moves the points of the hair outward."""
    a, b = _SKIN[rng.integers(0, 5, 2)]
    skin = a + rng.random() * (b - a)
    colour = skin * (1 + 0.05 * noise(rng, points, 5, 40)[:, None])
    z, y, head = points[:, 2], points[:, 1], where["head"]
    eyes, nose = points[tables()["picks"][1:3]], points[tables()["picks"][0]]
    scale = abs(eyes[0, 0] - eyes[1, 0]) / 0.06
    for eye in eyes:
        away = np.linalg.norm((points - eye) * [1, 1.6, 1], axis=1) / scale
        colour[head & (away < 0.017)] = 0.85
        colour[head & (away < 0.009)] = rng.uniform(0, 0.3, 3)
        brow = abs(y - eye[1] - 0.02 * scale) < 0.006 * scale
        colour[head & brow & (abs(points[:, 0] - eye[0]) < 0.02 * scale) & (z > eye[2] - 0.03 * scale)] *= 0.45
    mouth = np.linalg.norm((points - nose + [0, 0.035 * scale, 0.01 * scale]) * [0.6, 2, 0.7], axis=1)
    colour[head & (mouth < 0.016 * scale)] *= [0.9, 0.55, 0.55]
    ear = points[tables()["picks"][3:5]].mean(0)
    line = eyes[0, 1] + scale * rng.choice([0.03, 0.045, 0.06])
    hair = head & ((y > line) | ((z < ear[2] + 0.01 * scale) & (y > ear[1] - scale * rng.choice([0.0, 0.05, 0.12]))))
    if rng.random() < 0.9:
        colour[hair] = rng.choice(_HAIR) * (1 + 0.2 * noise(rng, points, 30, 150)[hair, None])
        if rng.random() < 0.15:
            colour[hair] = rng.random(3)  # a cap
        centre = np.array([0, ear[1] + 0.04 * scale, ear[2]])
        fringe = np.clip((y[hair] - line) / 0.02 + 1.5, 0.3, 1)
        thick = scale * np.exp(rng.uniform(np.log(0.01), np.log(0.12)))
        points[hair] += ((points[hair] - centre) * (fringe * thick / 0.1)[:, None]).astype(points.dtype)
        if rng.random() < 0.3:  # long hair on neck and back
            back = (
                (where["neck"] | where["trunk"]) & (z < ear[2] - 0.01) & (y > ear[1] - scale * rng.uniform(0.15, 0.5))
            )
            back &= abs(points[:, 0]) < 0.1 * scale
            colour[back] = colour[hair].mean(0)
            points[back, 2] -= 0.04 * scale
    return np.asarray(colour.clip(0, 1), np.float32)


def _cloth(rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Colours [V, 3] of a cloth: plain, striped, checked, mottled, with a print."""
    base = rng.random(3) if rng.random() < 0.4 else rng.beta(0.6, 0.8) + 0.08 * rng.normal(size=3)
    other = rng.random(3)
    kind = rng.choice(5, p=[0.45, 0.15, 0.1, 0.2, 0.1])
    share = np.zeros(len(points))
    axis = rng.integers(0, 2)
    k = np.exp(rng.uniform(np.log(20), np.log(150)))
    if kind == 1:
        share = (np.sin(k * points[:, axis]) > rng.uniform(-0.5, 0.7)).astype(float)
    elif kind == 2:
        share = 0.5 * (np.sin(k * points[:, 0]) > 0) + 0.5 * (np.sin(k * points[:, 1]) > 0)
    elif kind == 3:
        share = (noise(rng, points, 15, 100) > rng.uniform(-0.5, 1)).astype(float)
    elif kind == 4:
        share = (np.linalg.norm(points[:, :2] - rng.normal(size=2) * [0.05, 0.2], axis=1) < 0.12).astype(float)
    shade = 1 + rng.uniform(0, 0.15) * noise(rng, points, 20, 90)  # folds
    return np.asarray((base + share[:, None] * (other - base)) * shade[:, None])


def _dress(
    rng: np.random.Generator, points: np.ndarray, where: dict[str, np.ndarray], colour: np.ndarray, size: float
) -> np.ndarray:
    """Paints the clothes, and says by how many metres [V] they stand off."""
    offset = np.zeros(len(points))
    sleeve = rng.choice([0.0, 0.25, 0.45, 1.0], p=[0.12, 0.33, 0.12, 0.43])
    trouser = rng.choice([0.12, 0.4, 0.75, 1.0], p=[0.1, 0.22, 0.08, 0.6])
    upper = where["trunk"] & (where["waist"] < rng.uniform(0.02, 0.2)) | where["is_arm"] & (where["arm"] < sleeve)
    upper |= where["neck"] & (rng.random() < 0.3)
    lower = (where["trunk"] | where["is_leg"]) & ~upper & (where["leg"] < trouser)
    if rng.random() < 0.06:  # bare to the waist
        upper &= False
    # tight, ordinary, loose, an overcoat
    loose = np.array([0.003, 0.012, 0.03, 0.05])
    for cloth, along, end, most in ((upper, where["arm"], sleeve, 4), (lower, where["leg"], trouser, 4)):
        thick = size * loose[rng.choice(most, p=[0.25, 0.4, 0.25, 0.1])]
        flare = rng.uniform(0, 1.2)
        bump = 1 + 0.35 * noise(rng, points, 8, 50)
        grown = thick * bump * (1 + flare * np.clip(along / max(end, 0.1), 0, 1)) * np.clip(1.15 - 0.1 * flare, 0, 1)
        offset[cloth] = np.clip(grown, 0, None)[cloth]
        colour[cloth] = _cloth(rng, points)[cloth].clip(0.01, 1)
    shoe = where["shoe"] & (rng.random() < 0.9)
    colour[shoe] = rng.random(3) * rng.uniform(0.1, 1)
    offset[shoe] = size * rng.choice([0.004, 0.015])
    return offset.astype(np.float32)


def _with_skirt(rng: np.random.Generator, person: Person) -> Person:
    """A skirt or a coat's tails: a cone about the legs, that goes with pelvis and thighs."""
    rows, around = 7, 20
    joints, hip, ankle = person.joints, _J["left_hip"], _J["left_ankle"]
    length = rng.uniform(0.5, 1.0) * (joints[hip, 1] - joints[ankle, 1])
    t, turn = np.linspace(0, 1, rows)[:, None], np.linspace(0, 2 * np.pi, around, endpoint=False)
    radius = person.size * (rng.uniform(0.17, 0.2) + rng.uniform(0, 0.2) * t)
    wave = 1 + rng.uniform(0, 0.1) * t * np.sin(rng.integers(3, 9) * turn)
    x, z = radius * wave * np.sin(turn), 0.75 * radius * wave * np.cos(turn)
    y = joints[hip, 1] + 0.12 * person.size - t * (length + 0.12 * person.size) + 0 * turn
    points = np.stack([x, y, z + joints[hip, 2]], -1).reshape(-1, 3)
    weights = np.zeros((len(points), 24), np.float32)
    down = (t + 0 * turn).ravel()
    left = 1 / (1 + np.exp(-points[:, 0] / (0.05 * person.size)))
    weights[:, _J["left_hip"]], weights[:, _J["right_hip"]] = 0.75 * down * left, 0.75 * down * (1 - left)
    weights[:, _J["pelvis"]] = 1 - weights.sum(1)
    a = np.arange(rows * around).reshape(rows, around)
    b = np.roll(a, -1, 1)
    halves = (a[:-1], a[1:], b[:-1]), (b[:-1], a[1:], b[1:])
    faces = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])
    faces = np.concatenate([faces, faces[:, ::-1]])
    return _with(person, points, weights, faces, _cloth(rng, points).clip(0.01, 1))


def box(half: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners [24, 3] and faces [12, 3] of a box about the origin; each side has its own corners."""
    corners: list[np.ndarray] = []
    faces: list[tuple[int, int, int]] = []
    for axis in range(3):
        for sign in (-1, 1):
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            if sign < 0:
                u, v = v, u
            first = len(corners)
            corners += [
                (sign * np.eye(3)[axis] + i * u + j * v) * half for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))
            ]
            faces += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    return np.array(corners), np.array(faces)


def with_box(person: Person, at: np.ndarray, half: np.ndarray, joint: str, colour: np.ndarray) -> Person:
    """A person with a box of half sides [3] metres that a joint carries."""
    points, faces = box(half)
    weights = np.zeros((len(points), 24), np.float32)
    weights[:, _J[joint]] = 1
    return _with(person, points + at, weights, faces, np.tile(colour, (len(points), 1)))


def _with(person: Person, points: np.ndarray, weights: np.ndarray, faces: np.ndarray, colour: np.ndarray) -> Person:
    both = lambda x, y: np.concatenate([x, y.astype(x.dtype)])  # noqa: E731
    return person._replace(
        points=both(person.points, points),
        weights=both(person.weights, weights),
        faces=both(person.faces, faces + len(person.points)),
        colour=both(person.colour, colour),
    )


def pose(person: Person, rotations: np.ndarray, root: np.ndarray) -> Posed:
    """A person in poses: rotations [F, 22, 3] axis-angle, the pelvis in the world first; root [F, 3]: mid hips."""
    local = rotation_matrices(np.concatenate([rotations, np.zeros((len(rotations), 2, 3))], 1)).astype(np.float32)
    turned, x = local.copy(), np.zeros((len(local), 24, 3), np.float32)
    for j, parent in enumerate(SMPL_24.parents):
        if parent >= 0:
            turned[:, j] = turned[:, parent] @ local[:, j]
            x[:, j] = x[:, parent] + turned[:, parent] @ (person.joints[j] - person.joints[parent])
    x += (root - (x[:, _J["left_hip"]] + x[:, _J["right_hip"]]) / 2)[:, None]
    change = (local[:, 1:] - np.eye(3, dtype=np.float32)).reshape(len(local), -1) @ tables()["posedirs"]
    rest = np.repeat(person.points[None], len(local), 0).astype(np.float32)
    num = len(tables()["weights"])
    rest[:, :num] += change.reshape(len(local), 3, num).swapaxes(1, 2)
    shift = x - np.einsum("fjab,jb->fja", turned, person.joints)
    A = np.concatenate([turned, shift[..., None]], -1).reshape(len(local), 24, 12)
    T = (person.weights @ A).reshape(*rest.shape[:2], 3, 4)
    points = np.einsum("fvab,fvb->fva", T[..., :3], rest) + T[..., 3]
    landmarks = np.full((len(local), 33, 3), np.nan, np.float32)
    for name, pick in _POINTS.items():
        landmarks[:, MEDIAPIPE_33.joints.index(name)] = points[:, tables()["picks"][PICKED.index(pick)]]
    for j, name in enumerate(MEDIAPIPE_33.joints):
        if name in _J:
            landmarks[:, j] = x[:, _J[name]]
    return Posed(points, joints17(x, turned, person.size), landmarks)


def joints17(x: np.ndarray, turned: np.ndarray, size: float) -> np.ndarray:
    """H36M_17 [F, 17, 3] of ANNY's joints [F, 24, 3] and rotations; trunk and head as the motion capture has them.

    Thorax: 1 cm under and 0.7 cm before the middle of the shoulders. Neck/Nose: 11 cm along the neck; Head: 14 cm above
    it and 2.4 cm behind. Spine: at 44 % of Hip to Thorax, behind it.
    """
    at = lambda joint, *offset: turned[:, _J[joint]] @ (size * np.array(offset, np.float32))  # noqa: E731
    of = lambda name: x[:, _J[name]]  # noqa: E731
    hip = (of("left_hip") + of("right_hip")) / 2
    thorax = (of("left_shoulder") + of("right_shoulder")) / 2 + at("spine3", 0, -0.01, 0.007)
    nose = thorax + at("neck", 0, 0.1, 0.045)
    middle = {"hip": hip, "thorax": thorax, "neck_nose": nose, "head": nose + at("head_base", 0, 0.14, -0.024)}
    middle["spine"] = hip + 0.44 * (thorax - hip) + at("spine1", 0, 0, -0.02)
    return np.stack([middle[name] if name in middle else of(name) for name in H36M_17.joints], 1)
