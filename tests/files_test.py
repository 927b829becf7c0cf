"""Files appear whole or not at all, whatever happens while they are written and whoever else writes them."""

import errno
import json
import os
import threading

import numpy as np
import pytest
from shared import refuses

from jaxpose.files import WriteError, atomic, write_json, write_npz


class Full:
    """A file on a disk that fills up after some bytes."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        if self.file.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 10, 300, 5000])
def test_a_disk_that_fills_up_is_told_by_the_name_of_the_file_and_leaves_the_old_one(tmp_path, monkeypatch, room):
    """numpy's archive raises an error of its own while it closes, which hides that of the disk."""
    target = tmp_path / "a.npz"
    target.write_bytes(b"old")
    real = open

    class Opened(Full):
        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

    monkeypatch.setattr("builtins.open", lambda *given: Opened(real(*given), room))
    with pytest.raises(WriteError, match=rf"{target}: not written: No space left on device"):
        write_npz(target, {"x": np.zeros(1000), "y": np.zeros(1000)})
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert target.read_bytes() == b"old"


def test_a_folder_in_the_way_is_told_by_its_name(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(WriteError, match=r"a.json: not written"):
        write_json(tmp_path / "a.json", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_errors_of_the_work_stay_what_they_are(tmp_path):
    for error in (FileNotFoundError(2, "a source"), ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(error)) as found, atomic(tmp_path / "a"):
            raise error
        assert found.value is error
        assert not list(tmp_path.iterdir())


def test_json_holds_finite_numbers_only(tmp_path):
    for value in (float("nan"), float("inf"), {"deep": [1, float("-inf")]}):
        refuses(r"a.json: not written: needed finite numbers", write_json, tmp_path / "a.json", value)
    assert not list(tmp_path.iterdir())


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path):
    """Each in a thread of one process, where only the draft's random number tells them apart."""
    target, faults = tmp_path / "a.json", []

    def write(number):
        try:
            for _ in range(20):
                write_json(target, [number] * 2000)
                assert len(set(json.loads(target.read_text()))) == 1
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
