"""The folder of Human3.6M frames: what was written is what is read, and a damaged folder says what is wrong."""

import json

import numpy as np
import pytest
from shared import refuses

from jaxpose.originals.datasets.h36m import LAYOUT, Frames, load_frames, new_folder, writing_frames


def some_frames(count, seed=0):
    rng = np.random.default_rng(seed)
    return Frames(**{name: rng.normal(0, 100, (count, *shape)).astype(kind) for name, (shape, kind) in LAYOUT.items()})


def write(folder, *blocks):
    with writing_frames(folder, {"split": "test"}) as append:
        for block in blocks:
            append(block)


@pytest.fixture
def folder(tmp_path):
    frames = some_frames(7)
    write(tmp_path / "h36m", Frames(*(x[:4] for x in frames)), Frames(*(x[4:] for x in frames)))
    return tmp_path / "h36m"


def test_what_was_written_in_blocks_is_read_as_one(folder):
    loaded = load_frames(folder)
    for name, array in some_frames(7)._asdict().items():
        read = getattr(loaded, name)
        assert isinstance(read, np.memmap)
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)
        np.testing.assert_array_equal(np.load(folder / f"{name}.npy"), array)
    meta = json.loads((folder / "meta.json").read_text())
    assert meta == {"format": "jaxpose-h36m-1", "count": 7, "split": "test"}


def test_blocks_of_another_shape_and_none_leave_nothing(tmp_path):
    wrong = some_frames(3)._replace(camera=np.zeros((3, 16, 3), np.float32))
    refuses(r"camera: needed shape \(3, 17, 3\), got \(3, 16, 3\)", write, tmp_path / "h36m", wrong)
    refuses("no frames", write, tmp_path / "h36m")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_new_and_appears_whole(folder, tmp_path):
    refuses("exists already", write, folder, some_frames(1))
    refuses("is not a folder", write, tmp_path / "no" / "h36m", some_frames(1))

    def fill():
        with new_folder(tmp_path / "other") as draft:
            (draft / "half").write_text("written")
            assert not (tmp_path / "other").exists()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["h36m"]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda f: (f / "ratio.npy").unlink(), r"ratio\.npy: no such file"),
        (lambda f: (f / "meta.json").unlink(), r"meta\.json: no such file"),
        (lambda f: (f / "meta.json").write_text("{"), r"meta\.json: not JSON"),
        (lambda f: (f / "meta.json").write_text('{"format": "x"}'), "the format is 'x'; must be 'jaxpose-h36m-1'"),
        (lambda f: (f / "meta.json").write_text('{"format": "jaxpose-h36m-1"}'), "count must be a positive number"),
        (lambda f: np.save(f / "ratio.npy", np.zeros(6, np.float32)), r"float32 \[6\]; needed float32 \[7\]"),
        (lambda f: np.save(f / "ratio.npy", np.zeros(7)), r"float64 \[7\]; needed float32"),
        (lambda f: cut(f / "image.npy", 200), r"image\.npy: not a readable numpy file"),
        (lambda f: cut(f / "image.npy", 0), r"image\.npy: not a readable numpy file"),
        (lambda f: np.save(f / "ratio.npy", np.array([{}] * 7)), r"ratio\.npy: not a readable numpy file"),
    ],
)
def test_a_damaged_folder_names_its_file(folder, break_it, message):
    break_it(folder)
    refuses(message, load_frames, folder)


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])
