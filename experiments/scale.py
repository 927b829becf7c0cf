"""What a training step costs, counted by XLA, and what that comes to on many devices: the figures of docs/scale.md.

    python -m experiments.scale                                some minutes; no data and no accelerator are needed
    python -m experiments.scale --document=docs/scale.md       and put the tables into the page

Counted, of the compiled step of `experiments.train` at two batches b, of which slope and intercept are taken:

    F(b) = F_0 + b F_1 operations,  M(b) = M_0 + b M_1 bytes read and written,  T(b) = T_0 + b T_1 bytes of temporaries

M is of the backend that counts: a CPU's programs fuse little, so it is a bound from above, and the times below take the
least instead, with state, gradient and temporaries read and written once each.

Derived, of n devices with b examples each (Williams et al., Roofline, CACM 2009; ring all-reduce: Patarasso and Yuan,
JPDC 2009), where P parameters have float32 gradients:

    compute    = max( F(b) / (u peak), 2 (S + 4 P + b T_1) / (v bandwidth) )    S bytes of state
    all-reduce = 2 (n - 1) / n * 4 P / (w link)                after the backward pass, not beside it
    break-even = the b at which F(b) / (u peak) is the all-reduce
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.benchmark.ratios import document
from experiments.benchmark.timing import training_operations
from experiments.models.pose17 import config as pose17
from experiments.models.score import make_loss, spec_of
from experiments.options import option, run
from jaxpose import model as released
from jaxpose.conditioning import MaskRates
from jaxpose.examples import bodies as anew
from jaxpose.examples.bodies import Bodies
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import pose_example
from jaxpose.training.step import init_state, make_optimizer, make_step

UTILISATION, OF_BANDWIDTH, OF_LINK = 0.4, 0.7, 0.7  # u, v, w: assumed
_BATCHES = (4096, 8192)  # where what examples take is more than what the gradient takes
_FRAMES = 64  # of the random bodies
_WEAK = 4096  # examples a device of the table of weak scaling
ROWS = 2  # frames of motion capture that an example is made of: its own, and the one whose limbs it may take


class Machine(NamedTuple):
    """Devices of a kind; peak: bf16 operations/s; memory bytes; bandwidth, link: bytes/s, the link one way; hosts."""

    name: str
    devices: int
    hosts: int
    peak: float
    memory: float
    bandwidth: float
    link: float


# "TPU v5e" of the Cloud TPU documentation: 197 TFLOP/s, 16 GB, 819 GB/s, 400 GB/s in both directions over 4 ports, of
# which a chip of a 2 x 4 slice, which does not close to a torus, has at least 2 neighbours. "NVIDIA H100 Tensor Core
# GPU" data sheet, SXM: 1,979 TFLOP/s with sparsity, 80 GB, 3.35 TB/s, NVLink 900 GB/s in both directions.
MACHINES = (
    Machine("v5e-8", 8, 1, 197e12, 16e9, 819e9, 100e9),
    Machine("v5e-256", 256, 32, 197e12, 16e9, 819e9, 200e9),
    Machine("8 x H100", 8, 1, 989e12, 80e9, 3.35e12, 450e9),
)


class Line(NamedTuple):
    """at(b) = once + b each."""

    once: float
    each: float

    def at(self, batch: float) -> float:
        return self.once + batch * self.each


class Costs(NamedTuple):
    """Of a step: operations, bytes moved and bytes of temporaries, of b examples; by_hand: operations of the products
    of one example; bytes of the state, of the gradient that is averaged, and of the frames of one example."""

    parameters: int
    operations: Line
    moved: Line
    temporaries: Line
    by_hand: float
    state: int
    reduced: int
    row: int


def large() -> ConfigDict:
    """The same task for a network that does not fit into a chip's memory next to its optimiser at a usual batch."""
    config = pose17.get_config()
    config.name = "large"
    config.network.update({"hidden": 4096, "time_width": 512, "num_blocks": 8, "encoder_blocks": 4})
    return config


def random_bodies() -> Bodies:
    """Frames with rotations and persons, as motion capture has them; a step takes as long whatever they are."""
    rng, model = np.random.default_rng(0), released.load("pose17")
    mean, std, spread = jax.tree.map(np.asarray, model.statistics)
    joints = (mean + std * spread * rng.normal(size=(_FRAMES, *mean.shape))) * np.array([1.0, -1, -1])  # y up
    carriers = anew.carriers_of(rng.normal(0, 0.3, (_FRAMES, 22, 3)).astype(np.float32))
    person = np.arange(_FRAMES) // 8
    people = anew.people_of(joints.astype(np.float32), carriers, person)
    weights = jnp.arange(1.0, _FRAMES + 1)
    rows = (jnp.asarray(joints, jnp.float32), weights, model.statistics, jnp.asarray(carriers))
    return Bodies(*rows, jnp.asarray(person, jnp.int32), people, anew.least_apart(joints.astype(np.float32)))


class Lowered(NamedTuple):
    """The step for one device before compilation, and the shapes of its state."""

    step: jax.stages.Lowered
    state: Any


def lowered(config: ConfigDict, batch: int, bodies: Bodies) -> Lowered:
    """The step of `config`; no weight is made."""
    spec = spec_of(config)
    view, masks = ViewRates(**config.view), MaskRates(**config.masks)
    tx = make_optimizer(1e-3, warmup_steps=1, total_steps=10)
    step = make_step(
        lambda key, data: pose_example(key, data, view, masks),
        make_loss(spec, config.loss, bodies.statistics.spread),
        tx,
        batch_size=batch,
        ema_decay=config.train.ema_decay,
    )
    key = jax.random.key(0)
    params = jax.eval_shape(lambda key: released.init_params(key, spec), key)
    state = jax.eval_shape(lambda key, params: init_state(key, params, tx), key, params)
    return Lowered(jax.jit(step.whole, donate_argnums=0).lower(state, bodies), state)


def costs(config: ConfigDict, batches: tuple[int, int] = _BATCHES) -> Costs:
    """What XLA counts of the compiled step at two batches."""
    bodies = random_bodies()
    operations, moved, temporaries = [], [], []
    for batch in batches:
        one = lowered(config, batch, bodies)
        program = one.step.compile()
        counted: Any = program.cost_analysis()
        memory: Any = program.memory_analysis()
        operations.append(counted["flops"])
        moved.append(counted["bytes accessed"])
        temporaries.append(memory.temp_size_in_bytes)
    params = one.state.params
    frames = [leaf for leaf in (bodies.joints, bodies.carriers, bodies.person) if leaf is not None]
    return Costs(
        parameters=sum(leaf.size for leaf in jax.tree.leaves(params)),
        operations=line(batches, operations),
        moved=line(batches, moved),
        temporaries=line(batches, temporaries),
        by_hand=training_operations(params, examples=1, draws=config.loss.num_draws),
        state=num_bytes(one.state.replace(key=())),
        reduced=num_bytes(params),
        row=sum(leaf.nbytes for leaf in frames) // _FRAMES,
    )


def line(places: tuple[int, int], values: Sequence[float]) -> Line:
    """Through two points."""
    each = (values[1] - values[0]) / (places[1] - places[0])
    return Line(values[0] - places[0] * each, each)


def num_bytes(tree: Any) -> int:
    """Of all arrays."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


class Step(NamedTuple):
    """Seconds of a step: of its operations, of its memory traffic, of the all-reduce; and altogether."""

    products: float
    memory: float
    reduce: float

    @property
    def total(self) -> float:
        return max(self.products, self.memory) + self.reduce


def least_moved(cost: Costs) -> Line:
    """Bytes of memory traffic of b examples: state, gradient and temporaries are read and written once."""
    return Line(2.0 * (cost.state + cost.reduced), 2.0 * cost.temporaries.each)


def step_on(cost: Costs, machine: Machine, batch: float) -> Step:
    """A step with `batch` examples on each device."""
    return Step(
        cost.operations.at(batch) / (UTILISATION * machine.peak),
        least_moved(cost).at(batch) / (OF_BANDWIDTH * machine.bandwidth),
        2 * (machine.devices - 1) / machine.devices * cost.reduced / (OF_LINK * machine.link),
    )


def break_even(cost: Costs, machine: Machine) -> float:
    """Examples a device whose products take as long as the all-reduce."""
    reduce = step_on(cost, machine, 0).reduce
    return (reduce * UTILISATION * machine.peak - cost.operations.once) / cost.operations.each


def largest_batch(cost: Costs, machine: Machine, *, sharded: bool) -> float:
    """Examples a device that fit its memory: state sharded over the devices and weights gathered, or a copy on each."""
    state = cost.state / machine.devices + cost.reduced if sharded else cost.state
    return max(0.0, (machine.memory - state - max(cost.temporaries.once, cost.reduced)) / cost.temporaries.each)


def tables(found: dict[str, tuple[Costs, int]]) -> dict[str, str]:
    """Markdown of the counts; of one global batch over more devices; of one batch a device."""
    counts, strong, weak = [], [], []
    for name, (cost, batch) in found.items():
        counts.append(
            (
                name,
                f"{cost.parameters / 1e6:.1f}",
                f"{cost.operations.each / 1e6:.4g}",
                f"{cost.by_hand / 1e6:.4g}",
                f"{cost.operations.once / 1e6:.4g}",
                f"{cost.moved.each / 1e6:.3g}",
                f"{cost.moved.once / 1e6:.4g}",
                f"{cost.temporaries.each / 1e6:.3g}",
                f"{cost.state / 1e6:.4g}",
                f"{cost.reduced / 1e6:.4g}",
                f"{ROWS * cost.row}",
            )
        )
        for machine in MACHINES:
            even, share = break_even(cost, machine), batch / machine.devices
            strong.append((name, machine.name, f"{share:.4g}", *_times(cost, machine, share), f"{even:.3g}"))
            fits = [_whole(largest_batch(cost, machine, sharded=sharded)) for sharded in (False, True)]
            weak.append((name, machine.name, *_times(cost, machine, _WEAK), *fits, _input(cost, machine)))
    times = ("products, ms", "memory, ms", "all-reduce, ms", "examples/s")
    return {
        "counts": _table(
            (
                *("network", "parameters, M", "operations an example, M", "of them products by hand, M"),
                *(
                    "operations a step, M",
                    "MB moved an example (CPU)",
                    "MB moved a step (CPU)",
                    "MB of temporaries an example",
                ),
                *("MB of state", "MB all-reduced", "bytes read an example"),
            ),
            counts,
        ),
        "strong": _table(("network", "machine", "examples a device", *times, "break-even, examples a device"), strong),
        "weak": _table(
            ("network", "machine", *times, "fit, state copied", "fit, state sharded", "MB/s read a host"), weak
        ),
    }


def _times(cost: Costs, machine: Machine, batch: float) -> tuple[str, ...]:
    step = step_on(cost, machine, batch)
    rate = machine.devices * batch / step.total
    return *(f"{1e3 * seconds:.3g}" for seconds in step[:3]), f"{rate:.3g}"


def _input(cost: Costs, machine: Machine) -> str:
    rate = machine.devices * _WEAK / step_on(cost, machine, _WEAK).total
    return f"{ROWS * cost.row * rate / machine.hosts / 1e6:.3g}"


def _whole(batch: float) -> str:
    return f"{batch:.3g}" if batch >= 1 else "none"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the command."""

    document: str | None = option(None, "Page whose tables to write, such as docs/scale.md.")


def main(options: Options) -> int:
    """Print the tables."""
    found = {config.name: (costs(config), config.train.batch_size) for config in (pose17.get_config(), large())}
    made = tables(found)
    for name, text in made.items():
        print(f"{name}\n{text}\n", flush=True)
    if options.document:
        about = f"`python -m experiments.scale`, JAX {jax.__version__}, counted on {jax.devices()[0].device_kind}:"
        document(Path(options.document), about, made)
    return 0


if __name__ == "__main__":
    run("scale", main, Options, __doc__)
