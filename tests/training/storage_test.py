"""JSON and metrics in storage that has neither folders nor appending: gs:// over an object store in memory."""

import json
from typing import ClassVar

import pytest
from etils.epath import backend
from fsspec.implementations.memory import MemoryFileSystem

from jaxpose.files import write_json
from jaxpose.training import processes
from jaxpose.training.progress import open_log
from jaxpose.training.run_folder import locked


class Store(MemoryFileSystem):
    """Objects, which cannot be appended to."""

    store: ClassVar = {}
    pseudo_dirs: ClassVar = [""]

    def _open(self, path, mode="rb", **kwargs):
        assert "a" not in mode, "storage has no appending"
        return super()._open(path, mode, **kwargs)


@pytest.fixture
def folder(monkeypatch):
    """A work folder in an empty store; etils takes paths of gs:// to it."""
    Store.store.clear()
    store = Store()
    monkeypatch.setattr(backend.fsspec_backend, "fs", lambda path: store)
    return processes.folder("gs://bucket/run")


def test_json_is_written_whole_or_not_at_all(folder):
    write_json(folder / "config.json", {"a": 1})
    assert json.loads((folder / "config.json").read_text()) == {"a": 1}
    with pytest.raises(TypeError):
        write_json(folder / "config.json", {"a": object()})
    assert json.loads((folder / "config.json").read_text()) == {"a": 1}


def test_metrics_of_a_resumed_run_follow_those_before(folder, monkeypatch):
    monkeypatch.setattr("jaxpose.training.progress._open_events", lambda *_: None)  # tensorboard has its own storage
    with locked(folder):
        log = open_log(folder, 0)
        for step in (5, 10, 15):
            log.write(step, {"loss": 1 / step})
        log.flush()
    log = open_log(folder, 10)
    assert log.has(10, "lo")
    assert not log.has(15, "lo")
    log.write(20, {"loss": 0.5})
    log.close()
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [5, 10, 20]
