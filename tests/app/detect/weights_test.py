"""Networks taken from packages: by SHA-256 alone, whole or not at all, and an error that helps without a network."""

import hashlib
import io
import tarfile
import zipfile

import pytest

from jaxpose.app.detect import weights

FILES = {name: name.encode() * 100 for name in weights._DIGESTS}


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    known = {name: (hashlib.sha256(content).hexdigest(),) for name, content in FILES.items()}
    monkeypatch.setattr(weights, "_DIGESTS", known)


def test_the_npm_package_the_wheel_and_single_files_are_taken(tmp_path):
    package, wheel, single = tmp_path / "a.tgz", tmp_path / "a.whl", tmp_path / "pose.tflite"
    with tarfile.open(package, "w:gz") as archive:
        for name, content in FILES.items():  # the detector's name in the package is another
            entry = tarfile.TarInfo(f"package/{name}".replace("pose_detection.tflite", "assets.data"))
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in ("pose_detection.tflite", "pose_landmark_full.tflite"):
            archive.writestr(f"mediapipe/modules/{name}", FILES[name])
        archive.writestr("mediapipe/other.tflite", b"something else")
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


def test_other_content_is_refused(tmp_path):
    for content in (b"hello", b"PK\x03\x04 torn", b"\x1f\x8b torn"):
        (tmp_path / "a.whl").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.whl: (none of its files|damaged archive)"):
            weights.keep_file(tmp_path / "a.whl")
    with pytest.raises(ValueError, match="no such file"):
        weights.keep_file(tmp_path / "b.whl")
    assert not weights.folder().exists()


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", "*")  # one of the user's would answer in its own words
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:9/@mediapipe/pose.*jaxpose prepare detector --from FILE"):
        weights.fetch()


def test_sizes_by_name():
    with pytest.raises(ValueError, match="must be one of lite, full, heavy"):
        weights.cached("huge")
