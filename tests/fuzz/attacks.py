"""Files made by hand to exhaust a reader, end its process or pass wrong numbers: each is refused, or read right.

Run as cases of the harness: a worker that dies, takes too long or too much memory is a fault of the case.
"""

import functools
import io
import json
import os
import socket
import struct
import traceback
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch_files
from fuzz.corpus import ENTRIES, PEOPLE, content
from fuzz.harness import refused_wrongly
from fuzz.pickle_attacks import EVERYWHERE, PICKLES, READERS
from fuzz.readers import check_result

from jaxpose.originals.convert.dposer import read_normaliser
from tests.io import calibration_test


class Attack(NamedTuple):
    """make(path) writes `file`; read(path) must raise a line with `said`; None: it may be read too."""

    name: str
    file: str
    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    said: str | None


def _wide_tensor(path: Path) -> None:
    """Statistics of 400 million numbers in a storage of one."""
    one = torch_files.Storage(np.ones(1, np.float32))
    wide = torch_files.tensor(np.zeros(0), one, 0, (400_000_000,), (0,))
    torch_files.save(path, {"mean_poses": wide, "std_poses": wide})


def _bomb(path: Path, name: str, shape: tuple[int, ...], member: bytes | None = None, **others: Any) -> None:
    """An .npz of `others` and a member of zeros, 1000 times as long as in the file."""
    np.savez(path, **others)
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": shape})
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = deflate.compress(file.getvalue()) + deflate.flush(zlib.Z_FULL_FLUSH)
    block = deflate.compress(bytes(1 << 20)) + deflate.flush(zlib.Z_FULL_FLUSH)
    count = 8 * int(np.prod(shape)) >> 20
    raw = start + block * count + deflate.flush()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{name}.npy", raw)
        entry = archive.getinfo(f"{name}.npy")
        entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, len(file.getvalue()) + (count << 20)
    data = bytearray(path.read_bytes())
    local = entry.header_offset
    struct.pack_into("<H", data, local + 8, zipfile.ZIP_DEFLATED)
    struct.pack_into("<I", data, local + 22, entry.file_size)
    path.write_bytes(data)


def _npz(**arrays: Any) -> Callable[[Path], Any]:
    return lambda path: np.savez(path, **arrays)


def _changed(name: str, **arrays: Any) -> Callable[[Path], Any]:
    """A valid .npz with other arrays."""

    def make(path: Path) -> None:
        with np.load(io.BytesIO(content(name)), allow_pickle=True) as file:
            np.savez(path, **dict(file) | arrays)

    return make


def _members(**raw: bytes) -> Callable[[Path], Any]:
    """An .npz whose members are these bytes."""

    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in raw.items():
                archive.writestr(f"{name}.npy", data)

    return make


def _head(text: str, raw: bytes = b"") -> bytes:
    padded = text.ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(padded)) + padded.encode() + raw


def _marked(at: int, form: str, value: int) -> Callable[[Path], Any]:
    """k.npz with a field of all entries of the archive changed: at from the start of a local and a central header."""

    def make(path: Path) -> None:
        data = bytearray(content("k.npz"))
        for sign, offset in ((b"PK\x03\x04", at), (b"PK\x01\x02", at + 2)):
            place = data.find(sign)
            while place >= 0:
                struct.pack_into(form, data, place + offset, value)
                place = data.find(sign, place + 4)
        path.write_bytes(data)

    return make


def _spec(**changed: Any) -> Callable[[Path], Any]:
    """A model with other fields in its specification; those of its network as `network_`."""

    def make(path: Path) -> None:
        data = content("tiny.safetensors")
        (length,) = struct.unpack("<Q", data[:8])
        head = json.loads(data[8 : 8 + length])
        spec = json.loads(head["__metadata__"]["spec"])
        for key, value in changed.items():
            where = spec["network"] if key.startswith("network_") else spec
            where[key.removeprefix("network_")] = value
        head["__metadata__"]["spec"] = json.dumps(spec)
        text = json.dumps(head).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return make


def _text(text: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(text)


def _json(value: Any) -> Callable[[Path], Any]:
    return lambda path: path.write_text(json.dumps(value))


def _coco(**changed: Any) -> Callable[[Path], Any]:
    tree = json.loads(content("coco.json"))
    tree["annotations"][0] |= changed
    return _json(tree)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)


def _swapped(text: str, old: str, new: str) -> Callable[[Path], Any]:
    assert old in text
    return _text(text.replace(old, new))


def _ply(path: Path) -> None:
    path.write_bytes(content("text.ply").replace(b"0.25", b"nan"))


_NAN = float("nan")
_YAML = "%YAML:1.0\na:\n rows: 1\n cols: 1\n" + " data: [\n" * 20_000
_SKEW = np.tile([[500.0, 40, 320], [0, 510, 240], [0, 0, 1]], (2, 1, 1))
_BIG = 10**400
_BVH = (
    "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 1 Xrotation\n%s}\nMOTION\nFrames: 20000\nFrame Time: 0.1\n"
    + "1\n" * 20_000
)
_LONG_NAME = (
    ",".join(f"{'j' * 100_000 * (n == 0)}j{n}_{a}" for n in range(8000) for a in "xyz") + "\n" + "1," * 23_999 + "1\n"
)
_CLIP = {
    "image": np.array(["i" * 200_000]),
    "keypoints": np.ones((1, 3000, 17, 2)),
    "confidence": np.ones((1, 3000, 17)),
}
_MANY_COLUMNS = ",".join(f"j{n}_{a}" for n in range(50_000) for a in "xy") + "\n" + "1," * 99_999 + "1\n"
_ENTITIES = (
    "<!DOCTYPE a [<!ENTITY e0 'eeeeeeeeee'>"
    + "".join(f"<!ENTITY e{n + 1} '{f'&e{n};' * 10}'>" for n in range(12))
    + "]><a>&e12;</a>"
)
_LIMB = "JOINT %d\n{\nOFFSET 0 1 0\n}\n"


def _attack(name: str, like: str, make: Callable[[Path], Any], said: str | None = "") -> Attack:
    """Upon the reader of a file of the corpus."""
    return Attack(name, like, make, ENTRIES[like].read, said)


def _huge(shape: str) -> Callable[[Path], Any]:
    return _members(keypoints=_head(f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"))


def _calibrated(old: str, new: str) -> Callable[[Path], Any]:
    return _swapped(calibration_test.POSE2SIM, old, new)


_LINEAR = {"process": "linear_betas", "process_args": [1e-4, 0.02, 1e9]}
_UNKNOWN = np.full(17, 0xFFFFFFFF, "<u4").view("<U1")
_PIPES = [name for name, entry in ENTRIES.items() if not entry.beside and name not in ("live.jsonl", "000000.npz")]
_DEVICES = (
    *("k.npz", "k.npy", "coco.json", "any.pkl", "tiny.safetensors", "lift.jaxexport", "mesh.ply", "j.c3d", "j.trc"),
)
ATTACKS = [
    *(
        Attack(f"{what}, by {reader}", file, functools.partial(put, raw=raw), read, said)
        for what, (raw, said) in PICKLES.items()
        for reader, (file, put, read) in READERS.items()
        if what in EVERYWHERE or reader in ("load_pickle", "list")
    ),
    Attack("a tensor of stride 0", "a.pth", _wide_tensor, lambda p: read_normaliser(p, "axis_angle"), "far more than"),
    _attack(
        "a member of 2 GB", "k.npz", lambda p: _bomb(p, "more", (1 << 28,), keypoints=PEOPLE, skeleton="coco17"), None
    ),
    _attack(
        "keypoints of 2 GB", "k.npz", lambda p: _bomb(p, "keypoints", (1 << 22, 17, 3)), "must be at most 300 times"
    ),
    _attack("text of no characters", "k.npz", _npz(keypoints=PEOPLE, joints=_UNKNOWN), "no characters"),
    _attack("structures", "k.npz", _npz(keypoints=np.zeros((3, 17, 3), [("x", "f8")])), "must be numbers or text"),
    _attack("no header", "k.npz", _members(keypoints=b"1234567890" * 9), "magic string"),
    _attack("a header that is no Python", "k.npz", _members(keypoints=_head("{'descr': '<f8', (((")), "numpy file"),
    _attack("a huge shape", "k.npz", _huge("(1099511627776, 17, 3)"), "bytes for an array"),
    _attack("an empty array of huge axes", "k.npz", _huge("(0, 4000000000, 17, 3)"), "without elements"),
    _attack("an encrypted archive", "k.npz", _marked(6, "<H", 1), "encrypted"),
    _attack("an unknown compression", "k.npz", _marked(8, "<H", 99), "compression"),
    _attack("stored as deflated", "k.npz", _marked(8, "<H", 8), "numpy file"),
    _attack("frame rates", "smplh.npz", _changed("smplh.npz", mocap_framerate=np.ones(3)), "mocap_framerate"),
    _attack("a rate of 0", "smplh.npz", _changed("smplh.npz", mocap_framerate=0.0), "mocap_framerate"),
    _attack("a rate of NaN", "k.npz", _changed("k.npz", fps=_NAN), "fps"),
    _attack("betas of NaN", "smplh.npz", _changed("smplh.npz", betas=np.full(10, _NAN)), "betas"),
    _attack("R of NaN", "v.npz", _changed("v.npz", R=np.array([np.eye(3), np.full((3, 3), _NAN)])), "R has nan"),
    _attack("t of NaN", "v.npz", _changed("v.npz", t=np.full((2, 3), _NAN)), "t has nan"),
    _attack("distortion of NaN", "v.npz", _changed("v.npz", dist=np.full((2, 5), _NAN)), "dist has nan"),
    _attack("skew", "v.npz", _changed("v.npz", K=_SKEW), "skew"),
    _attack(
        "negative focal lengths", "v.npz", _changed("v.npz", K=_SKEW * [[-1, 0, 1], [1, 1, 1], [1, 1, 1]]), "focal"
    ),
    _attack("an image of 10^12 pixels", "k.npz", _changed("k.npz", image_size=[10**12, 1]), "image_size"),
    _attack("pixels of 10^25", "k.npz", _changed("k.npz", keypoints=1e25 * PEOPLE), "pixels"),
    _attack("body weights of NaN", "body.npz", _changed("body.npz", weights=np.full((20, 55), _NAN)), "weights"),
    _attack("a rotation of NaN", "pose2sim.toml", _calibrated("[ 0.1, -0.2, 0.3]", "[ nan, 0.0, 0.0]"), "rotation"),
    _attack("a translation without end", "pose2sim.toml", _calibrated("3.0]", "inf]"), "translation"),
    _attack("matrices without end", "opencv.yml", _text(_YAML)),
    _attack("a vertex of NaN", "text.ply", _ply, "vertex"),
    _attack("keypoints of 400 digits", "coco.json", _coco(keypoints=[_BIG, 1, 2] * 17)),
    _attack("a frame of 400 digits", "coco.json", _coco(image_id=_BIG)),
    _attack("digits past Python's limit", "coco.json", _text('[{"image_id": 1, "keypoints": [%s]}]' % ("9" * 5000))),
    _attack("a person in a list", "coco.json", _coco(track_id=[[{"a": 1}]])),
    _attack("an image in a list", "coco.json", _coco(image_id=[1])),
    _attack("keypoints of lists", "coco.json", _coco(keypoints=[[1, 2], 3] * 17)),
    _attack("nested lists", "coco.json", _text("[" * 100_000)),
    _attack("many names", "j.json", _json([{"joints": {f"j{n}": [0, 0, 1]}} for n in range(8000)]), "memory"),
    _attack("a long cell", "k.csv", _text("nose_x,nose_y\n" + "1" * 200_000 + ",2\n"), "field"),
    _attack("a long name of many", "j.csv", _text(_LONG_NAME), "memory"),
    _attack(
        "a long name of an image",
        "k.csv",
        _text("nose_x,nose_y,image\n1,2," + "i" * 100_000 + "\n3,4,a" * 20_000),
        "memory",
    ),
    _attack("an image's name for many frames", "clips.npz", _changed("clips.npz", **_CLIP), "memory"),
    _attack("many columns", "k.csv", _text(_MANY_COLUMNS)),
    _attack("40,000 frames", "m.npy", lambda p: np.save(p, np.zeros((40_000, 72), np.int8)), None),
    _attack("entities", "opencv.xml", _text(_ENTITIES), ""),
    _attack("a program of 3 GB", "lift.jaxexport", _changed("lift.jaxexport", program=np.array(3 << 30)), ""),
    _attack("frames far apart", "j.trc", _swapped(content("j.trc").decode(), "\n2\t", "\n900000000\t"), "memory"),
    _attack("joints without values", "small.bvh", _text(_BVH % "".join(_LIMB % n for n in range(900))), "memory"),
    _attack("many joints", "small.bvh", _text(_BVH % "".join(_LIMB % n for n in range(20_000))), "more than"),
    _attack("a width that is text", "tiny.safetensors", _spec(network_hidden="32"), "hidden"),
    _attack("a huge width", "tiny.safetensors", _spec(network_hidden=10**9), "hidden"),
    _attack("many layers", "tiny.safetensors", _spec(network_num_blocks=10**5), "num_blocks"),
    _attack("a base elsewhere", "tiny.safetensors", _spec(base="../../pose17"), "no bundled model"),
    _attack("a name that is a list", "tiny.safetensors", _spec(name=["a"]), "name"),
    _attack("a process of 10^9 steps", "tiny.safetensors", _spec(**_LINEAR), "process"),
    *(_attack(f"a pipe, {name}", name, lambda p: os.mkfifo(p)) for name in _PIPES),
    *(_attack(f"a device, {name}", name, lambda p: p.symlink_to("/dev/zero")) for name in _DEVICES),
    *(_attack(f"a socket, {name}", name, _socket) for name in _DEVICES),
    *(_attack(f"a folder, {name}", name, lambda p: p.mkdir()) for name in _DEVICES),
]


def run_case(seed: int, case: int, folder: Path) -> str | None:
    """The attack of this number."""
    attack = ATTACKS[case]
    path = folder / attack.file
    attack.make(path)
    try:
        check_result(attack.read(path))
    except ValueError as error:
        fits = attack.said is None or attack.said in str(error)
        return refused_wrongly(error, path) or (None if fits else f"{attack.name}: needed {attack.said!r} in {error}")
    except Exception:
        return f"{attack.name}: {traceback.format_exc()}"
    return None if attack.said is None else f"{attack.name}: it was read"
