"""How the bodies of training examples spread, beside real people's: `python -m experiments.evaluate people`.

Lengths of eight segments of every body, as ratios to their geometric mean over the captured training persons. Rows: the
captured persons of training and of validation, one skeleton each; bodies as recipe 0.7 draws them (a captured body, 3 %
of size and of each bone); bodies as they are drawn now (examples/bodies.py). The last column says which share of the
validation persons' segments lies within the central 95 % of each row's.

With `--model`, one that was never shown recombined poses (of `jobs/leave_out.py --recipes=people`), a second table
says how its density judges poses with limbs of other frames, with the gate of distances and without it: the share whose
denoising error (tasks/typicality.py) is above that of 99 % and of 95 % of the captured poses.
"""

import dataclasses
import functools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

from experiments.configs import pose17
from experiments.evaluate import harness
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.datasets.mocap import balanced_weights, data_root, load_mocap
from jaxpose.examples import bodies, views
from jaxpose.examples.rates import ViewRates
from jaxpose.geometry.skeleton import H36M_17, bone_lengths
from jaxpose.tasks.typicality import denoising_error

_NUM = 4000


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    """Of the spread of bodies."""

    model: str = option("", "What judges recombined poses; without one there is no such table.")


def people(model: released.Model | None, options: Options) -> Iterator[Item]:
    """A table of standard deviations, in % of length; with a model, one of recombined poses."""
    rates = {recipe: ViewRates(**pose17.get_config(recipe).view)._replace(turn=0.0) for recipe in ("0.7", "")}
    now, old = (_bodies("train+train_more", rates[r], rotations=not r) for r in ("", "0.7"))
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
    if model is not None:
        yield from _recombined(model, now, rates[""], options.seed)


def _recombined(model: released.Model, drawn: bodies.Bodies, rates: ViewRates, seed: int) -> Iterator[Item]:
    """How the model's density judges poses with limbs of other frames, on the captured skeletons."""
    assert drawn.apart is not None
    plain = rates._replace(people=0.0, mirror=0.0, bone=0.0)

    @functools.partial(jax.jit, static_argnums=1)
    def poses(drawn: bodies.Bodies, share: float) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            row_key, other_key, body_key = jax.random.split(key, 3)
            row, other = bodies.draw_row(row_key, drawn), bodies.draw_row(other_key, drawn)
            return bodies.draw_body(body_key, drawn, row[None], other[None], plain._replace(recombine=share))[0]

        return jax.vmap(one)(jax.random.split(jax.random.key(seed), _NUM)) * jnp.array([1.0, -1.0, -1.0])  # y down

    captured, gated = poses(drawn, 0.0), poses(drawn, 1.0)
    free = poses(drawn._replace(apart=jnp.zeros_like(drawn.apart)), 1.0)
    kept = np.asarray(jnp.abs(gated - captured).max((1, 2)) > 1e-6)
    error = {"captured": captured, "recombined, no gate": free, "recombined, gate of distances": gated[kept]}
    error |= {"recombined, refused by that gate": free[~kept]}
    nats = {name: np.asarray(denoising_error(model, x)) for name, x in error.items()}
    high, higher = np.percentile(nats["captured"], (95, 99))
    columns = {"median, nats": "median:.0f", "above 95 % of captured": "high:.3f", "above 99 %": "higher:.3f"}
    title = f"Limbs of other frames, judged by {model.spec.name}; {100 * kept.mean():.0f} % pass the gate of distances"
    yield Table(title, "none", "nothing is tuned on these poses", columns | {"poses": "num:d"})
    for name, e in nats.items():
        shares = {"high": float((e > high).mean()), "higher": float((e > higher).mean())}
        yield Row(name, {"median": float(np.median(e)), **shares, "num": len(e)})


def _bodies(split: str, rates: ViewRates, *, rotations: bool) -> bodies.Bodies:
    files = ("cmu", "hdm05") if not rotations else pose17.DATA["files"]
    drop = pose17.DATA["drop"] if rotations else ()
    mocap = load_mocap(data_root(), split if rotations else "train", files, drop=drop, rotations=rotations)
    weights = balanced_weights(mocap, 0.5, 0.5, {"idle": 0.2})
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
