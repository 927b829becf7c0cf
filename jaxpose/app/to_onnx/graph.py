"""A traced function as an ONNX graph (opset 18), operation by operation; for functions of fixed shapes without loops.

A jaxpr is already a list of array operations with known shapes, and each of those in OPERATIONS is one or two of ONNX:

    what depends on nothing but constants is computed here and kept as a constant
    equal operations on equal values are one node, so a branch that two calls of a network share is computed once
    a broadcast is a reshape to size 1: elementwise operations of ONNX repeat axes of size 1 themselves

Weights are initialisers, stored once as float16 where that holds them: bfloat16 numbers, which released weights are,
lose less than 6e-8 of their absolute value below 6e-5 and nothing above. Computation is in float32.

The package jax2onnx 0.17 converts the same sampler as exactly. Its file of pose17_fast has 22 MB and 2,258 nodes, since
weights are float32 and some twice there; this one has 7 MB and 870. It takes 40 s to make and twice as long to run (8.3
and 4.2 ms, onnxruntime 1.32, one thread), and brings 11 packages and an orbax older than the one that training uses.

Sources: https://docs.jax.dev/en/latest/jaxpr.html, https://onnx.ai/onnx/operators/
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax.extend.core import Literal

from jaxpose.reading import package

OPSET = 18
_HALF = 2.0**-24  # the largest rounding of a number that float16 holds as a subnormal, and of bfloat16 numbers at all


class Value(NamedTuple):
    """A tensor of the graph. shape: its own, which has 1 in the place of axes that were broadcast."""

    name: str
    shape: tuple[int, ...]


Known: TypeAlias = Value | np.ndarray  # a tensor, or a constant of the trace


class Graph:
    """Nodes and constants as they are found; equal ones are kept once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = {}
        self._names: dict[Any, str] = {}

    def add(self, op: str, *inputs: Known | None, shape: Sequence[int], **attributes: Any) -> Value:
        """The output of a node."""
        from onnx import helper

        names = tuple("" if x is None else self.name(x) for x in inputs)
        key = (op, names, tuple(sorted((k, str(v)) for k, v in attributes.items())))
        if key not in self._names:
            outputs = [f"v{len(self.nodes)}"] + ([f"i{len(self.nodes)}"] if op == "TopK" else [])
            self.nodes.append(helper.make_node(op, names, outputs, **attributes))
            self._names[key] = outputs[0]
        return Value(self._names[key], tuple(shape))

    def name(self, x: Known) -> str:
        """The name of a value; a constant becomes an initialiser."""
        if isinstance(x, Value):
            return x.name
        key = (x.dtype.str, x.shape, x.tobytes())
        if key not in self._names:
            self._names[key] = f"c{len(self.constants)}"
            self.constants[self._names[key]] = x
        return self._names[key]

    def reshape(self, x: Known, shape: Sequence[int]) -> Known:
        """x with its elements in another shape."""
        if isinstance(x, np.ndarray):
            return x.reshape(shape)
        if x.shape == tuple(shape):
            return x
        return self.add("Reshape", x, _integers(shape), shape=shape)

    def full(self, x: Known, shape: Sequence[int]) -> Known:
        """x with its broadcast axes repeated."""
        if isinstance(x, np.ndarray):
            return np.broadcast_to(x, shape)
        return x if x.shape == tuple(shape) else self.add("Expand", x, _integers(shape), shape=shape)


def model_of(
    run: Callable[..., Mapping[str, Any]],
    weights: Mapping[str, np.ndarray],
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    metadata: Mapping[str, str],
) -> Any:
    """onnx.ModelProto of run(weights, *inputs) -> outputs by name, where weights is a list in the mapping's order.

    ValueError for an operation that is not in OPERATIONS, and without the package onnx.
    """
    onnx = package("onnx", "an ONNX file needs the package onnx", "onnx")
    from onnx import helper, numpy_helper

    specs = [jax.ShapeDtypeStruct(w.shape, w.dtype) for w in weights.values()]
    closed, outputs = jax.make_jaxpr(run, return_shape=True)(specs, *inputs.values())
    graph, stored = Graph(), {name: _stored(w) for name, w in weights.items()}
    given: list[Known] = []
    for name, weight in stored.items():
        value = Value(name, weight.shape)
        half = weight.dtype == np.float16
        given.append(graph.add("Cast", value, shape=value.shape, to=onnx.TensorProto.FLOAT) if half else value)
    given += [Value(name, tuple(spec.shape)) for name, spec in inputs.items()]
    results = _evaluate(graph, closed.jaxpr, [np.asarray(c) for c in closed.consts], given)
    shapes = dict(zip(sorted(outputs), jax.tree.leaves(outputs), strict=True))
    for (name, spec), result in zip(shapes.items(), results, strict=True):
        graph.nodes.append(helper.make_node("Identity", [graph.name(graph.full(result, spec.shape))], [name]))
    nodes = _needed(graph.nodes, set(outputs), lambda node: (node.input, node.output))
    used = {name for node in nodes for name in node.input}
    constants = {k: v for k, v in (stored | graph.constants).items() if k in used}
    tensors = [numpy_helper.from_array(np.array(v, order="C"), k) for k, v in constants.items()]
    # version 8 is of opset 18; the newest that every onnxruntime since 1.14 reads
    how: dict[str, Any] = {"opset_imports": [helper.make_opsetid("", OPSET)], "ir_version": 8}
    whole = helper.make_graph(nodes, "jaxpose", _infos(inputs), _infos(shapes), tensors)
    made = helper.make_model(whole, **how, producer_name="jaxpose")
    helper.set_model_props(made, dict(metadata))
    onnx.checker.check_model(made, full_check=True)
    return made


def _infos(specs: Mapping[str, jax.ShapeDtypeStruct]) -> list[Any]:
    from onnx import helper

    kinds = {name: helper.np_dtype_to_tensor_dtype(np.dtype(spec.dtype)) for name, spec in specs.items()}
    return [helper.make_tensor_value_info(name, kinds[name], spec.shape) for name, spec in specs.items()]


def _stored(weight: np.ndarray) -> np.ndarray:
    half = weight.astype(np.float16)
    exact = weight.dtype == np.float32 and (abs(half.astype(np.float32) - weight) <= _HALF).all()
    return half if exact and weight.size > 1 else weight


def _needed(nodes: Sequence[Any], wanted: set[Any], sides: Callable[[Any], tuple[Any, Any]]) -> list[Any]:
    """The nodes on which what is wanted depends; sides: the inputs and the outputs of one."""
    kept = []
    for node in reversed(nodes):
        inputs, outputs = sides(node)
        if wanted & set(outputs):
            kept.append(node)
            wanted |= set(inputs)
    return kept[::-1]


def _evaluate(graph: Graph, jaxpr: Any, consts: Sequence[Known], args: Sequence[Known]) -> list[Known]:
    values: dict[Any, Known] = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*consts, *args], strict=True))

    def read(x: Any) -> Known:
        if not isinstance(x, Literal):
            return values[x]
        aval: Any = x.aval
        return np.asarray(x.val, aval.dtype)

    def variables(x: Sequence[Any]) -> list[Any]:
        return [v for v in x if not isinstance(v, Literal)]

    wanted = set(variables(jaxpr.outvars))
    for eqn in _needed(jaxpr.eqns, wanted, lambda eqn: (variables(eqn.invars), eqn.outvars)):
        operands, name = [read(x) for x in eqn.invars], eqn.primitive.name
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        if name in _CALLS and inner is not None:
            results = _evaluate(graph, inner.jaxpr, [np.asarray(c) for c in inner.consts], operands)
        elif all(isinstance(x, np.ndarray) for x in operands):
            result = eqn.primitive.bind(*operands, **eqn.params)
            results = [np.asarray(r) for r in (result if eqn.primitive.multiple_results else [result])]
        elif name in OPERATIONS:
            result = OPERATIONS[name](graph, eqn, *operands)
            results = result if isinstance(result, list) else [result]
        else:
            raise ValueError(
                f"the operation {name!r} of this sampler has no ONNX form here; must be one of {sorted(OPERATIONS)}"
            )
        values |= dict(zip(eqn.outvars, results, strict=True))
    return [read(x) for x in jaxpr.outvars]


_CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")
Operation: TypeAlias = Callable[..., Any]  # a result, or a list of results where the primitive has several


def _elementwise(op: str) -> Operation:
    return lambda graph, eqn, *xs: _each(graph, op, *xs)


def _each(graph: Graph, op: str, *xs: Known, **attributes: Any) -> Value:
    return graph.add(op, *xs, shape=np.broadcast_shapes(*(x.shape for x in xs)), **attributes)


def _power(graph: Graph, eqn: Any, x: Known) -> Known:
    y = eqn.params.get("y", 2)
    return _each(graph, "Mul", x, x) if y == 2 else _each(graph, "Pow", x, _scalar(y, eqn))


def _select(graph: Graph, eqn: Any, which: Known, *cases: Known) -> Known:
    if len(cases) != 2 or eqn.invars[0].aval.dtype != bool:
        raise ValueError(f"select_n: needed a choice of two by a truth value, got {eqn.invars}")
    return _each(graph, "Where", which, cases[1], cases[0])


def _cast(graph: Graph, eqn: Any, x: Known) -> Known:
    from onnx import helper

    to = helper.np_dtype_to_tensor_dtype(np.dtype(eqn.params["new_dtype"]))
    return x if eqn.invars[0].aval.dtype == eqn.params["new_dtype"] else _each(graph, "Cast", x, to=to)


def _broadcast(graph: Graph, eqn: Any, x: Known) -> Known:
    shape = [1] * len(eqn.params["shape"])
    for axis, size in zip(eqn.params["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return graph.reshape(x, shape)


def _reshape(graph: Graph, eqn: Any, x: Known) -> Known:
    aval, result = eqn.invars[0].aval, eqn.outvars[0].aval
    if [n for n in aval.shape if n != 1] == [n for n in result.shape if n != 1]:  # only axes of size 1 come and go
        sizes = iter([size for size, n in zip(x.shape, aval.shape, strict=True) if n != 1])
        return graph.reshape(x, [1 if n == 1 else next(sizes) for n in result.shape])
    return graph.reshape(graph.full(x, aval.shape), result.shape)


def _slice(graph: Graph, eqn: Any, x: Known) -> Known:
    p, aval = eqn.params, eqn.outvars[0].aval
    strides = p["strides"] or (1,) * len(x.shape)
    axes = [a for a, n in enumerate(x.shape) if n != aval.shape[a] and n != 1]
    if not axes:
        return x
    pick = [_integers([values[a] for a in axes]) for values in (p["start_indices"], p["limit_indices"])]
    shape = [aval.shape[a] if a in axes else n for a, n in enumerate(x.shape)]
    return graph.add("Slice", x, *pick, _integers(axes), _integers([strides[a] for a in axes]), shape=shape)


def _concatenate(graph: Graph, eqn: Any, *xs: Known) -> Known:
    """The arrays one after another; of `stack` each with an axis of size 1 more."""
    stacked, shape = "axis" in eqn.params, eqn.outvars[0].aval.shape
    axis = eqn.params["axis" if stacked else "dimension"]
    parts = [graph.full(x, v.aval.shape) for x, v in zip(xs, eqn.invars, strict=True)]
    parts = [graph.reshape(x, [*shape[:axis], 1, *shape[axis + 1 :]]) for x in parts] if stacked else parts
    return graph.add("Concat", *parts, shape=shape, axis=axis)


def _unstack(graph: Graph, eqn: Any, x: Known) -> list[Known]:
    axis, shape, full = eqn.params["axis"], eqn.outvars[0].aval.shape, graph.full(x, eqn.invars[0].aval.shape)
    return [graph.add("Gather", full, np.asarray(i), shape=shape, axis=axis) for i in range(len(eqn.outvars))]


def _pad(graph: Graph, eqn: Any, x: Known, value: Known) -> Known:
    low, high, between = zip(*eqn.params["padding_config"], strict=True)
    if any(between) or min(low + high) < 0:
        raise ValueError(f"pad: got {eqn.params['padding_config']}; needed values around an array alone")
    full = graph.full(x, eqn.invars[0].aval.shape)
    return graph.add("Pad", full, _integers([*low, *high]), value, shape=eqn.outvars[0].aval.shape)


def _reduce(op: str) -> Operation:
    def convert(graph: Graph, eqn: Any, x: Known) -> Known:
        from onnx import TensorProto

        full, shape = graph.full(x, eqn.invars[0].aval.shape), eqn.outvars[0].aval.shape
        truth = eqn.invars[0].aval.dtype == bool
        if truth:  # as 0 and 1: of truth values only newer opsets have these
            full = _each(graph, "Cast", full, to=TensorProto.FLOAT)
        reduced = graph.add(op, full, _integers(eqn.params["axes"]), shape=shape, keepdims=0)
        return _each(graph, "Cast", reduced, to=TensorProto.BOOL) if truth else reduced

    return convert


def _dot(graph: Graph, eqn: Any, a: Known, b: Known) -> Known:
    """A product of matrices [batch..., free, contracted] [batch..., contracted, free]."""
    (sum_a, sum_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    shape_a, shape_b = (v.aval.shape for v in eqn.invars)
    free_a, free_b = _others(shape_a, sum_a, batch_a), _others(shape_b, sum_b, batch_b)
    contracted, lead = _size(shape_a, sum_a), [shape_a[i] for i in batch_a]
    a = _moved(graph, graph.full(a, shape_a), [*batch_a, *free_a, *sum_a])
    b = _moved(graph, graph.full(b, shape_b), [*batch_b, *sum_b, *free_b])
    a = graph.reshape(a, [*lead, _size(shape_a, free_a), contracted])
    b = graph.reshape(b, [*lead, contracted, _size(shape_b, free_b)])
    product = graph.add("MatMul", a, b, shape=[*lead, a.shape[-2], b.shape[-1]])
    return graph.reshape(product, eqn.outvars[0].aval.shape)


def _moved(graph: Graph, x: Known, axes: list[int]) -> Known:
    if axes == sorted(axes):
        return x
    if isinstance(x, np.ndarray):
        return x.transpose(axes)
    return graph.add("Transpose", x, shape=[x.shape[a] for a in axes], perm=axes)


def _sort(graph: Graph, eqn: Any, x: Known) -> Known:
    axis, shape = eqn.params["dimension"], eqn.invars[0].aval.shape
    full = graph.full(x, shape)
    return graph.add("TopK", full, _integers([shape[axis]]), shape=shape, axis=axis, largest=0)


def _gather(graph: Graph, eqn: Any, x: Known, indices: Known) -> Known:
    """The one form of a gather that is numpy's take."""
    p, shape, result = eqn.params["dimension_numbers"], eqn.invars[0].aval.shape, eqn.outvars[0].aval.shape
    lead = indices.shape[:-1]
    (axis,) = p.collapsed_slice_dims if len(p.collapsed_slice_dims) == 1 else (None,)
    batch = _others(result, p.offset_dims)
    if axis is None or p.start_index_map != (axis,) or batch != list(range(axis, axis + len(lead))):
        raise ValueError(f"gather: needed indices along one axis, got {p}")
    return graph.add("Gather", graph.full(x, shape), graph.reshape(indices, lead), shape=result, axis=axis)


def _others(shape: Sequence[int], *axes: Sequence[int]) -> list[int]:
    return [i for i in range(len(shape)) if not any(i in a for a in axes)]


def _size(shape: Sequence[int], axes: Sequence[int]) -> int:
    return int(np.prod([shape[i] for i in axes], dtype=int))


def _integers(values: Sequence[int]) -> np.ndarray:
    return np.asarray(values, np.int64)


def _scalar(value: float, eqn: Any) -> np.ndarray:
    return np.asarray(value, eqn.invars[0].aval.dtype)


_SAME_NAME = "add sub mul div max min neg abs sqrt exp log tanh sin cos floor ceil and or not"
_ELEMENTWISE = {name: name.capitalize() for name in _SAME_NAME.split()} | {
    "logistic": "Sigmoid",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
    "copy": "Identity",
    "stop_gradient": "Identity",
}
# name of a JAX primitive -> (graph, equation, operands) -> its result
OPERATIONS: dict[str, Operation] = {name: _elementwise(op) for name, op in _ELEMENTWISE.items()} | {
    "square": _power,
    "integer_pow": _power,
    "rsqrt": lambda graph, eqn, x: _each(graph, "Reciprocal", _each(graph, "Sqrt", x)),
    "ne": lambda graph, eqn, x, y: _each(graph, "Not", _each(graph, "Equal", x, y)),
    "is_finite": lambda graph, eqn, x: _each(graph, "Less", _each(graph, "Abs", x), _scalar(np.inf, eqn)),
    "clamp": lambda graph, eqn, low, x, high: _each(graph, "Min", _each(graph, "Max", x, low), high),
    "select_n": _select,
    "convert_element_type": _cast,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "transpose": lambda graph, eqn, x: _moved(graph, x, list(eqn.params["permutation"])),
    "slice": _slice,
    "concatenate": _concatenate,
    "stack": _concatenate,
    "unstack": _unstack,  # of JAX 0.12
    "pad": _pad,
    "reduce_sum": _reduce("ReduceSum"),
    "reduce_max": _reduce("ReduceMax"),
    "reduce_min": _reduce("ReduceMin"),
    "reduce_and": _reduce("ReduceMin"),
    "reduce_or": _reduce("ReduceMax"),
    "dot_general": _dot,
    "sort": _sort,
    "gather": _gather,
}
