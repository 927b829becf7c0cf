"""A dict in an .npz file: how VideoPose3D and those after it publish trees of arrays.

`np.savez(path, data=tree)` with a dict makes an array of objects without axes, which numpy stores as a .npy header and
a pickle. Here the pickle goes through the restricted unpickler: a stranger's file is read and never run.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np

from jaxpose.io.arrays import reading
from jaxpose.io.untrusted.unpickle import NUMPY, Names, Opaque, Unpickler, _Array, arrays_of, describe


def load_dict(path: str | os.PathLike[str], key: str) -> Mapping[str, Any]:
    """The dict that an .npz file holds under `key`, its arrays numbers or strings.

    The whole tree is in memory. ValueError, naming the file, for one that is missing or damaged, has no such key, holds
    something else under it, or asks for more than plain values and arrays.
    """
    tree = None
    with reading(path, ".npz file"), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if f"{key}.npy" in names:
            with archive.open(f"{key}.npy") as member:
                _skip_header(member)
                tree = arrays_of(arrays_of(Unpickler(member.read(), _WITH_OBJECTS).load()))
    if not isinstance(tree, dict):
        found = describe(tree) if f"{key}.npy" in names else f"a file of {', '.join(names)}"
        raise ValueError(f"{path}: needed a dict {key!r}, got {found}")
    return tree


def is_array(value: Any, tail: tuple[int, ...]) -> TypeGuard[np.ndarray]:
    """Whether `value` is an array of numbers [F, *tail] with at least one row."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind in "fiu"
        and value.ndim == 1 + len(tail)
        and value.shape[1:] == tail
        and len(value) > 0
    )


def _skip_header(member: Any) -> None:
    version = np.lib.format.read_magic(member)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"version {version} of the .npy format; legal are {sorted(headers)}")
    shape, _, dtype = headers[version](member)
    if shape != () or dtype.kind != "O":
        raise ValueError(f"an array of {dtype} and shape {shape}; needed one pickled dict")


class _ArrayOrObject(_Array):
    """A numpy array in a pickle, or the one object that an object array without axes holds."""

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, _, content = state
        if not isinstance(dtype, Opaque):
            return super().__setstate__(state)
        if shape != () or not isinstance(content, list) or len(content) != 1:
            raise pickle.UnpicklingError("an array of objects; legal is one object without axes")
        self.value = content[0]
        return None


def _dtype(code: Any, *rest: Any) -> Any:
    return Opaque() if code in ("O", "O8") else NUMPY["numpy", "dtype"](code, *rest)


def _reconstruct(kind: Any, shape: Any, code: Any) -> _ArrayOrObject:
    return _ArrayOrObject()


_WITH_OBJECTS: Names = {
    **NUMPY,
    ("numpy", "dtype"): _dtype,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _reconstruct for core in ("core", "_core")},
}
