"""Where the tests find data: the shared folders, which a plain clone lacks, and the golden files, which it carries.

And how recorded noise is put where a function draws its own, and how a call is held to refuse what it is given.
"""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import jax.numpy as jnp
import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("JAXPOSE_DATA", ROOT / "../shared/data"))
BENCH = DATA.parent / "bench"
GOLDEN = Path(__file__).parent / "golden"


def needs(*paths: Path) -> pytest.MarkDecorator:
    """The mark that skips a test where one of these files or folders is absent."""
    absent = [str(path) for path in paths if not path.exists()]
    return pytest.mark.skipif(bool(absent), reason=f"absent: {', '.join(absent)}; set JAXPOSE_DATA")


needs_bench = needs(BENCH)
needs_mocap = needs(DATA / "mocap")
needs_keypoints = needs(DATA / "keypoints2d")
needs_samples = needs(DATA / "bvh_samples")


def refuses(said: str, call: Callable[..., Any], *given: Any, **named: Any) -> None:
    """Assert that call(*given, **named) raises a ValueError whose message matches the expression `said`."""
    with pytest.raises(ValueError, match=said):
        call(*given, **named)


@contextlib.contextmanager
def recorded(noise):
    """`jax.random.normal` gives the arrays of `noise` in order, all of them."""
    left = iter(noise)
    with mock.patch("jax.random.normal", side_effect=lambda *args: jnp.asarray(next(left))):
        yield
    assert next(left, None) is None, "not all of the recorded noise was asked for"
