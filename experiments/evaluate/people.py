"""How the bodies of training examples spread, beside real people's: `python -m experiments.evaluate people`.

Lengths of eight segments of every body, as ratios to their geometric mean over the captured training persons. Rows: the
captured persons of training and of validation, one skeleton each; bodies as recipe 0.7 draws them (a captured body, 3 %
of size and of each bone); bodies as they are drawn now (examples/bodies.py). The last column says which share of the
validation persons' segments lies within the central 95 % of each row's.
"""

import dataclasses
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.configs import pose17
from experiments.evaluate import harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap
from jaxpose.examples import bodies, views
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.skeleton import H36M_17, bone_lengths

_NUM = 4000


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of the spread of bodies."""

    model: str = option("", "None: the bodies are data.")


def people(model: None, options: Options) -> Iterator[Item]:
    """A table of standard deviations, in % of length."""
    del model
    rates = {recipe: ViewRates(**pose17.get_config(recipe).view)._replace(turn=0.0) for recipe in ("0.7", "")}
    now, old = (_bodies(pose17.DATA["split"], rates[r], rotations=not r) for r in ("", "0.7"))
    assert now.people is not None
    captured = _segments(jnp.linalg.norm(now.people.offsets, axis=-1))
    seen = _bodies("val+val_more", rates[""], rotations=True)
    assert seen.people is not None
    unseen = _segments(jnp.linalg.norm(seen.people.offsets, axis=-1))
    mean = np.log(captured).mean(0)
    rows = {
        "captured, training": captured,
        "captured, validation": unseen,
        "drawn as in 0.7": _segments(_drawn(old, rates["0.7"], options.seed)),
        "drawn now": _segments(_drawn(now, rates[""], options.seed)),
    }
    columns = {name.replace("_", " "): f"{name}:.1f" for name in (*bodies.SEGMENTS, "stature")}
    columns["validation within 95 %"] = "within:.2f"
    title = f"Spread of segments, % of length; {len(captured)} captured training persons, {len(unseen)} of validation"
    yield Table(title, "none", "nothing is tuned on validation persons", columns)
    for name, lengths in rows.items():
        log = np.log(lengths) - mean
        low, high = np.percentile(log, (2.5, 97.5), axis=0)
        other = np.log(unseen) - mean
        spread = dict(zip((*bodies.SEGMENTS, "stature"), (100 * log.std(0)).tolist(), strict=True))
        yield Row(name, spread | {"within": float(((low <= other) & (other <= high)).mean()), "num": len(lengths)})


def _bodies(split: str, rates: ViewRates, *, rotations: bool) -> bodies.Bodies:
    files = ("cmu", "hdm05") if not rotations else pose17.DATA["files"]
    drop = pose17.DATA["drop"] if rotations else ()
    mocap = load_mocap(data_root(), split if rotations else "train", files, drop=drop, rotations=rotations)
    weights = balanced_weights(mocap, 0.5, 0.5, pose17.DATA["category_factors"])
    return views.make_bodies(mocap.joints, weights, rates, mocap.rotations, mocap.subject[mocap.sequence])


def _drawn(drawn: bodies.Bodies, rates: ViewRates, seed: int) -> jax.Array:
    """Bone lengths [N, 17] of examples, the root's 0."""

    def one(key: jax.Array, drawn: bodies.Bodies) -> jax.Array:
        row_key, body_key = jax.random.split(key)
        row = bodies.draw_row(row_key, drawn)
        if drawn.people is None:
            return views.augment_body(body_key, drawn.joints[row], drawn.joints[row], rates._replace(splice=0.0))
        return bodies.draw_body(body_key, drawn, row[None], row[None], rates)[0]

    joints = jax.jit(jax.vmap(one, (0, None)))(jax.random.split(jax.random.key(seed), _NUM), drawn)
    return jnp.pad(bone_lengths(joints, H36M_17), ((0, 0), (1, 0)))


def _segments(lengths: jax.Array) -> np.ndarray:
    """Lengths [N, 9] of the eight segments and of all of them from foot to crown, of bones [N, 17]."""
    at = {name: [H36M_17.joints.index(j) for j in joints] for name, joints in bodies.SEGMENTS.items()}
    found = {name: np.asarray(lengths)[:, joints] for name, joints in at.items()}
    sums = [x.sum(1) if name in ("trunk", "neck_head") else x.mean(1) for name, x in found.items()]
    named = dict(zip(found, sums, strict=True))
    column = named["thigh"] + named["shin"] + named["trunk"] + named["neck_head"]
    return np.stack([*sums, column], -1)
