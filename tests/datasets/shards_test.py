"""Rows of a folder of shards against the arrays that were written, and folders that are not whole."""

import json
import shutil

import numpy as np
import pytest
from shared import refuses

from jaxpose.datasets.shards import open_shards, write_shards

RNG = np.random.default_rng(0)
JOINTS = RNG.normal(size=(23, 17, 3)).astype(np.float32)
PERSON = np.arange(23, dtype=np.int32)


@pytest.fixture
def folder(tmp_path):
    parts = ({"joints": JOINTS[a:b], "person": PERSON[a:b]} for a, b in ((0, 13), (13, 23)))
    assert write_shards(tmp_path / "s", parts, lambda: {"length": np.array([23])}, rows=5) == 23
    return tmp_path / "s"


def test_rows_in_any_order_are_those_of_the_arrays(folder):
    shards = open_shards(folder)
    assert len(shards) == 23
    assert np.diff(shards.start).tolist() == [5, 5, 3, 5, 5]
    rows = RNG.integers(0, 23, (7, 3))
    found = shards.take(rows)
    np.testing.assert_array_equal(found["joints"], JOINTS[rows])
    np.testing.assert_array_equal(found["person"], rows)
    assert all(isinstance(m, np.memmap) or isinstance(m.base, np.memmap) for m in shards.maps["joints"])
    assert shards.resident["length"].tolist() == [23]


def test_a_folder_is_not_written_over_and_a_failure_leaves_none(tmp_path, folder):
    refuses("exists already", write_shards, folder, [], dict)

    def parts():
        yield {"joints": JOINTS}
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        write_shards(tmp_path / "t", parts(), dict)
    assert not (tmp_path / "t").exists()


def test_a_damaged_folder_is_named(tmp_path, folder):
    def damaged(change):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change(copy)
        with pytest.raises(ValueError, match=str(copy)) as error:
            open_shards(copy)
        return str(error.value)

    def index(**changed):
        def change(copy):
            said = json.loads((copy / "index.json").read_text())
            (copy / "index.json").write_text(json.dumps(said | changed))

        return change

    assert "no such file" in damaged(lambda copy: (copy / "00003.joints.npy").unlink())
    assert "needed float32" in damaged(index(rows=[5, 5, 4, 5, 4]))
    assert "format 9" in damaged(index(format=9))
    assert "no index" in damaged(index(fields=[1]))
    assert "no such file" in damaged(lambda copy: (copy / "index.json").unlink())
    assert "resident.npz" in damaged(lambda copy: (copy / "resident.npz").write_bytes(b"PK"))
