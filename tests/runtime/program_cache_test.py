"""The folder of compiled programs: private, bounded in size, and no failure of it stops a command.

Programs are compiled in processes of their own, since this one has JAX's cache switched off (`conftest.py`).
"""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import pytest
from shared import refuses
from xla import FLAGS

from jaxpose.runtime import program_cache
from jaxpose.runtime.program_cache import private_folder, use_compilation_cache

PROGRAM = """
    import jax, numpy as np
    from jaxpose.runtime.program_cache import use_compilation_cache
    events = []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    use_compilation_cache()
    run = jax.jit(lambda x: jax.lax.fori_loop(0, 9, lambda _, x: jax.numpy.sin(x @ x.T) + x, x).sum())
    x = np.arange(64.0, dtype=np.float32).reshape(8, 8)
    print(float(run(x)), events.count('/jax/compilation_cache/cache_hits'))
"""


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*-cache") if path.is_file())


def python(home: Path) -> list[str]:
    """The words that a fresh process prints, whose cache folder is in `home`."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    env |= {"XDG_CACHE_HOME": str(home), "XLA_FLAGS": FLAGS, "NPROC": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(PROGRAM)], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_next_process_reads_what_was_compiled_and_a_damaged_entry_stops_nothing(tmp_path):
    result, hits = python(tmp_path)
    assert hits == "0"
    assert python(tmp_path) == [result, "1"]
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_dir()} == {"0o700"}
    for entry in entries(tmp_path):
        entry.write_bytes(entry.read_bytes()[:-7])
    assert python(tmp_path) == [result, "0"]


def test_machines_of_other_processors_have_other_folders(monkeypatch):
    here = program_cache._machine()
    assert program_cache._machine() == here
    monkeypatch.setattr(Path, "read_text", lambda *given, **named: "model name: other\ncpu MHz: 3\n\nmodel name: 2")
    there = program_cache._machine()
    assert there != here
    monkeypatch.setattr(Path, "read_text", lambda *given, **named: "model name: other\ncpu MHz: 4\n\nmodel name: 2")
    assert program_cache._machine() == there


def test_the_oldest_are_deleted_past_the_size(tmp_path, monkeypatch):
    for place, name in enumerate(("old/a", "new/b", "new/c", "old/d")):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"1234")
        os.utime(path, (place, place))
    monkeypatch.setattr(program_cache, "MOST_BYTES", 11)
    program_cache._make_room(tmp_path)
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["c", "d"]


class TestFolder:
    """The folder belongs to the user alone, wherever it is."""

    def test_it_is_made_private_and_found_again(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "new"))
        mask = os.umask(0)
        try:
            folder = private_folder()
        finally:
            os.umask(mask)
        assert folder == tmp_path / "new" / "jaxpose" / "xla"
        assert oct(folder.stat().st_mode) == oct(folder.parent.stat().st_mode) == "0o40700"
        folder.chmod(0o755)  # as earlier versions made it
        assert private_folder() == folder
        assert oct(folder.stat().st_mode) == "0o40700"

    @pytest.mark.parametrize("name", ["jaxpose", "jaxpose/xla"])
    def test_others_may_neither_own_it_nor_write_to_it(self, name, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        private_folder()
        for mode in (0o770, 0o702, 0o777):
            (tmp_path / name).chmod(mode)
            refuses(rf"{name}: others may write to it \(mode {mode:o}\)", private_folder)
        (tmp_path / name).chmod(0o700)
        monkeypatch.setattr(os, "getuid", lambda: (tmp_path / name).stat().st_uid + 1)
        refuses("must be a folder of this user, belongs to user", private_folder)

    def test_a_link_to_another_folder_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        (tmp_path / "other").mkdir()
        (tmp_path / "jaxpose").symlink_to(tmp_path / "other")
        refuses("jaxpose: must be a folder, is something else", private_folder)


class TestSetUp:
    """It never stops a command, and says in one line why nothing is kept."""

    @pytest.fixture(autouse=True)
    def _settings_are_restored(self):
        names = ("compilation_cache_dir", "enable_compilation_cache", "persistent_cache_min_compile_time_secs")
        names += ("persistent_cache_min_entry_size_bytes",)
        before = {f"jax_{name}": getattr(jax.config, f"jax_{name}") for name in names}
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", True)
        yield
        for name, value in before.items():
            jax.config.update(name, value)

    @pytest.mark.parametrize("place", ["file", "missing", "long", "nul"])
    def test_a_folder_that_cannot_be(self, place, tmp_path, monkeypatch, capsys):
        (tmp_path / "file").write_text("")
        if place == "nul":  # not legal in the environment; as it comes from a home folder
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
            monkeypatch.setattr(Path, "home", lambda: Path("/a\0b"))
        else:
            cache = {"file": tmp_path / "file", "missing": "/proc/none", "long": "/" + "x" * 5000}[place]
            monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        use_compilation_cache()
        warning = capsys.readouterr().err
        assert warning.startswith("jaxpose: compiled programs are not kept: ")
        assert warning.count("\n") == 1
        assert jax.config.jax_compilation_cache_dir is None

    def test_settings_of_jax_are_respected(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ours"))
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
        use_compilation_cache()
        assert jax.config.jax_compilation_cache_dir == str(tmp_path / "theirs")
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", False)
        use_compilation_cache()
        assert jax.config.jax_compilation_cache_dir is None
        assert list(tmp_path.iterdir()) == []
        jax.config.update("jax_enable_compilation_cache", True)
        use_compilation_cache()
        assert Path(jax.config.jax_compilation_cache_dir).parent == tmp_path / "ours" / "jaxpose" / "xla"
        assert capsys.readouterr().err == ""
