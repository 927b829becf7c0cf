"""What generated poses bring to a small training set: GFPose's augmentation experiment, whose code was never released.

    python -m experiments.jobs.augmentation --model=pose17 --out=runs/augmentation       10 rows
    python -m experiments.jobs.augmentation --shares=0.01 --seeds=0,1,2                  more rows for the same table

A regression lifter (jobs/regressor.py) is trained on a share of the motion capture, whole sequences drawn by a
seed, and scored by its single answer on the benchmark's validation frames (2D detected, camera given, root depth not).
Network, steps, batch, virtual cameras, detector and mirroring are alike in all rows; only the bodies differ:

    real        the share alone
    classic     the share, spliced, re-proportioned and resized (ViewRates, as the released models are trained)
    generated   the share, and poses that --model generates. A privilege: the model has seen ALL training sequences
    both        `classic` on top of `generated`
    own         the share, and poses of a model trained on this very share (--own); `generated` without its privilege

Released models, and so the poses they generate, have `classic` in their own training.

`own` needs a model per share and seed, from a run such as

    python -m experiments.train --config=experiments/configs/pose17.py --config.seed=0 --config.data.share=0.01 \
        --workdir=runs/own/0.01_0 --export=runs/own/0.01_0.safetensors
    python -m experiments.jobs.augmentation --kinds=own --shares=0.01 --own='runs/own/{share}_{seed}.safetensors'

A finished row is a JSON file in --out and is not run again; the table is made of all that lie there.
"""

import dataclasses
import functools
import hashlib
import json
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate.bench import load_frames
from experiments.jobs.regressor import Regressor
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.base import Array, Condition, Example, Key
from jaxpose.conditioning import MaskRates
from jaxpose.datasets.mocap import Mocap, balanced_weights, data_root, load_mocap, take_share
from jaxpose.evaluation.metrics import align_root, mpjpe, p_mpjpe
from jaxpose.evaluation.protocols import LiftingBench
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import make_bodies, pose_example
from jaxpose.files import write_json
from jaxpose.spaces.person import Statistics, decode_pose, encode_keypoints
from jaxpose.tasks.generate import generate
from jaxpose.tasks.samplers import stochastic
from jaxpose.training.checkpoint import git_commit
from jaxpose.training.loop import fit
from jaxpose.training.parallel import make_runner
from jaxpose.training.step import Params, init_state, make_optimizer, make_step

_KINDS = ("real", "classic", "generated", "both", "own")
_WITH_POSES = ("generated", "both", "own")
_PLAIN, _CLASSIC = ViewRates(), ViewRates(splice=0.25, bone=0.03, size=0.03)
_NO_MASKS = MaskRates(0.0, 0.0, 0.0, 0.0)
_LOWEST = 0.09  # metres: an ankle above the floor; the training bodies' lowest joint has a median of 0.087
_EMA_DECAY = 0.995
_PRIVILEGES = {
    "generated": "the generator was trained on all training sequences",
    "both": "the generator was trained on all training sequences",
    "own": "none: the generator was trained on the same share",
}


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the experiment."""

    model: str = option("pose17", "A bundled model's name or a .safetensors file, for generated poses.")
    own: str | None = option(None, "Path of the models of `own`, with {share} and {seed} in it.")
    shares: tuple[float, ...] = option((0.01, 0.05, 0.2, 1.0), "Shares of the training frames; at 1 `real` alone.")
    kinds: tuple[str, ...] = option(("real", "classic", "generated"), "What to train on, see above.", legal=_KINDS)
    seeds: tuple[int, ...] = option((0,), "Each draws its own sequences, initial weights and poses.", low=0)
    generated: int = option(20_000, "Poses to generate.", low=1)
    ratio: float = option(1.0, "Generated examples to real ones, on average over the batches.", low=1e-6)
    sampler_steps: int = option(30, "Solver steps of the generation.", low=1)
    steps: int = option(2500, "Training steps of every row.", low=1)
    batch: int = option(512, "Examples a step.", low=1)
    hidden: int = option(512, "Width of the lifter, a multiple of 16.", low=16)
    learning_rate: float = option(1e-3, "Peak of the cosine.", low=1e-9)
    bench: str | None = option(None, "Benchmark file; by default val_frames.npz beside JAXPOSE_DATA.")
    out: str = option("runs/augmentation", "Folder of the rows and of augmentation.json.")


class Row(NamedTuple):
    """One training run: what it is trained on."""

    kind: str
    share: float
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}_{self.share:g}_{self.seed}"


def main(options: Options) -> None:
    """Train and score the rows that are missing; print the table of all that lie in --out."""
    out, rows = Path(options.out), requested_rows(options)
    training = training_settings(options)
    mocap = load_mocap(data_root(), "train")
    bench = load_frames(1, options.bench)
    sources = {row: generator_of(row, options) for row in rows}  # before hours of work, not in their middle
    todo = [row for row in rows if not is_done(out, row, training, sources[row], options)]
    started = time.monotonic()
    for number, row in enumerate(todo):
        left = (time.monotonic() - started) / number * (len(todo) - number) if number else None
        shown = "" if left is None else f"; about {left / 60:.0f} min left for the table"
        print(f"row {number + 1} of {len(todo)}: {row.kind}, {row.share:.0%}, seed {row.seed}{shown}", flush=True)
        result = run_row(row, mocap, sources[row], bench, options)
        write_json(out / f"{row}.json", row._asdict() | {"training": training} | result)
    table = read_rows(out, training)
    print("\n".join(table_lines(table)))
    write_json(out / "augmentation.json", {"commit": git_commit(), "training": training, "rows": table})
    print(f"wrote {out / 'augmentation.json'}")


def requested_rows(options: Options) -> list[Row]:
    """Rows in the order they are run; ValueError names a flag's illegal value. Share 1 has `real` alone."""
    if wrong := [s for s in options.shares if not 0 < s <= 1]:
        raise ValueError(f"--shares: got {wrong}, legal is above 0 up to 1")
    if not (options.shares and options.kinds and options.seeds):
        raise ValueError("--shares, --kinds, --seeds: needed one of each at least")
    kinds = {share: options.kinds if share < 1 else ("real",) for share in options.shares}
    return [Row(kind, share, seed) for share in options.shares for kind in kinds[share] for seed in options.seeds]


def training_settings(options: Options) -> dict[str, Any]:
    """What all rows of a table have in common; ValueError for a width that is none."""
    if options.hidden % 16:
        raise ValueError(f"--hidden: needed a multiple of 16, got {options.hidden}")
    said = {name: getattr(options, name) for name in ("steps", "batch", "hidden", "learning_rate")}
    return said | {"ema_decay": _EMA_DECAY, "view": _PLAIN._asdict()}


def generator_of(row: Row, options: Options) -> released.Model | None:
    """The model whose poses a row adds, or None."""
    if row.kind not in _WITH_POSES:
        return None
    if row.kind != "own":
        return _load(options.model)
    if not options.own:
        raise ValueError("--kinds: `own` needs --own, such as 'runs/own/{share}_{seed}.safetensors'")
    try:
        path = Path(options.own.format(share=f"{row.share:g}", seed=row.seed))
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(f"--own: got {options.own!r}, legal fields are {{share}} and {{seed}} ({error})") from error
    if not path.is_file():
        raise ValueError(
            f"{path}: no such file; it comes of python -m experiments.train --config=experiments/configs/pose17.py "
            f"--config.seed={row.seed} --config.data.share={row.share:g} --workdir={path.with_suffix('')} "
            f"--export={path}"
        )
    return _load(str(path))


_load = functools.cache(released.load)


def generator_settings(row: Row, generator: released.Model | None, options: Options) -> dict[str, Any] | None:
    """What names the generated poses of a row: the same file name may hold other weights tomorrow."""
    if generator is None:
        return None
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(generator.params):
        digest.update(np.asarray(leaf).tobytes())
    return {
        "name": generator.spec.name,
        "weights_sha256": digest.hexdigest()[:16],
        "generated": options.generated,
        "ratio": options.ratio,
        "sampler_steps": options.sampler_steps,
        "privilege": _PRIVILEGES[row.kind],
    }


def is_done(out: Path, row: Row, training: dict[str, Any], generator: released.Model | None, options: Options) -> bool:
    """Whether the row's file is there; ValueError where it was made under other settings."""
    path = out / f"{row}.json"
    if not path.is_file():
        return False
    found = json.loads(path.read_bytes())
    wanted = {"training": training, "generator": generator_settings(row, generator, options)}
    for name, value in wanted.items():
        # through JSON, as tuples come back as lists
        if found.get(name) != json.loads(json.dumps(value)):
            raise ValueError(f"{path}: made with {name} {found.get(name)}, now {value}; choose another --out")
    return True


def run_row(
    row: Row, mocap: Mocap, generator: released.Model | None, bench: LiftingBench, options: Options
) -> dict[str, Any]:
    """Train and score one row."""
    started = time.monotonic()
    subset = take_share(mocap, row.share, row.seed)
    joints, weights = subset.joints, balanced_weights(subset)
    key, generate_key = jax.random.split(jax.random.key(row.seed))
    if generator is not None:
        poses = generate(generate_key, generator, options.generated, sampler=stochastic(options.sampler_steps))
        joints, weights = mix(joints, weights, upright(np.asarray(poses)), options.ratio)
    view = _CLASSIC if row.kind in ("classic", "both") else _PLAIN
    bodies = make_bodies(joints, weights, view)
    network = Regressor(options.hidden)
    how = {"steps": options.steps, "batch": options.batch}
    params = train_lifter(key, network, bodies, view, learning_rate=options.learning_rate, **how)
    figures = score(network, params, bodies.statistics, bench)
    print(f"{row}: MPJPE {figures['mpjpe_mm']:.1f} mm, P-MPJPE {figures['p_mpjpe_mm']:.1f} mm", flush=True)
    return {
        "generator": generator_settings(row, generator, options),
        "sequences": len(subset.name),
        "frames": len(subset.joints),
        **figures,
        "seconds": time.monotonic() - started,
        "commit": git_commit(),
        "device": jax.devices()[0].device_kind,
    }


def upright(poses: np.ndarray) -> np.ndarray:
    """Bodies [N, 17, 3] in the world's axes (y up), on the floor, of generated poses [N, 17, 3] metres.

    Generated poses are in the axes of a camera that looks at the person (x right, y down, z forward): half a turn about
    x makes y point up, and left stays left. The camera's pitch is not known and not undone: cameras 0.4-2.6 m high see
    people at a pitch of -13 to 33 degrees (mean 6, rms 10), so the bodies lean by so much, to random sides of the next
    camera. The lowest joint comes to stand where ankles do.
    """
    bodies = poses * np.array([1.0, -1.0, -1.0], poses.dtype)
    bodies[..., 1] += _LOWEST - bodies[..., 1].min(-1, keepdims=True)
    return bodies


def mix(joints: np.ndarray, weights: np.ndarray, generated: np.ndarray, ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Real and generated bodies [N, 17, 3] with weights [N] that draw `ratio` generated ones for a real one."""
    both = np.concatenate([joints, generated])
    return both, np.concatenate([weights / weights.sum(), np.full(len(generated), ratio / len(generated))]) / (
        1 + ratio
    )


def train_lifter(
    key: Key, network: Regressor, bodies: Bodies, view: ViewRates, *, steps: int, batch: int, learning_rate: float
) -> Params:
    """Averaged weights after so many steps on the mean absolute error of the state's coordinates."""
    pose = jnp.zeros((17, 3))
    params = network.init(key, Condition(pose, pose, jnp.zeros(17)))

    def loss(params: Params, key: Key, example: Example) -> tuple[Array, dict[str, Array]]:
        x = network.apply(params, example.cond, train=True, rngs={"dropout": key})
        return jnp.abs(x - example.x0).mean(), {}  # type: ignore[operator]  # linen: apply may also return a state

    tx = make_optimizer(learning_rate, warmup_steps=min(100, steps), total_steps=steps)
    example = functools.partial(pose_example, view=view, masks=_NO_MASKS)
    build = functools.partial(make_step, example, loss, tx, batch_size=batch, ema_decay=_EMA_DECAY)
    with tempfile.TemporaryDirectory() as workdir:  # a row is whole or absent, so its checkpoints need not stay
        state = fit(
            init_state(key, params, tx),
            make_runner(build, devices=jax.local_devices()[:1]),
            bodies,
            workdir=workdir,
            total_steps=steps,
            batch_size=batch,
            checkpoint_every=0,
        )
    return state.ema_params


def score(network: Regressor, params: Params, statistics: Statistics, bench: LiftingBench) -> dict[str, float]:
    """Root-relative errors of the lifter's answers in mm: mean over poses, and macro over categories."""

    @jax.jit
    def errors_of(params: Params, intrinsics: Array, keypoints: Array, confidence: Array, joints: Array) -> Any:
        cond, view = encode_keypoints(intrinsics, keypoints, confidence)
        state: Any = network.apply(params, cond)
        answer, truth = decode_pose(statistics, view, state), align_root(joints)
        return {"mpjpe": mpjpe(answer, truth), "p_mpjpe": p_mpjpe(answer, truth)}

    inputs = (bench.intrinsics, bench.keypoints, bench.confidence, bench.joints_cam)
    found = errors_of(params, *(jnp.asarray(x, jnp.float32) for x in inputs))
    errors = {name: 1000 * np.asarray(values) for name, values in found.items()}
    macro = [errors["mpjpe"][bench.category == c].mean() for c in np.unique(bench.category)]
    return {f"{k}_mm": float(v.mean()) for k, v in errors.items()} | {"macro_mpjpe_mm": float(np.mean(macro))}


def read_rows(out: Path, training: dict[str, Any]) -> list[dict[str, Any]]:
    """All finished rows in `out`, by share, kind and seed; ValueError where one was trained in another way."""
    rows = [json.loads(path.read_bytes()) for path in sorted(out.glob("*_*_*.json"))]
    for row in rows:
        if row["training"] != json.loads(json.dumps(training)):
            raise ValueError(
                f"{out}: {row['kind']}, {row['share']:g} was trained with {row['training']}, now {training}"
            )
    return sorted(rows, key=lambda r: (r["share"], _KINDS.index(r["kind"]), r["seed"]))


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """A line per share and kind, means over its seeds; what it brings is against `real` on the same seeds."""
    real = {(r["share"], r["seed"]): r["mpjpe_mm"] for r in rows if r["kind"] == "real"}
    lines = ["share | trained on | seeds | sequences | frames | MPJPE (least-most) | brings | P-MPJPE | macro; mm"]
    for share, kind in dict.fromkeys((r["share"], r["kind"]) for r in rows):
        group = [r for r in rows if (r["share"], r["kind"]) == (share, kind)]
        mean = {k: np.mean([r[k] for r in group]) for k in ("sequences", "frames", "p_mpjpe_mm", "macro_mpjpe_mm")}
        errors = np.array([r["mpjpe_mm"] for r in group])
        gains = [r["mpjpe_mm"] - real[share, r["seed"]] for r in group if (share, r["seed"]) in real]
        gain = f"{np.mean(gains):+.1f}" if gains and kind != "real" else ""
        lines.append(
            f"{share:.0%} | {kind} | {len(group)} | {mean['sequences']:.0f} | {mean['frames']:.0f} | "
            f"{errors.mean():.1f} ({errors.min():.1f}-{errors.max():.1f}) | {gain} | {mean['p_mpjpe_mm']:.1f} | "
            f"{mean['macro_mpjpe_mm']:.1f}"
        )
    return lines


if __name__ == "__main__":
    run("augmentation", main, Options, __doc__)
