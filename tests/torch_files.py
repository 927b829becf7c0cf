"""Files as torch.save writes them, for the tests of what reads them: zip archives with a pickle and plain storages."""

import io
import pickle
import zipfile
from collections import OrderedDict

import numpy as np

KINDS = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage",
    "complex128": "ComplexDoubleStorage",
}


class Name:
    """A global of a module that need not exist here."""

    def __init__(self, module, name):
        self.module, self.name = module, name

    def __call__(self):
        raise AssertionError("only the pickler asks whether this can be called")


class Call:
    """`name(*args)`, then its state, at the time of reading."""

    def __init__(self, name, *args, state=None):
        self.name, self.args, self.state = name, args, state


class Storage:
    """Flat numbers, or the raw bytes of a storage of `kind`; num_items as declared."""

    def __init__(self, numbers, kind=None, location="cpu", num_items=None):
        self.raw = numbers.tobytes()
        self.kind = kind or KINDS[numbers.dtype.name]
        self.location, self.num_items = location, numbers.size if num_items is None else num_items


REBUILD = Name("torch._utils", "_rebuild_tensor_v2")


def tensor(array, storage=None, offset=0, size=None, stride=None):
    """A tensor: a C-ordered copy of `array`, or a view of `storage`."""
    array = np.asarray(array)
    if storage is None:
        storage = Storage(np.ascontiguousarray(array).ravel())
        size, stride = (array.shape, tuple(s // array.itemsize for s in np.zeros(array.shape, array.dtype).strides))
    return Call(REBUILD, storage, offset, size, stride, False, OrderedDict())


class _Pickler(pickle._Pickler):
    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.keys, self.kinds = {}, {}

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        key = self.keys.setdefault(obj, str(len(self.keys)))
        kind = self.kinds.setdefault(obj.kind, Name("torch", obj.kind))
        return ("storage", kind, key, obj.location, obj.num_items)

    def save_name(self, obj):
        self.write(f"c{obj.module}\n{obj.name}\n".encode())
        self.memoize(obj)

    def save_call(self, obj):
        self.save_reduce(obj.name, obj.args, obj.state, obj=obj)

    dispatch[Name] = save_name
    dispatch[Call] = save_call


def pickled(value, protocol=2):
    """(bytes of data.pkl, {key: storage}) of a tree with arrays (which become tensors), Storages, Names and Calls."""
    buffer = io.BytesIO()
    pickler = _Pickler(buffer, protocol)
    pickler.dump(value)
    return buffer.getvalue(), {key: storage for storage, key in pickler.keys.items()}


def entries(value, byteorder=b"little"):
    """{entry: bytes} of the archive, without its folder."""
    data, storages = pickled(value)
    written = {"data.pkl": data, ".format_version": b"1", "byteorder": byteorder}
    return written | {f"data/{key}": s.raw for key, s in storages.items()} | {"version": b"3\n"}


def write_entries(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, raw in contents.items():
            archive.writestr(f"{path.stem}/{name}", raw)
    return path


def save(path, value):
    """torch.save(value, path)."""
    return write_entries(path, entries(value))
