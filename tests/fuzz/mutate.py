"""Damage to files: to bytes, tokens of text, nodes of JSON, members of archives, opcodes of pickles.

`mutated(name, data, rng)` makes one to three changes, each of a kind that the format lets through its outer checks: a
changed member is packed anew with its right checksum, a changed header keeps its length.
"""

import io
import json
import pickletools
import re
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

Rng = np.random.Generator
_NUMBERS = (
    *("nan", "inf", "-inf", "-1", "0", "-0.0", "1e400", "1e308", "1e25", "-1e30", "1e-320", "0.5", "1e9", "2147483648"),
    *("9" * 400, "9" * 5000, "9007199254740993", "18446744073709551616", "NaN", "1_0", "0x10", "", "a", '"', "[]"),
    *("null", "\x00", "é", "\ud7ff", "1e", "--1", "1,1", "{", "}", "true", "99999", "1000000000000"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, "", "a", "7", [], {}, [1], [[1, 2], [3]], {"a": 1}, float("nan"), float("inf"), -1, 0, 0.5, 1e25),
    *(10**400, 2**63, 2**53 + 1, 1e308, [None], [[]], "x" * 3000, [1e400], -(10**9), 10**12, "a/../b", "a\nb\x1b"),
)
_OPCODES = (
    *(bytes([code]) for code in b"()]}012NabdelstuR\x81\x85\x86\x87\x88\x8f\x90\x91\x92\x93\x94.o\x97\x98"),
    *(b"K\x05", b"J\xff\xff\xff\xff", b"h\x01", b"h\x02", b"q\x01", b"r\xff\xff\xff\xff", b"I99999999999999999999\n"),
    *(b"X\xff\xff\xff\x7f", b"\x8e" + b"\xff" * 7 + b"\x00", b"\x96" + b"\xff" * 5 + b"\x00" * 3, b"B\x00\x00\x00\x40"),
    *(b"\x8a\x14" + b"\x7f" * 20, b"\x8b\x00\x00\x01\x00" + b"\x7f" * 65536, b"G\x7f\xf8\x00\x00\x00\x00\x00\x00"),
    *(b"cos\nsystem\n", b"c_codecs\nencode\n", b"cnumpy\ndtype\n", b"ccollections\nOrderedDict\n", b"Pid\n", b"Q"),
    *(b"(" * 300 + b"t" * 300, b")" + b"\x86\x94h\x00" * 30, b"\x82\x01", b"\x95" + b"\xff" * 8, b"}((NtNs"),
)
_TYPES = ("<f8", "<f4", "<i8", "|u1", "|b1", "<c16", "<U3", "|S5", "|O", "<M8[s]", "<f2", ">i4", "|V8", "<U0", "<u8")


def mutated(name: str, data: bytes, rng: Rng) -> bytes:
    """The content of a file with one to three changes, most often one."""
    for _ in range(max(1, rng.integers(-3, 4))):
        data = _changed(name, data, rng)
    return data


def _changed(name: str, data: bytes, rng: Rng) -> bytes:
    change: Callable[[bytes, Rng], bytes] = _bytes
    if rng.random() < 0.8:
        if data.startswith(b"PK"):
            change = _archive
        elif data.startswith(b"\x93NUMPY"):
            change = _npy
        elif name.endswith((".json", ".jsonl")):
            change = _json if rng.random() < 0.7 else _text
        elif name.endswith(".pkl"):
            change = _pickle
        elif name.endswith(".safetensors"):
            change = _safetensors
        elif not name.endswith((".c3d", "mesh.ply", ".mp4", ".png", ".onnx")):
            change = _text
    try:
        return change(data, rng)
    except Exception:  # an earlier change left nothing that this one understands
        return _bytes(data, rng)


def _bytes(data: bytes, rng: Rng) -> bytes:
    if not data:
        return bytes([rng.integers(256)])
    start, stop = np.sort(rng.integers(0, len(data) + 1, 2))
    chunk = data[start:stop][: int(rng.integers(1, 200))]
    match rng.integers(7):
        case 0:
            return data[: rng.integers(len(data))]
        case 1:
            return data[:start] + data[stop:]
        case 2:
            return data[:start] + chunk * int(rng.integers(1, 50)) + data[start:]
        case 3:
            return data[:start] + rng.bytes(len(chunk)) + data[start + len(chunk) :]
        case 4:
            return data[:start] + bytes([rng.choice([0, 255, 127, 128])]) * 4 + data[start + 4 :]
    flipped = bytearray(data)
    for at in rng.integers(len(data), size=rng.integers(1, 9)):
        flipped[at] ^= 1 << rng.integers(8)
    return bytes(flipped)


def _text(data: bytes, rng: Rng) -> bytes:
    text = data.decode("utf-8", "surrogateescape")
    if rng.random() < 0.25:
        lines = text.split("\n")
        at = int(rng.integers(len(lines)))
        other = lines[rng.integers(len(lines))]
        lines[at : at + 1] = [[], [other], [lines[at], other], [lines[at]] * int(rng.integers(2, 300))][rng.integers(4)]
        return "\n".join(lines).encode("utf-8", "surrogateescape")
    tokens = list(re.finditer(r"[^\s,;:=<>\[\]{}()\"]+", text))
    chosen = tokens[rng.integers(len(tokens))]
    new = str(rng.choice(_NUMBERS)) if rng.random() < 0.8 else tokens[rng.integers(len(tokens))][0]
    return (text[: chosen.start()] + new + text[chosen.end() :]).encode("utf-8", "surrogateescape")


def _json(data: bytes, rng: Rng) -> bytes:
    tree = _node_changed(json.loads(data), rng)
    return json.dumps(tree).encode()


def _node_changed(tree: Any, rng: Rng) -> Any:
    """The tree with one node in it replaced, left out, repeated or renamed; nodes near the root as often as leaves."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.15:
        value = _VALUES[rng.integers(len(_VALUES))]
        return [tree, value] if rng.random() < 0.1 else value
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    key = keys[rng.integers(len(keys))]
    if rng.random() < 0.15:
        if isinstance(tree, list):
            return tree[:key] + tree[key:] * int(rng.integers(0, 3)) + tree[:1]
        other = {("changed" if k == key else k): v for k, v in tree.items()}
        return other if rng.random() < 0.5 else {k: v for k, v in tree.items() if k != key}
    copy: Any = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[key] = _node_changed(tree[key], rng)
    return copy


def _npy(data: bytes, rng: Rng) -> bytes:
    file = io.BytesIO(data)
    np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    raw = file.read()
    if dtype.hasobject:
        return data[: -len(raw)] + (_pickle(raw, rng) if rng.random() < 0.8 else _bytes(raw, rng))
    match rng.integers(6):
        case 0:  # another shape for the same bytes, or not
            sizes = [int(rng.choice([0, 1, 2, 3, 17, -1, 10**9, 2**62])) for _ in range(rng.integers(0, 5))]
            shape = tuple(sizes) if rng.random() < 0.5 else shape[::-1]
        case 1:
            dtype = np.dtype(str(rng.choice(_TYPES)))
        case 2:  # an array of another type and shape, whole
            return _whole(np.asarray(rng.choice([0, 1, -1, 1e30], rng.integers(1, 5, rng.integers(0, 4)))), rng)
        case 3 if raw:
            array = np.frombuffer(raw, dtype).reshape(shape, order="F" if fortran else "C").copy()
            return _saved(array[:0] if rng.random() < 0.3 else np.concatenate([array, array]))
        case 4:
            raw = _bytes(raw, rng)
        case _:
            values = np.frombuffer(raw, dtype).copy()
            if dtype.kind in "fc":
                extreme = rng.choice([np.nan, np.inf, -np.inf, 1e25, 1e308, -1, 0, 1e-300])
            else:
                extreme = rng.choice([-1, 0, 1, 127, 2**31 - 1])
            if len(values):
                where = slice(None) if rng.random() < 0.2 else rng.integers(len(values), size=rng.integers(1, 4))
                with np.errstate(all="ignore"):
                    values[where] = np.asarray(extreme).astype(dtype)
            raw = values.tobytes()
    head = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue() + raw


def _whole(array: np.ndarray, rng: Rng) -> bytes:
    kind = str(rng.choice(_TYPES))
    return _saved(array.astype(object) if kind == "|O" else array.astype("i8").astype(kind) if kind != "|V8" else array)


def _saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


def _archive(data: bytes, rng: Rng) -> bytes:
    """A member is changed, left out, renamed or another's; packed anew."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        packed = archive.infolist()[0].compress_type
    names = list(members)
    name = names[rng.integers(len(names))]
    match rng.integers(8):
        case 0:
            del members[name]
        case 1:
            members[names[rng.integers(len(names))]] = members[name]
        case 2:
            members[name] = members[name][: rng.integers(len(members[name]) + 1)]
        case 3 if name.endswith("data.pkl") or not name.endswith(".npy"):
            members[name] = _bytes(members[name], rng)
        case _:
            is_pickle = name.endswith(".pkl")
            members[name] = _pickle(members[name], rng) if is_pickle else _npy(members[name], rng)
    if rng.random() < 0.05:
        packed = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", packed) as archive:
        for entry, content in members.items():
            archive.writestr(entry, content)
    return file.getvalue()


def _pickle(data: bytes, rng: Rng) -> bytes:
    """Opcodes put in, left out, repeated or exchanged, at the borders of opcodes."""
    places = [at for _, _, at in pickletools.genops(data)]
    at = int(rng.integers(len(places) - 1))
    start, stop = places[at], places[at + 1]
    new = b"".join(_OPCODES[i] for i in rng.integers(len(_OPCODES), size=rng.integers(1, 4)))
    match rng.integers(4):
        case 0:
            return data[:start] + new + data[start:]
        case 1:
            return data[:start] + new + data[stop:]
        case 2:
            return data[:start] + data[stop:]
    end = places[min(len(places) - 1, at + int(rng.integers(1, 30)))]
    return data[:end] + data[start:end] * int(rng.integers(1, 100)) + data[end:]


def _safetensors(data: bytes, rng: Rng) -> bytes:
    """A node of the header, or of the specification in it."""
    (length,) = struct.unpack("<Q", data[:8])
    head, tensors = json.loads(data[8 : 8 + length]), data[8 + length :]
    match rng.integers(3):
        case 0:
            head = _node_changed(head, rng)
        case 1:
            said = head["__metadata__"]
            said["spec"] = json.dumps(_node_changed(json.loads(said["spec"]), rng))
        case _:
            tensors = tensors[:4] + struct.pack("<f", rng.choice([np.nan, np.inf, 1e30])) + tensors[8:]
    text = json.dumps(head).encode()
    return struct.pack("<Q", len(text)) + text + tensors
