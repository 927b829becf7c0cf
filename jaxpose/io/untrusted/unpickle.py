"""Restricted unpickler for untrusted files of plain values and numpy arrays: pickles, and dicts in .npz files.

A pickle is a program. The restricted machine of machine.py runs it with a closed table of names: by default those of
numpy arrays and scalars, which are mapped to functions of this module, that build arrays of numbers and strings from
plain bytes. A table holds types that define `__setstate__`, and functions. Sets become lists.
"""

import io
import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.arrays import Shape, checked_text, has_shape, open_archive, open_member, read_header, shape_text
from jaxpose.io.untrusted.machine import Machine, Names, check_keys
from jaxpose.reading import one_line, opened, shown

_NUMBERS_AND_STRINGS = re.compile("[biufcSU][0-9]{1,9}")


class Opaque:
    """Placeholder for an object that is not needed (a random state, a configuration). It stores nothing."""

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __repr__(self) -> str:
        return "<not read>"


class _Dtype:
    """numpy.dtype during unpickling: a format, then a state with the byte order."""

    def __init__(self, code: Any, align: Any = False, copy: Any = True):
        if not isinstance(code, str) or not _NUMBERS_AND_STRINGS.fullmatch(code):
            raise pickle.UnpicklingError(f"arrays of {shown(code)} are not read; must be numbers or strings")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: Any) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """numpy.ndarray during unpickling: empty, then a state (version, shape, dtype, Fortran order, bytes).

    An array of objects has no value; `objects` are its shape and content.
    """

    objects: tuple[Any, Any] | None = None

    def __init__(self, value: np.ndarray | None = None):
        self.value = value

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, raw = state
        if isinstance(dtype, Opaque):
            self.objects = shape, raw
        else:
            self.value = _from_bytes(raw, dtype, shape, "F" if is_fortran else "C")


def _from_bytes(raw: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> np.ndarray:
    raw = raw.encode("latin1") if isinstance(raw, str) else raw  # Python 2
    if not isinstance(dtype, _Dtype) or not isinstance(raw, bytes | bytearray) or not isinstance(shape, tuple):
        raise pickle.UnpicklingError("an array without plain bytes is not read")
    array: np.ndarray = np.ndarray(shape, dtype.dtype, bytes(raw), order=order)
    if array.nbytes != len(raw) or array.shape != shape:  # numpy takes -1 for what fits
        raise pickle.UnpicklingError(f"{len(raw)} bytes for an array of shape {shown(shape)} and type {dtype.dtype}")
    return checked_text(array)


def _frombuffer(raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None) -> _Array:
    """numpy's form of pickle protocol 5; order "K" is C order, and then the axes change places."""
    array = _from_bytes(raw, dtype, shape, "F" if order == "F" else "C")
    return _Array(array if axes is None else array.transpose(axes))


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes in {shown(encoding)} are not read; must be latin1")
    return text.encode("latin1")


def _ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """OrderedDict of pairs, as Python 2 and protocol 0 write its items."""
    pairs = [tuple(pair) for pair in pairs]
    check_keys(key for key, _ in pairs)
    return OrderedDict(pairs)


_CORE: Names = {
    ("multiarray", "_reconstruct"): lambda kind, shape, code: _Array(),
    ("multiarray", "scalar"): lambda dtype, raw=b"": _from_bytes(raw, dtype, (), "C")[()],
    ("numeric", "_frombuffer"): _frombuffer,
}
BUILTINS = ("builtins", "__builtin__")  # protocols 0-2 write Python 2's name
NUMPY: Names = {
    ("collections", "OrderedDict"): _ordered,
    ("_codecs", "encode"): _encode,
    **{(builtins, "bytes"): lambda: b"" for builtins in BUILTINS},
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): Opaque,  # named as the kind to reconstruct, never made
    **{(f"numpy.{core}.{name[0]}", name[1]): call for core in ("core", "_core") for name, call in _CORE.items()},
}
WITH_OBJECTS: Names = {  # for files with arrays of objects too, whose type is an Opaque
    **NUMPY,
    ("numpy", "dtype"): lambda code, *rest: Opaque() if code in ("O", "O8") else _Dtype(code, *rest),
}


def arrays_of(tree: Any) -> Any:
    """The tree with its arrays as numpy arrays, one object without axes as itself; shared objects stay shared."""
    done: dict[int, Any] = {}  # without it, nested lists with shared elements take exponential time

    def final(tree: Any) -> Any:
        if id(tree) in done:
            return done[id(tree)]
        if isinstance(tree, _Array):
            if tree.value is not None:
                return tree.value
            if tree.objects is None:
                raise pickle.UnpicklingError("an array without a state")
            shape, content = tree.objects
            if shape != () or not isinstance(content, list) or len(content) != 1:
                raise pickle.UnpicklingError("an array of objects; must be one object without axes")
            return final(content[0])
        if isinstance(tree, dict):
            result: Any = {key: final(v) for key, v in tree.items()}
        elif isinstance(tree, list | tuple):
            result = type(tree)([final(v) for v in tree])
        else:
            return tree
        done[id(tree)] = result
        return result

    return final(tree)


def load_pickle(path: FilePath, names: Names = NUMPY) -> Any:
    """The content of a pickle file of plain values and arrays; ValueError, naming the file, for anything else."""
    with opened(path, "pickle") as file:
        return arrays_of(Machine(file, names).load())


def load_dict(path: FilePath, key: str, absent: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """The dict that an .npz file holds under `key`, its arrays numbers or strings, as VideoPose3D publishes them.

    `np.savez(path, data=tree)` makes of a dict an array of one object, stored as a .npy header and a pickle. The whole
    tree is in memory. absent: result for a file without the key; None: an error. ValueError names a file that is
    missing, damaged, or holds something else under the key.
    """
    tree: Any = absent
    with opened(path, ".npz file") as file, open_archive(file) as archive:
        names = archive.namelist()
        if f"{key}.npy" in names:
            with open_member(archive, f"{key}.npy") as member:
                shape, _, dtype = read_header(member)
                if shape != () or dtype.kind != "O":
                    raise ValueError(f"an array of {dtype} and shape {shape}; needed one pickled dict")
                tree = arrays_of(Machine(io.BytesIO(member.read()), WITH_OBJECTS).load())
    if not isinstance(tree, Mapping):
        actual = describe(tree) if f"{key}.npy" in names else f"a file of {one_line(', '.join(names))}"
        raise ValueError(f"{path}: needed a dict {key!r}, got {actual}")
    return tree


def describe(value: Any) -> str:
    """A value in an error message: type and shape of an array, the start of the text of anything else."""
    if isinstance(value, np.ndarray):
        return f"an array {value.dtype} {value.shape}"
    return f"{type(value).__name__} {shown(value, 40)}"


def array_of(value: Any, place: str, *tails: Shape, finite: bool = True) -> np.ndarray:
    """`value`, an array of numbers [F, *tail] with one of the `tails`, F > 0, finite if asked, or a ValueError.

    None in a tail is any length.
    """
    shapes: list[Shape] = [(None, *tail) for tail in tails]
    is_numeric = isinstance(value, np.ndarray) and value.dtype.kind in "fiu"
    if not is_numeric or not has_shape(value, *shapes) or not value.size:
        raise ValueError(f"{place}: needed an array {shape_text(*shapes)}, got {describe(value)}")
    good = np.isfinite(value).reshape(len(value), -1).all(1)
    if finite and not good.all():
        raise ValueError(f"{place}: frame {np.argmin(good)} is not finite")
    return value


def list_of_cameras(value: Any, place: str, num_cameras: int | None = None) -> list[tuple[str, Any]]:
    """(place, array) of each camera of an action; ValueError unless there are as many, or one or more."""
    if not isinstance(value, list | tuple) or not value or len(value) != (num_cameras or len(value)):
        actual = f"{len(value)} arrays" if isinstance(value, list | tuple) else describe(value)
        needed = f"a list of {num_cameras or 'one or more'} arrays, one for each camera"
        raise ValueError(f"{place}: needed {needed}, got {actual}")
    return [(f"{place}, camera {camera}", array) for camera, array in enumerate(value)]
