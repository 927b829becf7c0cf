"""Numpy files: read lazily, once, and never unpickled."""

import numpy as np
import pytest
from shared import refuses

from jaxpose.io.arrays import load_arrays


def test_members_are_read_when_asked_for_and_kept(tmp_path):
    """A member that holds objects does no harm until somebody asks for it."""
    path = tmp_path / "a.npz"
    np.savez(path, a=np.arange(3), objects=np.array([{}], dtype=object))
    arrays = load_arrays(path, "a")
    assert set(arrays) == {"a", "objects"}
    assert len(arrays) == 2
    assert arrays["a"].tolist() == [0, 1, 2]
    assert arrays["a"] is arrays["a"]
    with pytest.raises(ValueError, match=r"a\.npz: not a readable numpy file of plain numbers and text"):
        arrays["objects"]
    assert arrays.get("b") is None


def test_a_damaged_member_and_a_missing_one_are_named(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.arange(1000), **{"\x1b": 0})
    content = bytearray(path.read_bytes())
    content[60:80] = bytes(20)
    refuses(r"a\.npz: lacks b, c; needed a, b, c; it has a, \?", load_arrays, path, "a", "b", "c")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.npz: not a readable numpy file"):
        load_arrays(path)["a"]
