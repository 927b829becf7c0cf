"""Files of torch.save: what torch wrote is read whole, what the format allows is read right, all else is refused."""

import argparse
import pickle
import struct
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
from ml_collections import ConfigDict
from shared import GOLDEN, refuses
from torch_files import REBUILD, Call, Name, Storage, entries, save, tensor, write_entries

from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.io.untrusted.unpickle import Opaque


def leaves(tree):
    if isinstance(tree, dict):
        tree = list(tree.values())
    return [leaf for part in tree for leaf in leaves(part)] if isinstance(tree, list | tuple) else [tree]


@pytest.mark.parametrize(
    "name",
    [
        "gfpose/gfpose_peer.pth",
        "diffpose/gcndiff.pth",
        "diffpose/gcnpose.pth",
        "diffpose/mixste_small.bin",
        "dposer/ckpt_v1.pth",
        "dposer_v1/ckpt_pl.ckpt",
    ],
)
def test_what_torch_wrote_is_read_whole(name):
    """As many tensors as the archive has storages, each with all of its storage's numbers, and finite."""
    with zipfile.ZipFile(GOLDEN / name) as archive:
        sizes = [e.file_size for e in archive.infolist() if "/data/" in e.filename]
    arrays = [leaf for leaf in leaves(read_torch(GOLDEN / name)) if isinstance(leaf, np.ndarray)]
    assert [a.nbytes for a in arrays] == sizes
    assert all(np.isfinite(a).all() and np.abs(a).max() < 1e4 for a in arrays)


@pytest.mark.parametrize("dtype", ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u1", "?", "c8", "c16"])
def test_every_type_of_storage(tmp_path, dtype):
    array = np.arange(-3, 9).reshape(3, 4).astype(dtype)
    found = read_torch(save(tmp_path / "a.pth", [tensor(array)]))[0]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    patterns = np.uint16([0x3F80, 0xC000, 0x3E80, 0x7F80, 0x4049])  # 1, -2, 1/4, infinity, 3.140625
    storage = Storage(patterns, "BFloat16Storage")
    found = read_torch(save(tmp_path / "a.pth", tensor(0, storage, 0, (5,), (1,))))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.float32([1, -2, 0.25, np.inf, 3.140625]))


def test_views_share_a_storage(tmp_path):
    """A transpose, a slice, a column, one number, nothing, and one number seen six times."""
    numbers = np.arange(24, dtype=np.float32)
    storage = Storage(numbers, location="cuda:1")
    grid = numbers.reshape(4, 6)
    views = [
        ((0, (6, 4), (1, 6)), grid.T),
        ((7, (2, 3), (6, 2)), grid[1:3, 1::2]),
        ((5, (4,), (6,)), grid[:, 5]),
        ((23, (), ()), grid[3, 5]),
        ((24, (0, 3), (3, 1)), grid[:0, :3]),
        ((2, (2, 3), (0, 0)), np.full((2, 3), 2)),
    ]
    found = read_torch(save(tmp_path / "a.pth", [tensor(0, storage, *view) for view, _ in views]))
    for array, (_, wanted) in zip(found, views, strict=True):
        np.testing.assert_array_equal(array, wanted)
        assert array.shape == np.shape(wanted)
    assert np.shares_memory(found[0], found[1])


def test_the_order_of_bytes_is_the_file_s(tmp_path):
    numbers = np.float32([[1, 2], [3, 4]])
    contents = entries({"x": tensor(numbers)})
    swapped = contents | {"data/0": numbers.astype(">f4").tobytes(), "byteorder": b"big"}
    np.testing.assert_array_equal(read_torch(write_entries(tmp_path / "a.pth", swapped))["x"], numbers)
    del contents["byteorder"]  # torch before 2.1 writes none
    np.testing.assert_array_equal(read_torch(write_entries(tmp_path / "b.pth", contents))["x"], numbers)


def test_what_stands_beside_the_weights_does_not_stop_the_reading(tmp_path):
    parameter = Call(Name("torch._utils", "_rebuild_parameter"), tensor(np.float32([1, 2])), True, OrderedDict())
    config = ConfigDict({"lr": 2e-4, "sub": {"a": (1, None)}})
    config.same = config.get_ref("lr")
    tree = {
        "weights": OrderedDict(p=parameter),
        "lr": np.float64(2e-4),
        "z": np.arange(3.0),
        "size": Call(Name("torch", "Size"), (2, 3)),
        "skip": [
            np.random.RandomState(0),
            np.random.default_rng(0),
            config,
            argparse.Namespace(a=1, b=float),
            Call(Name("torch", "device"), "cuda", 0),
        ],
        "epoch": 3,
    }
    found = read_torch(save(tmp_path / "a.pth", tree))
    assert all(isinstance(part, Opaque) for part in found.pop("skip"))
    np.testing.assert_array_equal(found["weights"]["p"], [1, 2])
    np.testing.assert_array_equal(found["z"], np.arange(3))
    assert (found["lr"], found["size"], found["epoch"]) == (2e-4, (2, 3), 3)


FOUR = Storage(np.zeros(4, np.float32))


def rebuilt(offset, size, stride, storage=FOUR):
    return Call(REBUILD, storage, offset, size, stride, False, OrderedDict())


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (rebuilt(0, (5,), (1,)), r"shape \(5,\) and strides \(1,\) in a storage of 4 items"),
        (rebuilt(3, (2**62,), (2**62,)), "in a storage of 4 items"),
        (rebuilt(0, (2**62, 2**62), (0, 0)), "not a readable"),
        (rebuilt(3, (2,), (-1,)), "strides"),
        (rebuilt(-1, (2,), (1,)), "offset -1"),
        (rebuilt(0, (2.0,), (1,)), "shape"),
        (rebuilt(0, (2, 2), (1,)), "not a readable"),
        (rebuilt(0, 4, 1), "not a readable"),
        (rebuilt(0, (1,), (1,), "storage"), "offset 0"),
        (Storage(np.zeros(4, np.float32), num_items=10**12), r"data/0 holds 4 items .* declared are 1000000000000"),
        (Storage(np.zeros(4, np.float32), num_items="4"), "a persistent id"),
        (Storage(np.zeros(4, np.float32), kind="QInt8Storage"), "torch.QInt8Storage, which is not allowed"),
        (Storage(np.zeros(3, np.uint8), kind="FloatStorage"), "not a readable"),
        (Call(Name("torch", "FloatStorage"), 3), "not a readable"),
        (Call(Name("torch", "Size"), rebuilt(0, (2**40,), (0,))), "makes far more than the file holds"),
        (Call(Name("torch.nn.modules.linear", "Linear")), "torch.nn.modules.linear.Linear, which is not allowed"),
        (Call(Name("numpy.random._pickle", "os.system"), "true"), "which is not allowed"),
    ],
)
def test_hostile_tensors(tmp_path, value, message):
    refuses(f"evil.pth: (?s:.)*{message}", read_torch, save(tmp_path / "evil.pth", {"x": value}))


@pytest.mark.parametrize("where", ["value", "key", "argument", "state", "hooks", "location"])
@pytest.mark.parametrize("name", ["os.system", "builtins.eval", "builtins.exec", "runpy.run_path"])
def test_nothing_of_the_file_s_is_run(tmp_path, where, name):
    module, _, function = name.rpartition(".")
    code = f"touch {tmp_path}/ran" if function == "system" else f"open({str(tmp_path / 'ran')!r}, 'w')"
    evil = Call(Name(module, function), code)
    tree = {
        "value": evil,
        "key": {evil: 1},
        "argument": rebuilt(evil, (1,), (1,)),
        "state": Call(Name("argparse", "Namespace"), state={"a": evil}),
        "hooks": Call(REBUILD, FOUR, 0, (1,), (1,), False, OrderedDict(a=evil)),
        "location": Storage(np.zeros(4, np.float32), location=evil),
    }[where]
    path = save(tmp_path / "evil.pth", tree)
    refuses(f"evil.pth: .*{name}, which is not allowed", read_torch, path)
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pth"]


def test_hostile_archives(tmp_path):
    path, good = tmp_path / "evil.pth", entries({"x": tensor(np.zeros(100, np.float32))})

    def refused(message):
        refuses(f"evil.pth: .*{message}", read_torch, path)

    assert read_torch(write_entries(path, good))["x"].shape == (100,)
    write_entries(path, good, zipfile.ZIP_DEFLATED)
    refused("compressed entries")
    for name, message in (("data.pkl", "0 entries data.pkl"), ("data/0", "no entry data/0")):
        write_entries(path, {n: raw for n, raw in good.items() if n != name})
        refused(message)
    write_entries(path, good | {"more/data.pkl": good["data.pkl"]})
    refused("2 entries data.pkl")
    write_entries(path, good | {"byteorder": b"middle"})
    refused("byte order b'middle'")
    write_entries(path, good | {"data.pkl": good["data.pkl"][:-9]})
    refused("")

    data = bytearray(write_entries(path, good).read_bytes())
    spoil(path, data, data.index(bytes(400)) + 7, 1)
    refused("CRC")
    entry = data.index(b"PK\x01\x02")  # the first of the directory; its size stands at 24
    spoil(path, data, entry + 24, *struct.pack("<I", 2**31 - 1))
    refused("overlap")
    spoil(path, data, entry + 8, 1)
    refused("encrypted")


def spoil(path, data, at, *new):
    path.write_bytes(data[:at] + bytes(new) + data[at + len(new) :])


def test_no_archive(tmp_path):
    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2))  # torch's magic number
    refuses(r"evil.pth: .*the format of torch < 1.6; torch.save", read_torch, path)
    for data in (b"", b"hello", pickle.dumps({})):
        path.write_bytes(data)
        refuses(r"evil.pth: .*no zip archive", read_torch, path)
    path.unlink()
    refuses(r"evil.pth: no such file", read_torch, path)
