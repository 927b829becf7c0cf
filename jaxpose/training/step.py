"""One optimiser step on examples made on the device.

    example_i = example_fn(k_i', data)        k_i = fold_in(fold_in(key, n), i),  (k_i', k_i'') = split(k_i)
    g         = d/dparams  1/B sum_i loss_fn(params, k_i'', example_i)
    params   += tx(g),     ema = d ema + (1 - d) params,   d = min(decay, (1 + n) / (10 + n))

n is the step, i the index in the global batch of B examples. Random numbers depend on (key, n, i) alone, so the result
does not depend on the number of devices, on the number of slices of a device's share, or on where a run was
interrupted. The warm-up of the decay is that of TensorFlow's ExponentialMovingAverage.

The optimiser is Adam (Kingma & Ba, 2015) with decoupled weight decay (Loshchilov & Hutter, 2019) and global-norm
clipping; its rate warms up and then decays (cosine: Loshchilov & Hutter, 2017):

    lr(n) = peak n / warmup                                           n < warmup
    lr(n) = peak (1 + cos(pi u)) / 2                                  u = (n - warmup) / (total - warmup)
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxpose.base import Array, Key
from jaxpose.training.streaming import with_row

Params: TypeAlias = Any  # a pytree of float arrays
Data: TypeAlias = Any  # a pytree of arrays: the data set, resident on every device; or a Gathered
Metrics: TypeAlias = dict[str, Array]

# (key, data) -> one training example, any pytree; (params, key, example) -> its loss and scalar metrics.
ExampleFn: TypeAlias = Callable[[Key, Data], Any]
LossFn: TypeAlias = Callable[[Params, Key, Any], tuple[Array, Metrics]]

_LANES = 128  # a TPU works on 8 x 128 numbers; a batch of two axes, which fill them, halves the cycles of examples
_SLICE_ON_CPU = 256  # examples (python -m experiments.benchmark --case=training --accumulate=...)
Schedule: TypeAlias = Literal["cosine", "constant", "steps"]
OWN_METRICS = ("loss", "grad_norm", "update_norm")  # of each step; and the learning rate of an `Optimizer`


@flax.struct.dataclass
class TrainState:
    """State of a run: number of the next step, weights, their average, optimiser state, key."""

    step: Array
    params: Params
    ema_params: Params
    opt_state: optax.OptState
    key: Key


class Optimizer(optax.GradientTransformation):
    """A gradient transformation with its learning rate, a function of the step."""

    rate: optax.Schedule

    def __new__(cls, tx: optax.GradientTransformation, rate: optax.Schedule) -> "Optimizer":
        self = super().__new__(cls, *tx)
        self.rate = rate
        return self


class Step(NamedTuple):
    """One optimiser step in two halves, of which the first is shared out over devices.

    gradient: (params, key of the step, first example, data) -> mean gradient and metrics of `share` examples, those of
              numbers first, first + 1, ... in the global batch.
    update:   (state, gradient, metrics) of the whole batch -> the next state, all metrics.
    weights:  params -> what the loss reads of them, in its own type; `gradient` takes either.
    """

    gradient: Callable[[Params, Key, Array, Data], tuple[Params, Metrics]]
    update: Callable[[TrainState, Params, Metrics], tuple[TrainState, Metrics]]
    share: int
    weights: Callable[[Params], Params]

    def whole(self, state: TrainState, data: Data) -> tuple[TrainState, Metrics]:
        """Both halves, on one device."""
        return self.update(state, *self.gradient(state.params, key_of(state), jnp.int32(0), data))


def key_of(state: TrainState) -> Key:
    """The key of the step that comes next."""
    return jax.random.fold_in(state.key, state.step)


def init_state(key: Key, params: Params, tx: optax.GradientTransformation) -> TrainState:
    """State at step 0; copies `params` and `key`, since a runner donates the state's buffers."""
    params = jax.tree.map(jnp.array, params)
    average = jax.tree.map(jnp.array, params)
    return TrainState(jnp.zeros((), jnp.int32), params, average, tx.init(params), jnp.array(key))


def make_step(
    example_fn: ExampleFn,
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    *,
    batch_size: int,
    ema_decay: float,
    ema_warmup: bool = True,
    accumulate: int = 1,
    num_shards: int = 1,
    compute_dtype: Any = None,
) -> Step:
    """One step over a global batch of `batch_size`, of which each of `num_shards` devices takes as many examples.

    Metrics are means over the batch of what `loss_fn` returns, with `loss`, `grad_norm` (before clipping) and
    `update_norm`: one of these is not finite as soon as anything in the state is. `accumulate` cuts a shard's share
    into so many slices, one in memory at a time; 0: as many as the device is fastest with (`num_slices`).
    `compute_dtype` (such as bfloat16) runs linen layers in that type; all else stays float32. ValueError if the batch
    does not divide.
    """
    if accumulate == 0 and batch_size > 0 and batch_size % num_shards == 0:
        accumulate = num_slices(batch_size // num_shards)
    if batch_size <= 0 or accumulate < 1 or batch_size % (num_shards * accumulate):
        raise ValueError(
            f"batch_size must be a positive multiple of num_shards * accumulate = "
            f"{num_shards} * {accumulate}, got {batch_size}"
        )
    loss_fn = loss_fn if compute_dtype is None else _in_dtype(loss_fn, compute_dtype)
    weights = functools.partial(_cast, dtype=compute_dtype)
    share = batch_size // num_shards

    def slice_loss(params: Params, key: Key, first: Array, index: Array, data: Data) -> tuple[Array, Metrics]:
        def one(i: Array) -> tuple[Array, Metrics]:
            key_data, key_loss = jax.random.split(jax.random.fold_in(key, i))
            with jax.named_scope("examples"):
                example = example_fn(key_data, with_row(data, i - first))
            with jax.named_scope("network"):
                return _checked(*loss_fn(params, key_loss, example))

        tiled = jax.default_backend() == "tpu" and len(index) % (8 * _LANES) == 0
        losses, metrics = jax.vmap(jax.vmap(one))(index.reshape(-1, _LANES)) if tiled else jax.vmap(one)(index)
        return jnp.mean(losses), jax.tree.map(jnp.mean, metrics) | {"loss": jnp.mean(losses)}

    def gradient(params: Params, key: Key, first: Array, data: Data) -> tuple[Params, Metrics]:
        def of_slice(index: Array) -> tuple[Params, Metrics]:
            return _wide(jax.grad(slice_loss, has_aux=True)(weights(params), key, first, index, data))

        index = (first + jnp.arange(share)).reshape(accumulate, -1)
        if accumulate == 1:
            return of_slice(index[0])
        zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(of_slice, index[0]))
        add = lambda total, slice_index: (jax.tree.map(jnp.add, total, of_slice(slice_index)), None)  # noqa: E731
        total, _ = jax.lax.scan(add, zeros, index)
        return jax.tree.map(lambda leaf: leaf / accumulate, total)

    @jax.named_scope("optimiser")
    def update(state: TrainState, grads: Params, metrics: Metrics) -> tuple[TrainState, Metrics]:
        updates, opt_state = tx.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        decay = ema_decay_at(state.step, ema_decay) if ema_warmup else ema_decay
        average = jax.tree.map(lambda a, p: (a + (1 - decay) * (p - a)).astype(a.dtype), state.ema_params, params)
        own = {"grad_norm": optax.tree_utils.tree_norm(grads), "update_norm": optax.tree_utils.tree_norm(updates)}
        if isinstance(tx, Optimizer):
            own["learning_rate"] = jnp.asarray(tx.rate(state.step), jnp.float32)
        return TrainState(state.step + 1, params, average, opt_state, state.key), metrics | own

    return Step(gradient, update, share, weights)


def num_slices(share: int) -> int:
    """Into how many slices a share of examples is best cut: on a CPU a slice and its activations stay in the cache."""
    largest = max(size for size in range(1, min(share, _SLICE_ON_CPU) + 1) if share % size == 0)
    return share // largest if jax.default_backend() == "cpu" and largest >= _SLICE_ON_CPU // 8 else 1


def ema_decay_at(step: Array, decay: float) -> Array:
    """Decay used at `step`: min(decay, (1 + step) / (10 + step)), so that the random start fades."""
    return jnp.minimum(decay, (1 + step) / (10 + step))


def _checked(loss: Array, metrics: Metrics) -> tuple[Array, Metrics]:
    """Loss and metrics in float32 or wider; ValueError, at trace time, for what cannot be averaged."""
    if taken := set(metrics) & set(OWN_METRICS):
        raise ValueError(f"metrics of loss_fn must not be named {sorted(taken)}: the step adds {OWN_METRICS} itself")
    for name, value in {"loss": loss, **metrics}.items():
        if jnp.shape(value) != ():
            raise ValueError(f"{name} of one example must be a scalar, got shape {jnp.shape(value)}")
    return _wide((loss, metrics))


def _wide(tree: Any) -> Any:
    return jax.tree.map(lambda v: jnp.asarray(v, jnp.promote_types(jnp.result_type(v), jnp.float32)), tree)


def _cast(tree: Any, dtype: Any) -> Any:
    """Floating numbers of a tree in `dtype`; None: as they are."""
    is_float = lambda x: isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating)  # noqa: E731
    return tree if dtype is None else jax.tree.map(lambda x: x.astype(dtype) if is_float(x) else x, tree)


def _in_dtype(loss_fn: LossFn, dtype: Any) -> LossFn:
    """`loss_fn`, of weights in `dtype`, with every linen layer's inputs cast to it.

    A network's own inputs are not cast, only those of its layers: with 8 bits of mantissa the embedding of time fails,
    and a pose loses millimetres.
    """

    def cast_inputs(next_fun: Any, args: Any, kwargs: Any, context: nn.module.InterceptorContext) -> Any:
        if type(context.module).__module__.startswith("flax.linen"):
            args, kwargs = _cast((args, kwargs), dtype)
        return next_fun(*args, **kwargs)

    def low_precision_loss(params: Params, key: Key, example: Any) -> tuple[Array, Metrics]:
        with nn.intercept_methods(cast_inputs):
            return loss_fn(params, key, example)

    return low_precision_loss


def make_schedule(
    learning_rate: float,
    *,
    warmup_steps: int,
    total_steps: int,
    schedule: Schedule = "cosine",
    decay: float = 1.0,
    decay_every: int = 1,
) -> optax.Schedule:
    """Learning rate at a step: linear to `learning_rate`, then flat, a cosine to 0, or times `decay` at each
    `decay_every` "steps"."""
    if not 0 <= warmup_steps <= total_steps:
        raise ValueError(f"warmup_steps must lie in 0..total_steps = {total_steps}, got {warmup_steps}")
    after = {
        "cosine": optax.cosine_decay_schedule(learning_rate, max(total_steps - warmup_steps, 1)),
        "constant": optax.constant_schedule(learning_rate),
        "steps": optax.exponential_decay(learning_rate, decay_every, decay, staircase=True),
    }
    if schedule not in after:
        raise ValueError(f"schedule must be one of {', '.join(after)}, got {schedule!r}")
    rising = optax.linear_schedule(0.0, learning_rate, max(warmup_steps, 1))
    return optax.join_schedules([rising, after[schedule]], [warmup_steps])


def make_optimizer(rate: optax.Schedule, *, weight_decay: float = 0.0, clip_norm: float | None = 1.0) -> Optimizer:
    """Clip the gradient's global norm to `clip_norm` (None: do not), then AdamW that decays matrices only.

    Steps that are taken with it have the learning rate, that of `rate`, among their metrics.
    """
    matrices = functools.partial(jax.tree.map, lambda p: jnp.ndim(p) > 1)
    adam = optax.adamw(rate, weight_decay=weight_decay, mask=matrices)
    tx = adam if clip_norm is None else optax.chain(optax.clip_by_global_norm(clip_norm), adam)
    return Optimizer(tx, rate)
