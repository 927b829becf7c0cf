"""Networks taken from packages: by SHA-256 alone, whole or not at all, and an error that helps without a network."""

import contextlib
import hashlib
import http.client
import io
import tarfile
import threading
import zipfile

import pytest
from shared import refuses

from jaxpose.app.detect import weights

FILES = {name: name.encode() * 100 for name in weights._DIGESTS}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known = {name: (hashlib.sha256(content).hexdigest(),) for name, content in FILES.items()}
    monkeypatch.setattr(weights, "_DIGESTS", known)


def _package() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in FILES.items():  # the detector's name in the package is another
            entry = tarfile.TarInfo(f"package/{name}".replace("pose_detection.tflite", "assets.data"))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


def _wheel() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("pose_detection.tflite", "pose_landmark_full.tflite"):
            archive.writestr(f"mediapipe/modules/{name}", FILES[name])
        archive.writestr("mediapipe/other.tflite", b"something else")
    return file.getvalue()


def test_the_npm_package_the_wheel_and_single_files_are_taken(tmp_path):
    package, wheel, single = tmp_path / "a.tgz", tmp_path / "a.whl", tmp_path / "pose.tflite"
    package.write_bytes(_package())
    wheel.write_bytes(_wheel())
    single.write_bytes(FILES["pose_landmark_heavy.tflite"])
    assert weights.cached("heavy") is None
    assert sorted(weights.keep_file(wheel)) == ["pose_detection.tflite", "pose_landmark_full.tflite"]
    assert weights.cached("full").landmarks.read_bytes() == FILES["pose_landmark_full.tflite"]
    assert weights.keep_file(single) == ["pose_landmark_heavy.tflite"]
    assert weights.cached("heavy").name == "blazepose-heavy"
    assert weights.cached("lite") is None
    assert sorted(weights.keep_file(package)) == sorted(FILES)
    assert weights.cached("lite").detector.read_bytes() == FILES["pose_detection.tflite"]
    assert not list(weights.folder().glob(".*"))
    assert weights.kept("movenet-thunder.bin") == (weights.folder("movenet") / "movenet-thunder.bin").read_bytes()


def test_other_content_is_refused(tmp_path, monkeypatch):
    wheel = bytearray(_wheel())
    wheel[8] = wheel[wheel.find(b"PK\x01\x02") + 10] = 99  # a method of compression that there is not
    for content in (b"hello", b"PK\x03\x04 torn", b"\x1f\x8b torn", bytes(wheel), _wheel()[:-30], _package()[:-30]):
        (tmp_path / "a.whl").write_bytes(content)
        refuses(r"a\.whl: (none of its files|not a readable package)", weights.keep_file, tmp_path / "a.whl")
    refuses("no such file", weights.keep_file, tmp_path / "b.whl")
    for kind in (tarfile.LNKTYPE, tarfile.SYMTYPE, "sparse"):  # a few bytes may stand for any number
        with tarfile.open(tmp_path / "a.tgz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
            content = FILES["movenet-thunder.bin"]
            file, link = tarfile.TarInfo("a"), tarfile.TarInfo("b.tflite")
            link.linkname, file.size = "a", len(content)
            archive.addfile(file, io.BytesIO(content))
            if kind == "sparse":
                link.size, whole = file.size, {"size": f"{file.size}", "map": f"0,{file.size}"}
                link.pax_headers = {f"GNU.sparse.{k}": v for k, v in {**whole, "major": "0", "minor": "1"}.items()}
            else:
                link.type = kind
            archive.addfile(link, io.BytesIO(content))
        refuses("none of its files", weights.keep_file, tmp_path / "a.tgz")
    monkeypatch.setattr(weights, "_LARGEST", 1 << 20)
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "abc":
            archive.writestr(f"{name}.tflite", bytes(500_000))
    refuses("more than 1,048,576 bytes", weights.keep_file, tmp_path / "a.whl")
    assert not weights.folder().exists()


class _Endless(io.BytesIO):
    def read1(self, size=-1):
        return bytes(size)


@pytest.mark.parametrize(
    "answer",
    [
        http.client.IncompleteRead(b""),
        http.client.BadStatusLine("x"),
        http.client.LineTooLong("header line"),
        ConnectionResetError("reset"),
        io.BytesIO(b"<html>"),
        _Endless(),
        threading.Event(),
    ],
    ids=("IncompleteRead", "BadStatusLine", "LineTooLong", "reset", "no package", "endless", "no whole header"),
)
def test_a_registry_that_misbehaves_is_asked_three_times(answer, monkeypatch):
    asked = []

    def open_url(url, timeout):
        asked.append(url)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, threading.Event):
            answer.wait()
        answer.seek(0)
        return contextlib.nullcontext(answer)

    monkeypatch.setattr(weights.urllib.request, "urlopen", open_url)
    monkeypatch.setattr(weights, "_PAUSE", 0.0)
    monkeypatch.setattr(weights, "_LARGEST", 1 << 20)
    monkeypatch.setattr(weights, "_START", 0.0 if isinstance(answer, threading.Event) else 60.0)
    refuses(r"^https?://[^\n]*jaxpose prepare detector --from FILE$", weights.fetch)
    assert len(asked) == 3
    assert not weights.folder().exists()


def test_a_package_is_taken_after_an_answer_that_was_cut_off(monkeypatch):
    answers = [io.BytesIO(_package()), io.BytesIO(_package()[:-30])]
    monkeypatch.setattr(weights.urllib.request, "urlopen", lambda *_, **__: answers.pop())
    monkeypatch.setattr(weights, "_PAUSE", 0.0)
    assert sorted(weights.fetch()) == sorted(FILES)


def test_a_network_that_changed_in_the_cache_is_not_used(tmp_path):
    (tmp_path / "a.tgz").write_bytes(_package())
    weights.keep_file(tmp_path / "a.tgz")
    place = weights.cached("full").landmarks
    place.write_bytes(b"?" + place.read_bytes()[1:])
    assert weights.cached("full") is None
    assert weights.cached("heavy") is not None


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")
    monkeypatch.setattr(weights, "_PAUSE", 0.0)
    monkeypatch.setenv("no_proxy", "*")  # one of the user's would answer in its own words
    refuses(r"127\.0\.0\.1:9/@mediapipe/pose.*jaxpose prepare detector --from FILE", weights.fetch)


def test_sizes_by_name():
    refuses("must be one of lite, full, heavy", weights.cached, "huge")
