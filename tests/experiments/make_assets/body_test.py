"""The baked body is what its generator makes."""

import numpy as np

from experiments.make_assets import body
from jaxpose.geometry.body import PARENTS
from jaxpose.io.arrays import load_arrays
from jaxpose.io.capsule_body import ASSET, capsule_body


def test_the_asset_is_what_the_generator_makes():
    """The same indices; numbers to 1e-9 of their size, since another processor rounds `exp` in another way."""
    made, kept = body.baked(), load_arrays(ASSET)
    assert set(made) == set(kept)
    for name, array in made.items():
        assert array.dtype == kept[name].dtype, name
        if array.dtype.kind == "f":
            tolerance = 1e-9 if array.dtype == np.float64 else 1e-6
            np.testing.assert_allclose(kept[name], array, rtol=0, atol=tolerance, err_msg=name)
        else:
            np.testing.assert_array_equal(kept[name], array, err_msg=name)


def test_the_asset_restores_whole_bodies():
    """Every table of every kind, which the asset stores in part once for all kinds."""
    for kind in PARENTS:
        made, read = body.make_capsule_body(kind), capsule_body(kind)
        pairs = [(name, getattr(made, name), getattr(read, name)) for name in made.__dataclass_fields__]
        for name, a, b in pairs:
            if name == "landmarks":
                assert (a is None) == (b is None) == (kind != "smplx")
                pairs += [] if a is None else [(n, getattr(a, n), getattr(b, n)) for n in a.__dataclass_fields__]
            elif name in ("kind", "parents"):
                assert a == b
            else:
                assert a.dtype == b.dtype, name
                np.testing.assert_allclose(b, a, rtol=0, atol=1e-6, err_msg=f"{kind} {name}")
