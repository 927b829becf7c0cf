"""Products of small matrices as sums of element products: float32 to the last digits on every device.

    (a b)_ij = sum_k a_ik b_kj

Where a float32 product names no precision, a TPU multiplies operands rounded to bfloat16 and an H100 to TF32: a point
5 m away moves by up to 30 mm. Sums of element products run on the vector units, which round to float32. Products of
matrices above 4 x 4 name `precision="highest"` instead; only those of networks are left to the device.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from jaxpose.base import Array


@functools.partial(jax.jit, inline=True)
def product(a: Any, b: Any) -> Array:
    """The product [..., I, J] of matrices [..., I, K] and [..., K, J] with few columns K; leading axes broadcast."""
    return sum(a[..., :, k, None] * b[..., k, None, :] for k in range(a.shape[-1]))


def turned(R: Any, x: Any) -> Array:
    """R x for each row of x [..., K, 3], with matrices R [..., 3, 3]; leading axes broadcast."""
    return product(x, jnp.swapaxes(R, -1, -2))


def split(x: Array, axis: int = 0) -> list[Array]:
    """The parts of x along an axis, which is left out; the gradient is one concatenation."""
    return [part.squeeze(axis) for part in jax.lax.split(x, (1,) * x.shape[axis], axis)]


@jax.custom_jvp
def times(a: Array, b: Array) -> Array:
    """a @ b of [J, 3, 3, N] and [J, 3, K, N]: bodies are the last axis, which is long."""
    return times_fixed(a, b)


@times.defjvp
def _times_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (a, b), (da, db) = primals, tangents
    return times(a, b), fixed_times(da, b) + times_fixed(a, db)


def times_fixed(a: Array, b: Array) -> Array:
    """a @ b, linear in b, with the gradient of a sum of rows."""
    rows = split(b, 1)
    return jnp.stack([sum(a[:, i, k, None] * rows[k] for k in range(3)) for i in range(3)], 1)


def fixed_times(a: Array, b: Array) -> Array:
    """a @ b, linear in a, with the gradient of a sum of columns."""
    columns = split(a, 2)
    return jnp.stack([sum(columns[k] * b[:, k, None, j] for k in range(3)) for j in range(b.shape[2])], 2)


def unit(v: Array) -> Array:
    """The unit vectors of v [..., D]."""
    return v / jnp.linalg.norm(v, axis=-1, keepdims=True)
