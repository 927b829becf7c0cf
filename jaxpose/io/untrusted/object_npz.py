"""Dicts of arrays in .npz files, as VideoPose3D and later projects publish them.

`np.savez(path, data=tree)` with a dict makes an array of objects without axes, which numpy stores as a .npy header and
a pickle. The pickle is read by the restricted unpickler, so that no code of the file runs.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxpose.io.arrays import reading
from jaxpose.io.untrusted.unpickle import NUMPY, Names, Opaque, Unpickler, _Array, arrays_of, describe


def load_dict(path: str | os.PathLike[str], key: str) -> Mapping[str, Any]:
    """The dict that an .npz file holds under `key`, its arrays numbers or strings.

    The whole tree is in memory. ValueError, naming the file, where it is missing or damaged, lacks the key, holds
    something else under it, or contains more than plain values and arrays.
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


def array_of(value: Any, place: str, *tails: tuple[int, ...], finite: bool = True) -> np.ndarray:
    """`value`, if it is an array of numbers [F, *tail] with one of the `tails` and F > 0, and finite where asked for.

    ValueError, opening with `place`, otherwise.
    """
    is_numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
    if not is_numeric or value.shape[1:] not in tails or not len(value):
        needed = " or ".join(f"(F, {', '.join(map(str, tail))})" for tail in tails)
        raise ValueError(f"{place}: needed an array {needed}, got {describe(value)}")
    good = np.isfinite(value).reshape(len(value), -1).all(1)
    if finite and not good.all():
        raise ValueError(f"{place}: frame {np.argmin(good)} is not finite")
    return value


def list_of_cameras(value: Any, place: str, num_cameras: int | None = None) -> list[tuple[str, Any]]:
    """(place, array) of each camera of an action; ValueError unless there are as many, or one or more."""
    if not isinstance(value, list | tuple) or not value or len(value) != (num_cameras or len(value)):
        found = f"{len(value)} arrays" if isinstance(value, list | tuple) else describe(value)
        needed = f"a list of {num_cameras or 'one or more'} arrays, one for each camera"
        raise ValueError(f"{place}: needed {needed}, got {found}")
    return [(f"{place}, camera {camera}", array) for camera, array in enumerate(value)]


def _skip_header(member: Any) -> None:
    version = np.lib.format.read_magic(member)
    headers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in headers:
        raise ValueError(f"version {version} of the .npy format; legal are {sorted(headers)}")
    shape, _, dtype = headers[version](member)
    if shape != () or dtype.kind != "O":
        raise ValueError(f"an array of {dtype} and shape {shape}; needed one pickled dict")


class _ArrayOrObject(_Array):
    """A numpy array in a pickle, or the one object in an object array without axes."""

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
