"""Traced functions as ONNX graphs: onnxruntime computes what numpy does."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.app.to_onnx.graph import model_of

pytest.importorskip("onnx", reason="extra [onnx]")
onnxruntime = pytest.importorskip("onnxruntime", reason="extra [onnx]")
F32 = jnp.float32


def converted(run, weights, **inputs):
    specs = {k: jax.ShapeDtypeStruct(v.shape, v.dtype) for k, v in inputs.items()}
    made = model_of(run, weights, specs, {"of": "a test"})
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return made, dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)


# name -> (function in JAX, the same in numpy)
ARITHMETIC = {
    "clamped": (lambda x: jnp.clip(x, -0.5, 0.7), lambda x: np.clip(x, -0.5, 0.7)),
    "powers": (lambda x: x**2 + x**3 + jnp.square(x), lambda x: 2 * x**2 + x**3),
    "roots": (lambda x: jax.lax.rsqrt(jnp.abs(x)) + jnp.sqrt(abs(x)), lambda x: abs(x) ** -0.5 + abs(x) ** 0.5),
    "chosen": (lambda x: jnp.where((x > 0) & (x <= 1), x, -1.0), lambda x: np.where((x > 0) & (x <= 1), x, -1)),
    "finite": (lambda x: jnp.isfinite(1 / (x * 0)).any() | jnp.isfinite(x).all(-1), lambda x: np.isfinite(x).all(-1)),
    "wave": (lambda x: jnp.tanh(x) + jnp.sin(x) * jnp.cos(x), lambda x: np.tanh(x) + np.sin(2 * x) / 2),
    "extremes": (lambda x: x.max(1) - x.min(1), lambda x: x.max(1) - x.min(1)),
    "counted": (lambda x: (x > 0).sum((0, 2)).astype(F32), lambda x: (x > 0).sum((0, 2)).astype(np.float32)),
}
SHAPES = {
    "turned": (lambda x: x.transpose(2, 0, 1).reshape(5, 12), lambda x: x.transpose(2, 0, 1).reshape(5, 12)),
    "part": (lambda x: x[1:, ::2, 3], lambda x: x[1:, ::2, 3]),
    "joined": (lambda x: jnp.concatenate([x, x[:1] * 2], 0), lambda x: np.concatenate([x, x[:1] * 2], 0)),
    "stacked": (lambda x: jnp.stack([x[..., 0], -x[..., 1]], 1), lambda x: np.stack([x[..., 0], -x[..., 1]], 1)),
    "unstacked": (
        lambda x: jnp.unstack(x, axis=1)[2] - jnp.unstack(x * 0 + x[:1], axis=1)[0],
        lambda x: x[:, 2] - x[0, 0],
    ),
    # axes that a broadcast leaves at size 1 inside the graph, in each operation that must see their full size
    "wide sum": (lambda x: jnp.broadcast_to(x[:1], (7, 4, 5)).sum(0), lambda x: 7 * x[0]),
    "wide parts": (lambda x: jnp.repeat(x[0], 3, -1)[:, 2:9], lambda x: np.repeat(x[0], 3, -1)[:, 2:9]),
    "padded": (
        lambda x: jnp.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=3),
        lambda x: np.pad(x, ((1, 0), (0, 2), (0, 0)), constant_values=3),
    ),
    "wide joined": (lambda x: jnp.concatenate([x * 0 + x[:1], x]), lambda x: np.concatenate([x * 0 + x[:1], x])),
    "wide product": (lambda x: (x * 0 + x[:1]) @ x[0].T, lambda x: (x * 0 + x[:1]) @ x[0].T),
    "batched": (lambda x: jnp.einsum("hij,hik->jhk", x, x), lambda x: np.einsum("hij,hik->jhk", x, x)),
    "inner": (lambda x: jnp.einsum("hij,ij->h", x, x[0]), lambda x: np.einsum("hij,ij->h", x, x[0])),
    "ordered": (lambda x: jnp.sort(x, 1), lambda x: np.sort(x, 1)),
    "taken": (lambda x: x[jnp.array([2, 0])], lambda x: x[[2, 0]]),
    "quantile": (lambda x: jnp.quantile(x, 0.9, axis=0), lambda x: np.quantile(x, 0.9, axis=0)),
}


@pytest.mark.parametrize("cases", [ARITHMETIC, SHAPES], ids=["arithmetic", "shapes"])
def test_every_operation_is_numpys(x, cases):
    _, found = converted(lambda weights, x: {k.replace(" ", "_"): f(x) for k, (f, _) in cases.items()}, {}, x=x)
    for name, (_, expected) in cases.items():
        np.testing.assert_allclose(found[name.replace(" ", "_")], expected(x), rtol=2e-6, atol=2e-6, err_msg=name)


def test_missing_numbers_are_found(x):
    x[1, 2, 3] = np.nan
    _, found = converted(lambda weights, x: {"clean": jnp.where(jnp.isfinite(x), x, 0), "odd": (x != x)}, {}, x=x)
    np.testing.assert_array_equal(found["clean"], np.nan_to_num(x))
    np.testing.assert_array_equal(found["odd"], np.isnan(x))


def test_weights_are_stored_once_and_in_half_where_it_holds_them(x):
    """Two products with one matrix are one node; what depends on constants alone is no node at all."""
    rng = np.random.default_rng(1)
    narrow = np.asarray(jnp.asarray(rng.normal(size=(5, 6)), jnp.bfloat16), np.float32)
    wide = rng.normal(size=(6, 2)).astype(np.float32)

    def run(weights, x):
        twice = x @ weights[0] + jax.jit(jnp.matmul)(x, weights[0])
        return {"y": jnp.exp(jnp.arange(2.0)).sum() * twice @ weights[1], "z": x @ weights[0]}

    made, found = converted(run, {"narrow": narrow, "wide": wide, "unused": wide}, x=x)
    np.testing.assert_allclose(found["y"], (1 + np.e) * 2 * x @ narrow @ wide, rtol=1e-4)
    kinds = [node.op_type for node in made.graph.node]
    assert kinds.count("MatMul") == 2
    assert not {"Exp", "ReduceSum"} & set(kinds)
    sizes = {i.name: len(i.raw_data) for i in made.graph.initializer if i.name in ("narrow", "wide", "unused")}
    assert sizes == {"narrow": 2 * narrow.size, "wide": 4 * wide.size}
    assert {p.key: p.value for p in made.metadata_props} == {"of": "a test"}
