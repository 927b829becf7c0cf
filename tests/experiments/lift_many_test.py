"""Lifting by Ray: two workers, one of them killed, give every row once, with the numbers of one process."""

import os
import signal

import numpy as np
import pytest
import small_models
from shared import refuses

import jaxpose
from jaxpose.model import ASSETS

ray = pytest.importorskip("ray", reason="needs the extra [ray]")
pa = pytest.importorskip("pyarrow", reason="needs the extra [ray]")
pq = pytest.importorskip("pyarrow.parquet")

from experiments import lift_many  # noqa: E402

pytestmark = pytest.mark.slow
RESULTS = ("pose", "radius_90", "root")


@pytest.fixture(scope="module", autouse=True)
def engine():
    """Two workers and what reads for them."""
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, object_store_memory=100_000_000)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    return {"model": str(small_models.write_joint_model(tmp_path_factory.mktemp("models"))), "num_hypotheses": 4}


@pytest.fixture(scope="module")
def batch():
    """The frames of the bundled clip, each a detection."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        given = {name: z[name] for name in ("keypoints", "confidence")}
        ids = np.array([f"clip/{n}" for n in range(len(z["keypoints"]))])
        return {"id": ids, **given, "intrinsics": np.tile(z["intrinsics"], (len(ids), 1))}


def read(folder):
    """Rows of Parquet files by id, each once."""
    rows = [row for path in sorted(folder.rglob("*.parquet")) for row in pq.read_table(path).to_pylist()]
    by_id = {row["id"]: row for row in rows}
    assert len(by_id) == len(rows)
    return by_id


def test_a_worker_that_is_killed_changes_no_number_and_no_row(tmp_path, settings, batch):
    for n, rows in enumerate(np.array_split(np.arange(len(batch["id"])), 6)):
        lists = {name: value[rows].tolist() for name, value in batch.items()}
        pq.write_table(pa.table(lists), tmp_path / f"{n}.parquet")
    killed = tmp_path / "killed"

    class Mortal(jaxpose.Lifter):
        """Killed at the first sight of one row."""

        def __call__(self, some):
            if "clip/40" in list(some["id"]) and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super().__call__(some) | {"worker": np.full(len(some["id"]), os.getpid())}

    tables = [str(path) for path in sorted(tmp_path.glob("*.parquet"))]
    rows = lift_many.rows_of(tables, jaxpose.load(settings["model"]).skeleton, tmp_path)
    lift_many.lifted(rows, Mortal, workers=2, batch=8, **settings).write_parquet(str(tmp_path / "out"))
    assert killed.exists()
    got, whole = read(tmp_path / "out"), jaxpose.Lifter(**settings)(batch)
    assert sorted(got) == sorted(batch["id"])
    assert len({row["worker"] for row in got.values()}) > 1
    for name in RESULTS:
        np.testing.assert_array_equal([got[row_id][name] for row_id in batch["id"]], whole[name], err_msg=name)


def test_files_of_a_folder_are_read_as_the_command_reads_them_and_a_part_can_be_repeated(tmp_path, settings, batch):
    clips = tmp_path / "clips"
    clips.mkdir()
    for name, rows in (("a", slice(0, 6)), ("b", slice(6, 10))):
        given = {name: batch[name][rows] for name in ("keypoints", "confidence")}
        np.savez(clips / f"{name}.npz", **given, intrinsics=batch["intrinsics"][0], fps=25)
    options = {"clips": str(clips), "out": str(tmp_path), "model": settings["model"], "hypotheses": 4, "parts": 2}
    options |= {"skeleton": "h36m17"}
    for part in (0, 1, 1):
        lift_many.main(lift_many.Options(**options, part=part))
    got = read(tmp_path / "poses")
    assert [len(got[row_id]["pose"]) for row_id in ("a.npz/0", "b.npz/0")] == [6, 4]
    skeleton = jaxpose.load(settings["model"]).skeleton
    (row,) = lift_many.people({"item": str(clips / "b.npz")}, skeleton, tmp_path, "h36m17")
    whole = jaxpose.Lifter(**settings)({name: [value] for name, value in row.items()})
    for name in RESULTS:
        np.testing.assert_array_equal(got["b.npz/0"][name], whole[name][0], err_msg=name)


def test_wrong_folders_and_rows_are_named(tmp_path, settings, batch):
    options = {"clips": str(tmp_path), "out": str(tmp_path / "out"), "model": settings["model"], "hypotheses": 4}
    options |= {"skeleton": "h36m17"}
    refuses(r"--clips: part 0 of 1 of .* has no files", lift_many.main, lift_many.Options(**options))
    np.savez(tmp_path / "few.npz", keypoints=batch["keypoints"][:2], confidence=np.zeros((2, 17)))
    refuses(r"few.npz: no detection has 4 visible joints", lift_many.main, lift_many.Options(**options))
    assert not list((tmp_path / "out").rglob("*.parquet"))
    assert not (tmp_path / "out" / "poses").exists(), "nothing half-written"
    (tmp_path / "table.parquet").touch()
    refuses("has tables and other files", lift_many.main, lift_many.Options(**options))
