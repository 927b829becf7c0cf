"""Bodies of motion capture on the skeletons of other people, with limbs of other frames, turned anyhow; in JAX.

A frame is kept as its bones and the rotations of what carries them (`Frame`): joint k lies at x_parent + v_k, and R_k
is the world rotation of the segment that carries v_k, by forward kinematics of the captured joint rotations. Then

    other skeleton   v'_k = R_k (o'_k - f_k o_k) + f_k v_k,   f_k = |o'_k| / |o_k|
    other limbs      v_k  = R_t R'_t^T v'_k                   of a frame whose trunk stands at R'_t, R_t one's own
    turned           x    = T (x - x_pivot) + x_pivot

o_k is the median of R_k^T v_k over a person's frames, so what is particular to a frame, such as a bent spine, stays.
Limbs are exchanged relative to the segment that carries them, so that their joints keep rotations that somebody has
shown.

o'_k: the mean of two persons' skeletons of the motion capture, as hips, spines and heads are put elsewhere in each,
with the limbs of the mean person, times the segments of a drawn person (`assets/people.json`: women and men of ANSUR
II; infants, children and elders of ANNY's shape model; by experiments/make_assets/people.py of commit 301b7c0).
"""

import functools
import json
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxlie import SO3

from jaxpose.base import Array, Key
from jaxpose.examples.rates import ViewRates
from jaxpose.files import ASSETS
from jaxpose.geometry.products import product, turned
from jaxpose.geometry.rotations import forward_kinematics, matrix_from_axis_angle
from jaxpose.geometry.skeleton import H36M_17, SMPL_22, mirror
from jaxpose.spaces.person import Statistics

# The segment (of SMPL's body) that carries the bone which ends at each joint of H36M_17: its parent's, but for these.
_TRUNK = {"hip": "pelvis", "right_hip": "pelvis", "left_hip": "pelvis", "spine": "spine1", "thorax": "spine3"}
_TRUNK |= {"neck_nose": "neck", "head": "head_base", "left_shoulder": "spine3", "right_shoulder": "spine3"}
_CARRIER = {
    joint: H36M_17.joints[max(parent, 0)] for joint, parent in zip(H36M_17.joints, H36M_17.parents, strict=True)
} | _TRUNK
CARRIERS = np.array([SMPL_22.joints.index(_CARRIER[joint]) for joint in H36M_17.joints])
SEGMENTS = {
    "hip_width": ("left_hip", "right_hip"),
    "thigh": ("left_knee", "right_knee"),
    "shin": ("left_ankle", "right_ankle"),
    "trunk": ("spine", "thorax"),
    "shoulder_width": ("left_shoulder", "right_shoulder"),
    "neck_head": ("neck_nose", "head"),
    "upper_arm": ("left_elbow", "right_elbow"),
    "forearm": ("left_wrist", "right_wrist"),
}
_SHARED = ("thigh", "shin", "trunk", "upper_arm", "forearm")  # segments whose length is not a matter of definition
# Of drawn people, by group. Children are fewer than among people: of what trains on this, few is filmed of them.
_GROUPS = {"women": 0.46, "men": 0.46, "infants": 0.01, "children": 0.05, "elders": 0.02}
_ROOT = np.array(H36M_17.parents) < 0
_PARENT = np.maximum(H36M_17.parents, 0)
_RIGHT_LEG, _LEFT_LEG, _LEFT_ARM, _RIGHT_ARM, _ = H36M_17.parts
# What is taken from another frame, but hips and shoulders; the mirror image of a body makes right of left.
_EXCHANGED = (_LEFT_LEG + _RIGHT_LEG, _LEFT_ARM + _RIGHT_ARM, _LEFT_ARM, _LEFT_ARM + _RIGHT_ARM + (9, 10))
_POINTS = 3  # on each bone, between which distances are taken
_TOUCHING = 0.5  # percentile of training poses below which two parts are said to run through each other


class People(NamedTuple):
    """Skeletons of the captured persons and laws of people's segments.

    offsets: [S, 17, 3] metres, each bone in the axes of its carrier. common: alike, with the limbs of the mean person.
    weight: [G] shares of groups. mean, root: [G, 17], [G, 17, 8] of the logarithm of each bone's factor on the mean
    person.
    """

    offsets: Array
    common: Array
    weight: Array
    mean: Array
    root: Array


class Bodies(NamedTuple):
    """Frames to draw from: joints [N, 17, 3] metres, y up; cumulative [N], running sum of the weights; statistics.

    carriers: [N, 17, 3, 3] world rotation of what carries each bone; person: [N] row of the people's skeletons; people;
    apart: [10, 10] metres, the least distance of two parts; None where the rotations are not known. Joints and carriers
    may be [N, 51] and [N, 153] (`as_rows`).
    """

    joints: Array
    cumulative: Array
    statistics: Statistics
    carriers: Array | None = None
    person: Array | None = None
    people: People | None = None
    apart: Array | None = None


class Frame(NamedTuple):
    """One body: root [3] and bones [17, 3] metres, carriers [17, 3, 3], its person's offsets [17, 3] metres."""

    root: Array
    bones: Array
    carriers: Array
    offsets: Array


def carriers_of(body_rotations: np.ndarray) -> np.ndarray:
    """World rotations [N, 17, 3, 3] float16 of the bones' carriers, of axis-angle vectors [N, 22, 3], pelvis first."""
    still = jnp.zeros((22, 3))

    @jax.jit
    def block(x: Array) -> Array:
        return forward_kinematics(matrix_from_axis_angle(x), still, SMPL_22.parents)[1][:, CARRIERS].astype(jnp.float16)

    size = 8192
    padded = np.concatenate([body_rotations, np.zeros((-len(body_rotations) % size, 22, 3), np.float32)])
    return np.concatenate([np.asarray(block(x)) for x in padded.reshape(-1, size, 22, 3)])[: len(body_rotations)]


def people_of(joints: np.ndarray, carriers: np.ndarray, person: np.ndarray) -> People:
    """Skeletons of the persons [N] (0..S - 1) of frames, and the bundled laws of people's segments."""
    local = np.einsum("njba,njb->nja", carriers.astype(np.float32), joints - joints[:, _PARENT])
    offsets = np.stack([np.median(local[person == s], 0) for s in range(person.max() + 1)])
    length = np.maximum(np.linalg.norm(offsets, axis=-1), 1e-6)
    table = json.loads((ASSETS / "people.json").read_bytes())
    column = {H36M_17.joints.index(j): table["segments"].index(s) for s, js in SEGMENTS.items() for j in js}
    shared = [H36M_17.joints.index(j) for s in _SHARED for j in SEGMENTS[s]]
    # one length for both sides of the mean person
    mean = np.log(length).mean(0)
    mean[list(H36M_17.left)] = mean[list(H36M_17.right)] = (mean[list(H36M_17.left)] + mean[list(H36M_17.right)]) / 2
    factor = np.ones_like(length)
    factor[:, shared] = np.exp(mean)[shared] / length[:, shared]
    laws = [table["groups"][name] for name in _GROUPS]
    to_bone = np.zeros((17, len(table["segments"])), np.float32)
    to_bone[list(column), list(column.values())] = 1
    roots = [to_bone @ np.linalg.cholesky(np.array(law["cov"])) for law in laws]
    arrays = (
        offsets,
        factor[..., None] * offsets,
        list(_GROUPS.values()),
        [to_bone @ law["mean"] for law in laws],
        roots,
    )
    return People(*(jnp.asarray(np.asarray(x), jnp.float32) for x in arrays))


def draw_row(key: Key, bodies: Bodies) -> Array:
    """The row of one body, by its weight."""
    u = jax.random.uniform(key, ()) * bodies.cumulative[-1]
    index = jnp.searchsorted(bodies.cumulative, u, side="right", method="scan_unrolled")
    return jnp.minimum(index, bodies.joints.shape[0] - 1)


def draw_skeleton(key: Key, people: People) -> Array:
    """Offsets [17, 3] metres of a drawn person, in the definition of joints of two captured persons' mean."""
    pair_key, share_key, group_key, length_key = jax.random.split(key, 4)
    pair = jax.random.randint(pair_key, (2,), 0, len(people.common))
    first, second = (_at(people.common, row, (17, 3)) for row in pair)
    share = jax.random.uniform(share_key, minval=-0.5, maxval=1.5)  # definitions beyond those of the two
    group = jax.random.choice(group_key, len(people.weight), p=people.weight / people.weight.sum())
    of_group = _at(people.root, group, people.root.shape[1:]) * jax.random.normal(length_key, people.root.shape[-1:])
    log_factor = people.mean[group] + of_group.sum(-1)
    return jnp.exp(log_factor)[:, None] * (share * first + (1 - share) * second)


def frame_of(bodies: Bodies, row: Array) -> Frame:
    """The captured body of a row."""
    assert bodies.carriers is not None
    assert bodies.person is not None
    assert bodies.people is not None
    joints, carriers = joints_at(bodies, row), _at(bodies.carriers, row, (17, 3, 3)).astype(jnp.float32)
    offsets = _at(bodies.people.offsets, bodies.person[row], (17, 3))
    return Frame(joints[0], joints - joints[_PARENT], carriers, offsets)


def joints_at(bodies: Bodies, row: Array) -> Array:
    """Joints [17, 3] metres of a row."""
    return _at(bodies.joints, row, (17, 3))


def as_rows(bodies: Bodies) -> Bodies:
    """The same with the numbers of a frame in one row: a TPU pads the last axis, of 3, to 128, and would copy the whole
    table into rows at every step."""
    flat = lambda x: x.reshape(len(x), -1)  # noqa: E731
    carriers = None if bodies.carriers is None else flat(bodies.carriers)
    return bodies._replace(joints=flat(bodies.joints), carriers=carriers)


def _at(table: Array, row: Array, shape: tuple[int, ...]) -> Array:
    return table.reshape(len(table), -1)[row].reshape(shape)


def on_skeleton(frame: Frame, offsets: Array) -> Frame:
    """The same pose of a person with other offsets [17, 3]; the root moves as far as the legs are long."""
    length = lambda o: jnp.maximum(jnp.sqrt(squared(o)), 1e-6)  # noqa: E731
    factor = jnp.where(_ROOT, 1.0, length(offsets) / length(frame.offsets))[:, None]
    bones = product(frame.carriers, (offsets - factor * frame.offsets)[..., None])[..., 0] + factor * frame.bones
    legs = factor[np.array([2, 3, 5, 6])].mean()
    return Frame(frame.root * jnp.stack([legs, 1.0, legs]), bones, frame.carriers, offsets)


def with_limbs(frame: Frame, other: Frame, taken: Array) -> Array:
    """Bones [17, 3], those taken [17] (bool) of another frame of the skeleton, relative to what carries the limb."""
    legs = np.isin(np.arange(17), _LEFT_LEG + _RIGHT_LEG)[:, None]
    of_legs, of_arms = (turned(other.carriers[j], frame.carriers[j]) for j in (0, 8))  # pelvis and chest
    bones = jnp.where(legs, turned(of_legs, other.bones), turned(of_arms, other.bones))
    return jnp.where(taken[:, None], bones, frame.bones)


def squared(v: Array) -> Array:
    """Squared lengths [...] of vectors v [..., D]."""
    first, *rest = (v[..., k] * v[..., k] for k in range(v.shape[-1]))
    return sum(rest, first)


def chained(root: Array, bones: Array) -> Array:
    """Joints [17, 3] metres of the root [3] and bones [17, 3], each from its parent."""
    placed = [root]
    for j, parent in enumerate(H36M_17.parents[1:], 1):
        placed.append(placed[parent] + bones[j])
    return jnp.stack(placed)


def joints_of(frame: Frame) -> Array:
    """Joints [17, 3] metres."""
    return chained(frame.root, frame.bones)


def distances(joints: Array) -> Array:
    """Least distances [..., 10, 10] metres of points on thighs, shins, upper arms, forearms, trunk and head."""
    ends = np.array([(1, 2), (2, 3), (4, 5), (5, 6), (11, 12), (12, 13), (14, 15), (15, 16), (0, 8), (8, 10)])
    at = np.linspace(0.2, 1.0, _POINTS, dtype=np.float32)
    begin, end = ([joints[..., of, k] for k in range(3)] for of in ends.T)  # coordinates apart, for a TPU
    points = [[b * (1 - t) + e * t for b, e in zip(begin, end, strict=True)] for t in at]
    away = ([x[..., :, None] - y[..., None, :] for x, y in zip(p, q, strict=True)] for p in points for q in points)
    return jnp.sqrt(functools.reduce(jnp.minimum, (x * x + y * y + z * z for x, y, z in away)))


def draw_body(key: Key, bodies: Bodies, rows: Array, other: Array, rates: ViewRates) -> Array:
    """Joints [F, 17, 3] metres of the frames of `rows` [F] as one person, perhaps with limbs of frames `other` [F]."""
    people, apart = bodies.people, bodies.apart
    assert people is not None
    assert apart is not None
    who_key, own_key, limb_key, which_key, mirror_key, bone_key = jax.random.split(key, 6)
    drawn = draw_skeleton(who_key, people)
    noise = rates.bone * jax.random.normal(bone_key, (17,))
    noise = noise.at[np.array(H36M_17.right)].set(noise[np.array(H36M_17.left)])
    taken = jnp.asarray(np.array([np.isin(np.arange(17), part) for part in _EXCHANGED]))
    taken = taken[jax.random.randint(which_key, (), 0, len(_EXCHANGED))] & ~np.isin(np.arange(17), (1, 4, 11, 14))
    is_drawn = jax.random.bernoulli(own_key, rates.people)
    is_mixed = jax.random.bernoulli(limb_key, rates.recombine)

    def one(row: Array, other_row: Array) -> Array:
        frame = frame_of(bodies, row)
        skeleton = jnp.exp(noise)[:, None] * jnp.where(is_drawn, drawn, frame.offsets)
        own = on_skeleton(frame, skeleton)
        mixed = chained(own.root, with_limbs(own, on_skeleton(frame_of(bodies, other_row), skeleton), taken))
        size = jnp.sqrt(squared(skeleton)).sum() / jnp.sqrt(squared(people.common)).sum(-1).mean()
        fits = (distances(mixed) >= size * apart).all()
        x = joints_of(own)
        floor = joints_at(bodies, row)[:, 1].min()
        mixed, x = (y.at[:, 1].add(floor - y[:, 1].min()) for y in (mixed, x))
        return jnp.where(is_mixed & fits, mixed, x)

    x = jax.vmap(one)(rows, other)
    return jnp.where(jax.random.bernoulli(mirror_key, rates.mirror), mirror(x, H36M_17), x)


@jax.default_matmul_precision("highest")  # of the random turn, jaxlie's
def turn(key: Key, joints: Array, rates: ViewRates) -> Array:
    """Joints [F, 17, 3] of a person turned as a whole, who lies on the floor or hangs above it."""
    turned_key, how_key, axis_key, tilt_key, any_key, lift_key = jax.random.split(key, 6)
    yaw = 2 * jnp.pi * jax.random.uniform(axis_key)
    angle = jnp.radians(rates.tilt) * jax.random.normal(tilt_key)
    tilted = matrix_from_axis_angle(angle * jnp.stack([jnp.cos(yaw), 0.0, jnp.sin(yaw)]))
    T = jnp.where(jax.random.bernoulli(how_key), SO3.sample_uniform(any_key).as_matrix(), tilted)
    pivot = joints[0, 0]
    x_turned = turned(T, joints - pivot) + pivot
    above = jnp.maximum(jax.random.uniform(lift_key, minval=-1.5, maxval=1.5), 0.0)  # half of them touch the floor
    x_turned = x_turned.at[..., 1].add(joints[..., 1].min() + above - x_turned[..., 1].min())
    return jnp.where(jax.random.bernoulli(turned_key, rates.turn), x_turned, joints)


def least_apart(joints: np.ndarray) -> Array:
    """Distances [10, 10] metres that all but a few training poses [N, 17, 3] keep between two parts of the body."""
    found = jax.jit(distances)(jnp.asarray(joints[:: max(1, len(joints) // 20_000)], jnp.float32))
    return jnp.percentile(found, _TOUCHING, axis=0)
