"""Products without a precision take rounded operands, as on a TPU or an H100: `pytest -p rounded_products`.

PRODUCTS=bfloat16 or tensorfloat32 says which. A float32 product that names a precision is left as it is: so these chips
multiply, but for the order of sums. `PRODUCTS=bfloat16 python tests/rounded_products.py` prints how far points 5 m away
move by a product without a precision, and by `world_to_camera`.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core.primitives import dot_general_p

BITS = {"bfloat16": (8, 7), "tensorfloat32": (8, 10)}[os.environ["PRODUCTS"]]  # of the exponent and of the fraction

exact = dot_general_p.bind


def rounded(a, b, *, precision, **parameters):
    if precision is None and a.dtype == b.dtype == "float32":
        a, b = (jax.lax.reduce_precision(x, *BITS) for x in (a, b))
    return exact(a, b, precision=precision, **parameters)


dot_general_p.bind = rounded

if __name__ == "__main__":
    from scipy.spatial.transform import Rotation

    from jaxpose.geometry.camera import world_to_camera

    rng = np.random.default_rng(0)
    R = Rotation.random(1000, rng).as_matrix().astype(np.float32)
    x = rng.normal((0, 0, 5), 0.5, (1000, 17, 3)).astype(np.float32)
    truth = np.einsum("nij,nkj->nki", R.astype(float), x.astype(float))
    plain = jnp.einsum("nij,nkj->nki", R, x)
    for name, seen in (
        ("without a precision", plain),
        ("world_to_camera", world_to_camera(R, jnp.zeros((1000, 3)), x)),
    ):
        off = 1000 * np.linalg.norm(np.asarray(seen) - truth, axis=-1)
        print(f"{os.environ['PRODUCTS']}, {name}: off by {off.mean():.4f} mm in the mean, {off.max():.4f} at most")
