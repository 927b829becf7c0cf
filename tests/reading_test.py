"""Errors of files: one short line that names the file, whatever the libraries that parse it raise."""

import os

import numpy as np
import pytest

from jaxpose.reading import check_file, check_growth, one_line, opened, reader, reading, shown


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("cannot reshape"), "a.x: not a readable thing (cannot reshape)"),
        (KeyError("frame"), "a.x: not a readable thing (KeyError: 'frame')"),
        (RecursionError("maximum"), "a.x: not a readable thing: nested too deeply to be read"),
        (MemoryError(), "a.x: not a readable thing (MemoryError)"),
        (FileNotFoundError(2, "No such file", "a.x"), "a.x: no such file"),
        (ValueError("a.x, line 3: needed a number"), "a.x, line 3: needed a number"),
        (ValueError("two\nlines\x1b of a.x"), "two lines? of a.x"),
    ],
)
def test_every_error_is_one_line_that_names_the_file(error, said):
    with pytest.raises(ValueError, match="a") as caught, reading("a.x", "thing"):
        raise error
    assert str(caught.value) == said


def test_what_is_no_fault_of_the_file_is_passed_on():
    for error in (ImportError("a package"), KeyboardInterrupt()):
        with pytest.raises(type(error)), reading("a.x", "thing"):
            raise error


def test_a_reader_is_called_as_before(tmp_path):
    @reader("thing")
    def read(path, *, scale=1):
        """Reads."""
        return scale * {"3": 3}[path]

    assert (read("3", scale=2), read.__doc__, read.__name__) == (6, "Reads.", "read")
    with pytest.raises(ValueError, match=r"a\.x: not a readable thing \(KeyError"):
        read("a.x")


def test_long_messages_keep_their_end():
    line = one_line("begin " + "x " * 10_000 + "legal are a and b")
    assert len(line) < 420
    assert line.startswith("begin x")
    assert line.endswith("legal are a and b")


def test_values_are_shown_in_part():
    shared: tuple = ()
    for _ in range(60):
        shared = (shared, shared)
    for value in (shared, {"a": shared}, "x" * 10**6, 10**5000, list(range(10**6)), np.zeros(9999)):
        assert len(shown(value)) <= 80
    assert shown([1, "b"]) == "[1, 'b']"


def test_only_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    with opened(tmp_path / "file", "thing") as file:
        assert file.read() == b"12345"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name, said in {"pipe": "a pipe", "device": "a device", ".": "a folder", "none": "no such file"}.items():
        with pytest.raises(ValueError, match=said), opened(tmp_path / name, "thing"):
            pass
    with pytest.raises(ValueError, match="5 bytes; must be at most 4"):
        check_file(tmp_path / "file", 4)


def test_memory_is_bounded_by_the_size_of_the_file(tmp_path):
    (tmp_path / "file").write_bytes(bytes(1000))
    most = ((64 << 20) + 100_000) // 8
    check_growth(tmp_path / "file", most, "numbers")
    with pytest.raises(ValueError, match="file: numbers would take"):
        check_growth(tmp_path / "file", most + 1, "numbers")
