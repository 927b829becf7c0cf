"""Reader of torch.save files without torch; the restricted unpickler runs no code of the file.

Since torch 1.6 a file is a zip archive of plain (uncompressed) entries under one folder:

    data.pkl     a pickle, in which a storage is the persistent id ("storage", type, key, location, number of items)
    data/<key>   the storage's bytes
    byteorder    "little" or "big"; little where it is absent

and a tensor is `torch._utils._rebuild_tensor_v2(storage, offset, size, stride, ...)`: a strided view of a storage.
The device of a storage (CPU, CUDA) is ignored.

Source: the layout as torch's serialization notes describe it, and as files of torch 2.13 show it.
"""

import io
import os
import pickle
import zipfile
from typing import Any, Literal

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.untrusted.machine import Machine, Names
from jaxpose.io.untrusted.unpickle import BUILTINS, NUMPY, Opaque, arrays_of
from jaxpose.reading import opened, shown

_STORAGES = {
    **{"DoubleStorage": "f8", "FloatStorage": "f4", "HalfStorage": "f2", "BFloat16Storage": "u2"},  # its upper half
    **{"LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1", "ByteStorage": "u1"},
    **{"BoolStorage": "?", "ComplexFloatStorage": "c8", "ComplexDoubleStorage": "c16"},
}
# other objects in checkpoints: a random state (MixSTE), a configuration (DPoser) with types in it, arguments
_NOT_READ = (
    *(("numpy.random._pickle", f"__{kind}_ctor") for kind in ("randomstate", "generator", "bit_generator")),
    ("numpy.random._mt19937", "MT19937"),
    ("numpy.random._pcg64", "PCG64"),
    ("numpy.random.bit_generator", "SeedSequence"),
    ("numpy.random.bit_generator", "__pyx_unpickle_SeedSequence"),
    ("ml_collections.config_dict.config_dict", "ConfigDict"),
    ("ml_collections.config_dict.config_dict", "FieldReference"),
    ("argparse", "Namespace"),
    ("torch", "device"),
    *((b, kind) for b in BUILTINS for kind in ("bool", "float", "int", "list", "long", "str", "tuple", "unicode")),
)
# how a file of torch < 1.6 begins: a pickle of its magic number
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> np.ndarray:
    """A view of a storage; strides of 0 may give it more items (the machine bounds what all tensors together have)."""
    layout = (offset, *size, *stride)
    layout_text = f"a tensor of offset {shown(offset)}, shape {shown(size)} and strides {shown(stride)}"
    if not isinstance(storage, np.ndarray) or not all(type(n) is int and n >= 0 for n in layout):
        raise pickle.UnpicklingError(layout_text)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if 0 in size:
        return np.zeros(size, storage.dtype)
    if last >= storage.size:
        raise pickle.UnpicklingError(f"{layout_text} in a storage of {storage.size} items")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


def _size(numbers: Any = ()) -> tuple[Any, ...]:
    if not isinstance(numbers, tuple | list):
        raise pickle.UnpicklingError("a torch.Size of no numbers")
    return tuple(numbers)


NAMES: Names = {
    **NUMPY,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
    ("torch", "Size"): _size,
    **dict.fromkeys(_NOT_READ, Opaque),
}


class _TorchUnpickler(Machine):
    """An unpickler of a torch.save zip, whose entries share one folder."""

    def __init__(self, archive: zipfile.ZipFile, num_bytes: int):
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise pickle.UnpicklingError("compressed entries; torch.save writes plain ones")
        if sum(entry.file_size for entry in entries) > num_bytes:
            raise pickle.UnpicklingError("entries that overlap")
        folders = [e.filename.removesuffix("data.pkl") for e in entries if e.filename.endswith("/data.pkl")]
        if len(folders) != 1:
            raise pickle.UnpicklingError(f"{len(folders)} entries data.pkl in the archive; must be one")
        self._archive, self._folder = archive, folders[0]
        self._entries = {entry.filename for entry in entries}
        order = self._entry("byteorder") if f"{self._folder}byteorder" in self._entries else b"little"
        if order not in (b"little", b"big"):
            raise pickle.UnpicklingError(f"byte order {shown(order)}; must be little or big")
        self._order: Literal["<", ">"] = "<" if order == b"little" else ">"
        self._storages: dict[tuple[str, str], np.ndarray] = {}  # tensors may share one
        super().__init__(io.BytesIO(self._entry("data.pkl")), NAMES, num_bytes)

    def _entry(self, name: str) -> bytes:
        if f"{self._folder}{name}" not in self._entries:
            raise pickle.UnpicklingError(f"no entry {name} in the archive")
        return self._archive.read(f"{self._folder}{name}")

    def find_class(self, module: str, name: str) -> Any:
        """The name itself for a type of storage, which is not callable; else as in `Machine`."""
        return name if module == "torch" and name in _STORAGES else super().find_class(module, name)

    def persistent_load(self, pid: Any) -> np.ndarray:
        """The storage, as a flat array."""
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[4], int)):
            raise pickle.UnpicklingError(f"a persistent id {shown(pid)}; must be storages of 5 entries")
        _, kind, key, _, num_items = pid
        if kind not in _STORAGES or not isinstance(key, str):
            raise pickle.UnpicklingError(
                f"a storage {shown(key)} of type {shown(kind)}; must be one of {', '.join(_STORAGES)}"
            )
        if (key, kind) not in self._storages:
            flat = np.frombuffer(self._entry(f"data/{key}"), np.dtype(_STORAGES[kind]).newbyteorder(self._order))
            flat = flat.astype(flat.dtype.newbyteorder("="), copy=False)
            is_half = kind == "BFloat16Storage"
            self._storages[key, kind] = (flat.astype(np.uint32) << 16).view(np.float32) if is_half else flat
        storage = self._storages[key, kind]
        if storage.size != num_items:
            raise pickle.UnpicklingError(f"data/{key} holds {storage.size} items of {kind}, declared are {num_items}")
        return storage


def read_torch(path: FilePath) -> Any:
    """The content of a file of torch.save: dicts, lists and plain values, tensors as numpy arrays (read-only views).

    bfloat16 becomes float32, which holds it exactly. A random state or a configuration becomes an `Opaque`. ValueError
    names a file that is damaged, of torch < 1.6, or asks for anything else.
    """
    with opened(path, "torch file") as file:
        start = file.read(len(_LEGACY))
        if start == _LEGACY:
            raise pickle.UnpicklingError("the format of torch < 1.6; torch.save by a newer torch rewrites it")
        if not start.startswith(b"PK"):
            raise pickle.UnpicklingError("no zip archive, as torch.save writes it")
        with zipfile.ZipFile(file) as archive:
            return arrays_of(_TorchUnpickler(archive, os.fstat(file.fileno()).st_size).load())
