"""Clips of people before cameras, with what makes detectors fail, and their exact truth.

A person (people.py) in a motion or pose of the motion capture's training subjects, seen by training's cameras
(examples/views.py), before a background, with other people and furniture in front or behind, at the image's border,
against the light, blurred, small, noisy, compressed. Poses of scoring are of the validation subjects, before other
kinds of backgrounds. A joint is hidden where another thing, or another part of the person, covers its pixel.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.models.frames import weigh
from experiments.models.pose17 import config as pose17
from experiments.rendered import people, pictures
from experiments.rendered.raster import Mesh, Picture, joined, normals, render
from jaxpose.datasets.mocap import Mocap, data_root, load_mocap
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import draw_camera
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33, SMPL_22, other_side
from jaxpose.io.take import rotation_matrices, rotation_vectors

SPLITS = {"train": pose17.DATA["split"], "val": "val+val_more"}
# Mean shares of clips with each effect; `effects` has a bit for each, in this order.
SHARES = {
    **{"people": 0.22, "furniture": 0.22, "border": 0.12, "motion_blur": 0.2, "small": 0.14, "backlight": 0.1},
    **{"compressed": 0.45, "shaken": 0.03, "noisy": 0.25, "turned": 0.04},
}
VISIBLE, SELF, COVERED, OUTSIDE = range(4)
_OWN, _FURNITURE, _OTHER = 1, 2, 3  # layers
# Metres that a body's surface may be before its joints, of arms and legs, and of trunk and head.
_DEEP, _DEEP_TRUNK = 0.12, 0.22
_SUBFRAMES = 4  # of motion blur
_RATES = ViewRates(**pose17.VIEW._asdict())
_LEGS, _ARMS = (
    [SMPL_22.joints.index(f"{s}_{j}") for s in ("left", "right") for j in js]
    for js in (("hip", "knee", "ankle", "foot"), ("shoulder", "elbow", "wrist"))
)


class Truth(NamedTuple):
    """Of F frames: joints [F, 17, 3], landmarks [F, 33, 3] metres before the camera, hidden [F, 17] and [F, 33]
    (VISIBLE, SELF, COVERED, OUTSIDE), intrinsics [F, 4] px, size [F, 2] px, R_cam_world [F, 3, 3], seconds [F].
    """

    joints: np.ndarray
    landmarks: np.ndarray
    hidden: np.ndarray
    hidden_landmarks: np.ndarray
    intrinsics: np.ndarray
    size: np.ndarray
    R_cam_world: np.ndarray
    seconds: np.ndarray


class Clip(NamedTuple):
    """Images uint8 [H, W, 3], their truth, the subject of the motion capture, which of the cast, effects (bits)."""

    images: list[np.ndarray]
    truth: Truth
    subject: str
    body: int
    effects: int


class _Poses(NamedTuple):
    mocap: Mocap
    cumulative: np.ndarray
    start: np.ndarray


@functools.cache
def _poses(split: str) -> _Poses:
    """The frames of a split, with the weights that training gives them."""
    config = pose17.get_config().data
    drop = tuple(config.drop) if split == "train" else ()
    mocap = load_mocap(data_root(), SPLITS[split], tuple(config.files), drop=drop, rotations=True)
    length = np.bincount(mocap.sequence, minlength=len(mocap.name))
    return _Poses(mocap, np.cumsum(weigh(config, mocap)), np.cumsum(length) - length)


def _motion(rng: np.random.Generator, split: str, num: int, stride: int) -> tuple[np.ndarray, np.ndarray, str]:
    """Rotations [num + 1, 22, 3] and hips [num + 1, 3] of a stretch, perhaps mirrored, with other limbs, or turned."""
    mocap, cumulative, start = _poses(split)
    assert mocap.rotations is not None
    row = min(int(np.searchsorted(cumulative, rng.random() * cumulative[-1])), len(cumulative) - 1)
    sequence = mocap.sequence[row]
    last = (start[sequence + 1] if sequence + 1 < len(start) else len(mocap.joints)) - 1
    first = max(start[sequence], min(row, last - num * stride))
    rows = np.minimum(first + stride * np.arange(num + 1), last)
    rotations, hips = mocap.rotations[rows].copy(), mocap.joints[rows, 0].copy()
    if rng.random() < 0.1:
        limbs = (_LEGS, _ARMS, _LEGS + _ARMS)[rng.integers(3)]
        rotations[:, limbs] = mocap.rotations[rng.integers(len(mocap.joints)), limbs]
    if rng.random() < 0.5:
        rotations = rotations[:, other_side(SMPL_22)] * np.array([1, -1, -1], np.float32)
        hips = hips * np.array([-1, 1, 1], np.float32)
    return rotations, hips, str(mocap.subject[sequence])


def _turned(rng: np.random.Generator, rotations: np.ndarray, hips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A motion turned as a whole, as training turns some: tilted, or anyhow."""
    axis = rng.normal(size=3)
    axis /= np.linalg.norm(axis)
    turn = rotation_matrices((axis * np.radians(rng.choice([40, 150]) * rng.normal()))[None])[0].astype(np.float32)
    rotations = rotations.copy()
    rotations[:, 0] = rotation_vectors(turn @ rotation_matrices(rotations[:, 0]))
    return rotations, (hips - hips[0]) @ turn.T + hips[0]


_camera = jax.jit(lambda key, joints: draw_camera(key, joints, _RATES))


class _Actor(NamedTuple):
    """A person's surface over frames, before the camera."""

    person: people.Person
    points: np.ndarray


def draw_clip(rng: np.random.Generator, split: str, num: int, stride: int, cast: list[people.Person]) -> Clip:
    """A clip of `num` frames, every `stride`-th of 30 a second. cast: people to draw from."""
    trouble = 2 * rng.random() ** 1.5  # some clips have little of it, some much
    effects = {name: bool(rng.random() < trouble * share) for name, share in SHARES.items()}
    rotations, hips, subject = _motion(rng, split, num, stride)
    if effects["turned"]:
        rotations, hips = _turned(rng, rotations, hips)
    body = int(rng.integers(len(cast)))
    person = cast[body]
    legs = np.linalg.norm(person.joints[[1, 4, 7]] - person.joints[[4, 7, 10]], axis=1)[:2].sum() / 0.83
    posed = people.pose(person, rotations, hips * np.array([legs, 1, legs]))
    lift = -posed.points[..., 1].min() + max(0.0, rng.normal() * 0.1 if effects["turned"] else 0.0)
    posed = people.Posed(*(x + np.array([0, lift, 0], np.float32) for x in posed))
    middle = posed.joints[num // 2]
    R, t = (np.asarray(x) for x in _camera(jax.random.key(int(rng.integers(2**31))), jnp.asarray(middle)))
    to_camera = lambda x: (x @ R.T + t).astype(np.float32)  # noqa: E731
    near = max(0.0, 0.5 - to_camera(posed.points[:, ::50])[..., 2].min())
    t = t + np.array([0, 0, near])
    joints, landmarks, points = (to_camera(x) for x in (posed.joints, posed.landmarks, posed.points))
    K, size = _lens(rng, points, effects)
    actors, boxes = [_Actor(person, points)], []
    if effects["people"]:
        actors += [_other(rng, split, cast, points, R, num, stride) for _ in range(int(rng.integers(1, 3)))]
    if effects["furniture"]:
        boxes = [_thing(rng, joints[num // 2]) for _ in range(int(rng.integers(1, 3)))]
    shown = _shown(rng, actors, boxes, K, size, R, split, effects)
    images, hidden = shown[0], []
    exposure = 0.25 if effects["motion_blur"] else 0.0
    at = [x[:-1] + exposure * np.diff(x, axis=0) for x in (joints, landmarks)]
    for picture, k, x, y in zip(shown[1], K, *at, strict=True):
        hidden.append([_hidden(z, k, picture) for z in (x, y)])
    of = np.arange(num)
    covered, covered_landmarks = (np.stack(x) for x in zip(*hidden, strict=True))
    seconds, sizes, turned = of * stride / 30, np.tile(size, (num, 1)), np.tile(R, (num, 1, 1))
    truth = Truth(at[0], at[1], covered, covered_landmarks, K[of], sizes, turned, seconds)
    bits = sum(1 << i for i, name in enumerate(SHARES) if effects[name])
    return Clip(images, truth, subject, body, bits)


def _lens(rng: np.random.Generator, points: np.ndarray, effects: dict[str, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Intrinsics [F, 4] px and the image's width and height, for a person of 150 to 300 px, of 60 to 150 if small."""
    flat = points[..., :2] / np.maximum(points[..., 2:], 0.1)
    low, high = flat[:, ::7].min((0, 1)), flat[:, ::7].max((0, 1))
    one = (flat[0].max(0) - flat[0].min(0)).max()
    tall = rng.uniform(60, 150) if effects["small"] else rng.uniform(150, 300)
    focal = min(tall / one, 330 / (high - low).max())
    border = rng.uniform(0.12, 0.35, 2)
    size = np.maximum(((high - low) * focal * (1 + 2 * border)), (high - low).max() * focal * 0.9).astype(int)
    centre = size / 2 - focal * (low + high) / 2 + size * border * rng.uniform(-0.8, 0.8, 2) / (1 + 2 * border)
    if effects["border"]:
        way = np.array([(0, 1), (0, 1), (0, -1), (1, 0), (-1, 0)][rng.integers(5)])
        centre = centre + way * (rng.uniform(0.05, 0.5) * (high - low) * focal + size * border / (1 + 2 * border))
    drift = np.cumsum(rng.normal(size=(len(points) - 1, 2)), 0) * (rng.random() < 0.4) * rng.uniform(0, 1.5)
    K = np.concatenate([np.full((len(drift), 2), focal), centre + drift], -1)
    return K.astype(np.float32), size


def _other(
    rng: np.random.Generator, split: str, cast: list[people.Person], points: np.ndarray, R: np.ndarray, *of: int
) -> _Actor:
    """Another person beside, behind or before the one of the clip."""
    person = cast[rng.integers(len(cast))]
    rotations, hips, _ = _motion(rng, split, *of)
    posed = people.pose(person, rotations, hips - hips[:1]).points @ R.T
    middle = np.median(points[len(points) // 2], 0)
    deep = rng.uniform(-0.9, 1.5) if rng.random() < 0.7 else rng.uniform(1, 6)
    aside = rng.choice([-1, 1]) * rng.uniform(0.15, 0.7 + 0.5 * max(deep, 0))
    at = middle + np.array([aside, 0.1 * rng.normal(), max(deep, 0.7 - middle[2])])
    at[:2] *= at[2] / middle[2] if deep > 0 else 1
    return _Actor(person, (posed + at).astype(np.float32))


def _thing(rng: np.random.Generator, joints: np.ndarray) -> Mesh:
    """A box, a board or a post that covers something of the person, or stands behind."""
    half = np.exp(rng.uniform(np.log(0.03), np.log(0.5), 3))
    corners, faces = people.box(half)
    turn = rotation_matrices((rng.normal(size=3) * [0.1, 0.8, 0.1])[None])[0]
    target = joints[rng.integers(17)]
    nearer = target[2] * rng.uniform(0.55, 0.95) if rng.random() < 0.75 else target[2] + rng.uniform(0.3, 2)
    at = target * (nearer / target[2]) + rng.normal(size=3) * [0.15, 0.15, 0.0]
    at[2] = max(at[2], half.max() + 0.3)
    normal = np.repeat(np.eye(3)[[0, 0, 1, 1, 2, 2]] * np.tile([[-1], [1]], (3, 1)), 4, 0) @ turn.T
    shade = 0.7 + 0.3 * normal @ [-0.4, -0.6, -0.6]
    colour = rng.random(3) * shade[:, None]
    return Mesh((corners @ turn.T + at).astype(np.float32), faces, colour, np.full(12, _FURNITURE, np.uint8))


def _shown(
    rng: np.random.Generator, actors: list[_Actor], boxes: list[Mesh], K: np.ndarray, size: np.ndarray, R: np.ndarray,
    split: str, effects: dict[str, bool],
) -> tuple[list[np.ndarray], list[Picture]]:  # fmt: skip
    """Images and what is seen in each."""
    width, height = (int(x) for x in size)
    kinds = pictures.TRAINING if split == "train" else pictures.SCORING
    foot = actors[0].points[0][np.argmax(actors[0].points[0] @ R[:, 1] * -1)]
    horizon = K[0, 3] + K[0, 1] * foot[1] / max(foot[2], 0.3) - rng.uniform(0.0, 0.3) * height
    pad = 24
    scene = pictures.background(rng, width + 2 * pad, height + 2 * pad, horizon + pad, str(rng.choice(kinds)))
    light = rng.normal(size=3) + R @ [0, 0.8, 0] * 1.5
    light /= np.linalg.norm(light)
    ambient, strength = rng.uniform(0.35, 0.7), rng.uniform(0.3, 0.7)
    grain = pictures.clouds(rng, width, height, 2, 0.9)[..., None]
    images, seen, exposure = [], [], 0.5 if effects["motion_blur"] else 0.0
    for f in range(len(K)):
        total = np.zeros((height, width, 3), np.float32)
        shift = np.round(K[f, 2:] - K[0, 2:]).clip(-pad, pad).astype(int)
        behind = scene[pad - shift[1] :][:height, pad - shift[0] :][:, :width]
        steps = np.linspace(0, exposure, _SUBFRAMES) if exposure else [0.0]
        for i, step in enumerate(steps):
            meshes = [*boxes]
            for a, actor in enumerate(actors):
                points = actor.points[f] + np.float32(step) * (actor.points[f + 1] - actor.points[f])
                facing = normals(points, actor.person.faces)
                shade = ambient + strength * np.clip(facing @ light, -0.3, 1)
                layer = np.full(len(actor.person.faces), _OWN if a == 0 else _OTHER, np.uint8)
                meshes.append(Mesh(points, actor.person.faces, actor.person.colour * shade[:, None], layer))
            picture = render(joined(meshes), K[f], width, height)
            cloth = 1 + (0.5 if boxes else 0.25) * (grain - 0.5)
            total += np.where((picture.layer > 0)[..., None], picture.rgb * cloth, behind)
            if i == len(steps) // 2:
                seen.append(picture)
        images.append(total / len(steps))
    return _taken(rng, images, [p.layer for p in seen], effects), seen


def _taken(
    rng: np.random.Generator, images: list[np.ndarray], layers: list[np.ndarray], effects: dict[str, bool]
) -> list[np.ndarray]:
    """The images as a camera and a codec leave them, uint8."""
    gain, gamma = rng.uniform(0.7, 1.5) * (1 + 0.06 * rng.normal(size=3)), np.exp(0.2 * rng.normal())
    dark, haze = rng.uniform(0.12, 0.45), rng.uniform(0, 0.35)
    blur = rng.uniform(0.3, 0.9) if rng.random() < 0.88 else rng.uniform(1, 2)
    shake = rng.normal(size=2) * 5
    sigma = np.exp(rng.uniform(np.log(0.01), np.log(0.08)))
    taken = []
    for image, layer in zip(images, layers, strict=True):
        if effects["backlight"]:
            image = np.where((layer > 0)[..., None], image * dark, 0.45 + 0.8 * image)
            image = image + haze * pictures.blurred(image.clip(0, 1), 12)
        image = (image * gain).clip(0, 1) ** gamma
        image = pictures.blurred(image, blur)
        image = pictures.shaken(image, shake) if effects["shaken"] else image
        if effects["noisy"]:
            image = image + sigma * rng.normal(size=image.shape).astype(np.float32)
        taken.append(image.astype(np.float32))
    if effects["compressed"] and len(taken) > 1 and pictures.codec():
        return pictures.h264(taken, 30, int(rng.integers(22, 40)))
    quality = int(rng.integers(12, 75)) if effects["compressed"] else 96
    return [pictures.jpeg(image, quality) for image in taken]


def _hidden(x: np.ndarray, K: np.ndarray, picture: Picture) -> np.ndarray:
    """What hides each point [J] of x [J, 3]."""
    height, width = picture.layer.shape
    uv = np.nan_to_num(x[:, :2] / x[:, 2:] * K[:2] + K[2:], nan=-1e4)
    inside = ((uv >= 0) & (uv < (width, height))).all(-1)
    column, row = (np.clip(np.round(uv[:, k]), 0, n - 1).astype(int) for k, n in ((0, width), (1, height)))
    layer, depth = picture.layer[row, column], picture.depth[row, column]
    nearer = depth < x[:, 2]
    names = (H36M_17 if len(x) == 17 else MEDIAPIPE_33).joints
    is_limb = [name.split("_")[-1] in ("knee", "ankle", "elbow", "wrist", "heel", "index") for name in names]
    deep = np.where(is_limb, _DEEP, _DEEP_TRUNK)
    own = np.where((layer == _OWN) & (depth < x[:, 2] - deep), SELF, VISIBLE)
    return np.where(~inside, OUTSIDE, np.where((layer > _OWN) & nearer, COVERED, own)).astype(np.uint8)
