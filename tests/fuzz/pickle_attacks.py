"""Pickles made by hand to exhaust the machine that reads them, as each of the readers of pickles gets them."""

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.corpus import ENTRIES

from jaxpose import io as files
from jaxpose.io.untrusted.torch_file import read_torch
from jaxpose.io.untrusted.unpickle import load_dict, load_pickle
from jaxpose.originals.datasets import gmm, h36m_pickle

_MANY = 200_000
# A deep key overflows the stack of C, a shared one takes 2^60 steps, and lengths are only declared.
_DEEP = b")" + b"\x85" * _MANY
_SHARED = b")q\x00" + b"".join(bytes([*b"h", k, *b"\x86q", k + 1]) for k in range(60))
_TEXT = b"X" + struct.pack("<I", _MANY) + b"a" * _MANY + b"q\x01X\x06\x00\x00\x00latin1q\x02h\x01h\x02\x86q\x03"
PICKLES = {
    "a deep key": (b"\x80\x02}" + _DEEP + b"K\x01s.", "as a key"),
    "deep keys": (b"\x80\x02}(" + _DEEP + b"K\x01u.", "as a key"),
    "a deep key, protocol 0": (b"(" + _DEEP + b"K\x01d.", "as a key"),
    "a deep member of a set": (b"\x80\x04}(\x8c\x01a(" + _DEEP + b"\x91u.", ""),
    "a shared key": (b"\x80\x02}" + _SHARED + b"K\x01s.", "as a key"),
    "a shared key of OrderedDict": (
        b"\x80\x02ccollections\nOrderedDict\n" + _SHARED + b"K\x01\x86\x85\x85R.",
        "as a key",
    ),
    "a long integer as a key": (b"\x80\x02}\x8b\x00\x00\x01\x00" + b"\x7f" * 65536 + b"K\x01s.", "as a key"),
    "a declared bytearray": (b"\x80\x05\x96" + struct.pack("<Q", 1 << 35) + b".", "ends early"),
    "declared bytes": (b"\x80\x04\x8e" + struct.pack("<Q", 1 << 35) + b".", "ends early"),
    "declared text": (b"\x80\x04\x8d" + struct.pack("<Q", 1 << 35) + b".", "ends early"),
    "a declared frame": (b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.", None),
    "an entry of the memo": (b"\x80\x02Nr\xff\xff\xff\xff.", None),
    "text encoded again and again": (
        b"\x80\x02](" + _TEXT + b"c_codecs\nencode\nq\x04" + b"h\x04h\x03R" * 30_000 + b"e.",
        "far more than",
    ),
    "an argument that prints endlessly": (b"\x80\x02cnumpy\ndtype\n" + _SHARED + b"\x85R.", "are not read"),
    "a shape that prints endlessly": (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
        + _SHARED
        + b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R\x89U\x04aaaatb.",
        "",
    ),
}


def _in_zip(path: Path, name: str, raw: bytes, head: bytes = b"") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, head + raw)


def _object_head() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|O", "fortran_order": False, "shape": ()})
    return file.getvalue()


EVERYWHERE = ("a deep key", "a shared key", "a declared bytearray", "text encoded again and again")  # others: twice
# How each of the readers of pickles gets one.
READERS: dict[str, tuple[str, Callable[[Path, bytes], Any], Callable[[Path], Any]]] = {
    "load_pickle": ("a.pkl", lambda p, raw: p.write_bytes(raw), load_pickle),
    "detections": ("a.pkl", lambda p, raw: p.write_bytes(raw), lambda p: h36m_pickle._read_detections(p, "train")),
    "list": ("a.pkl", lambda p, raw: p.write_bytes(raw), ENTRIES["list2.pkl"].read),
    "body": ("a.pkl", lambda p, raw: p.write_bytes(raw), files.read),
    "torch": ("a.pth", lambda p, raw: _in_zip(p, "a/data.pkl", raw), read_torch),
    "load_dict": ("a.npz", lambda p, raw: _in_zip(p, "data.npy", raw, _object_head()), lambda p: load_dict(p, "data")),
    "mixtures": ("a.npz", lambda p, raw: _in_zip(p, "positions_2d.npy", raw, _object_head()), gmm.read_gmm),
}
