"""The folder of compiled programs: what is damaged is never given to XLA, and no failure of the folder stops a command.

Programs are compiled in processes of their own, since this one has JAX's cache switched off (`conftest.py`).
"""

import functools
import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import jax
import numpy as np
import pytest
from xla import FLAGS

from jaxpose.runtime import program_cache
from jaxpose.runtime.program_cache import ProgramCache, private_folder, use_compilation_cache

VALUE = bytes(range(256)) * 40
PROGRAM = """
    import sys, jax, numpy as np
    from jaxpose.runtime.program_cache import use_compilation_cache
    events = []
    jax.monitoring.register_event_listener(lambda event, **_: events.append(event))
    use_compilation_cache()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    run = jax.jit(lambda x: jax.lax.fori_loop(0, 9, lambda _, x: jax.numpy.sin(x @ x.T) + x, x).sum())
    x = np.arange(64.0, dtype=np.float32).reshape(8, 8)
"""
ONCE = PROGRAM + "    print(float(run(x)), events.count('/jax/compilation_cache/cache_hits'))"


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def python(lines: str, home: Path, *, warned: str = "", **changes: str) -> list[str]:
    """The words that a fresh process prints, whose cache folder is in `home`; it must end well, and warn of no more."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    env |= {"XDG_CACHE_HOME": str(home), "XLA_FLAGS": FLAGS, "NPROC": "1", "JAX_PLATFORMS": "cpu", **changes}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(lines)], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    if warned:
        assert warned in done.stderr
        assert done.stderr.count("\n") == 1
    else:
        assert done.stderr == ""
    return done.stdout.split()


def test_the_next_process_reads_what_was_compiled_and_mends_what_was_damaged(tmp_path):
    found, hits = python(ONCE, tmp_path)
    assert hits == "0"
    assert python(ONCE, tmp_path) == [found, "1"]
    (entry,) = entries(tmp_path)
    whole = entry.read_bytes()
    for damaged in (whole[:-7], whole[:200] + bytes([whole[200] ^ 4]) + whole[201:]):
        entry.write_bytes(damaged)
        assert python(ONCE, tmp_path) == [found, "0"]
        assert python(ONCE, tmp_path) == [found, "1"]
    assert {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_dir()} == {"0o700"}


def test_only_what_was_put_is_given(tmp_path):
    cache, rng = ProgramCache(tmp_path), np.random.default_rng(0)
    assert cache.get("a") is None
    cache.put("a", VALUE)
    assert cache.get("a") == VALUE
    (entry,) = entries(tmp_path)
    whole = np.frombuffer(entry.read_bytes(), np.uint8)
    for trial in range(300):
        damaged = whole.copy()
        place = rng.integers(len(whole))
        if trial % 3:
            damaged[place] ^= 1 << rng.integers(8)
        entry.write_bytes((damaged if trial % 3 else damaged[:place]).tobytes())
        assert cache.get("a") is None
        assert not entry.exists(), "what is damaged is deleted"
    cache.put("a", VALUE)
    assert cache.get("a") == VALUE


def test_the_entry_of_another_program_or_another_machine_is_not_given(tmp_path):
    here, there = ProgramCache(tmp_path, machine="avx512"), ProgramCache(tmp_path, machine="avx2")
    here.put("a", VALUE)
    assert there.get("a") is None
    (first,) = entries(tmp_path)
    here.put("b", VALUE[::-1])
    (second,) = set(entries(tmp_path)) - {first}
    second.write_bytes(first.read_bytes())
    assert here.get("b") is None
    assert here.get("a") == VALUE


def test_a_machine_is_told_by_versions_and_features(monkeypatch, tmp_path):
    told = program_cache._machine()
    assert f"jax {jax.__version__}" in told
    assert "jaxpose" in told
    if Path("/proc/cpuinfo").exists():
        assert "flags" in told or "Features" in told
        assert "MHz" not in told, "it changes from one moment to the next"
    assert program_cache._machine() == told


def test_the_least_recently_used_are_deleted_past_the_size(tmp_path):
    cache = ProgramCache(tmp_path, most_bytes=3 * (len(VALUE) + 32))
    (tmp_path / "jit_old-cache").write_bytes(VALUE)  # as JAX's own cache names it
    os.utime(tmp_path / "jit_old-cache", (1, 1))
    for seconds, key in enumerate("abc"):
        cache.put(key, VALUE)
        os.utime(cache._place(key), (10 + seconds, 10 + seconds))
    assert not (tmp_path / "jit_old-cache").exists()
    assert cache.get("a") == VALUE
    cache.put("d", VALUE)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    cache.put("too large", VALUE * 4)
    assert [key for key in "abcd" if cache.get(key) is not None] == ["a", "c", "d"]
    assert cache.get("too large") is None


def test_writers_of_one_entry_leave_it_whole(tmp_path):
    """Two caches write one entry while two read it: what is read is nothing or whole."""
    values = {bytes([k]) * 300_000 for k in range(2)}
    read: list[bytes | None] = []

    def write(value):
        for _ in range(50):
            ProgramCache(tmp_path).put("a", value)

    def look():
        cache = ProgramCache(tmp_path)
        read.extend(cache.get("a") for _ in range(100))

    threads = [threading.Thread(target=write, args=(v,)) for v in values]
    threads += [threading.Thread(target=look) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read) <= values | {None}
    assert ProgramCache(tmp_path).get("a") in values
    assert len(entries(tmp_path)) == 1


@pytest.mark.parametrize("failing", ["open", "replace", "scandir", "full"])
def test_what_cannot_be_written_is_left_out(failing, tmp_path, monkeypatch):
    def fail(*given, **named):
        raise OSError(28, "No space left on device")

    cache = ProgramCache(tmp_path)
    if failing == "full":
        full = functools.partial(open, "/dev/full", "wb", buffering=0)
        monkeypatch.setattr(program_cache, "open", lambda *given: full(), raising=False)
    elif failing == "open":
        monkeypatch.setattr(program_cache, "open", fail, raising=False)
    else:
        monkeypatch.setattr(os, failing, fail)
    cache.put("a", VALUE)
    monkeypatch.undo()
    assert cache.get("a") is None
    assert entries(tmp_path) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_what_is_no_file_is_not_read(tmp_path):
    cache = ProgramCache(tmp_path)
    os.mkfifo(cache._place("a"))
    cache._place("b").mkdir()
    cache._place("c").symlink_to("/dev/zero")
    for key in "abc":
        assert cache.get(key) is None
        cache.put(key, VALUE)
    assert [cache.get(key) for key in "abc"] == [VALUE, None, VALUE]
    assert ProgramCache(tmp_path / "nothing").get("a") is None
    ProgramCache(tmp_path / "nothing").put("a", VALUE)


class TestFolder:
    """Of the user alone, wherever it is told to be."""

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
            with pytest.raises(ValueError, match=rf"{name}: others may write to it \(mode {mode:o}\)"):
                private_folder()
        (tmp_path / name).chmod(0o700)
        monkeypatch.setattr(os, "getuid", lambda: (tmp_path / name).stat().st_uid + 1)
        with pytest.raises(ValueError, match="needed a folder of this user, found one of user"):
            private_folder()

    def test_a_link_to_another_folder_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        (tmp_path / "other").mkdir()
        (tmp_path / "jaxpose").symlink_to(tmp_path / "other")
        with pytest.raises(ValueError, match="jaxpose: needed a folder, found something else"):
            private_folder()

    def test_a_relative_one_is_ignored(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XDG_CACHE_HOME", "caches")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        assert private_folder() == tmp_path / "home" / ".cache" / "jaxpose" / "xla"
        assert not (tmp_path / "caches").exists()


class TestSetUp:
    """It never stops a command, and says in one line why nothing is kept."""

    @pytest.fixture(autouse=True)
    def _settings_are_restored(self, monkeypatch):
        from jax._src import compilation_cache

        monkeypatch.setattr(compilation_cache, "_cache", None)
        names = ("compilation_cache_dir", "enable_compilation_cache", "persistent_cache_min_compile_time_secs")
        before = {f"jax_{name}": jax.config.values[f"jax_{name}"] for name in names}
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", True)
        yield
        for name, value in before.items():
            jax.config.update(name, value)

    @staticmethod
    def given():
        from jax._src import compilation_cache

        return compilation_cache._cache

    @pytest.mark.parametrize("place", ["file", "missing", "long", "nul"])
    def test_a_folder_that_cannot_be(self, place, tmp_path, monkeypatch, capsys):
        (tmp_path / "file").write_text("")
        if place == "nul":  # not legal in the environment; as it comes from a home folder
            monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
            monkeypatch.setattr(Path, "home", lambda: Path("/a\0b"))
        else:
            told = {"file": tmp_path / "file", "missing": "/proc/none", "long": "/" + "x" * 5000}[place]
            monkeypatch.setenv("XDG_CACHE_HOME", str(told))
        use_compilation_cache()
        said = capsys.readouterr().err
        assert said.startswith("jaxpose: compiled programs are not kept: ")
        assert said.count("\n") == 1
        assert self.given() is None

    def test_a_user_without_a_home(self, monkeypatch, capsys):
        def fail():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr(Path, "home", fail)
        use_compilation_cache()
        assert capsys.readouterr().err == (
            "jaxpose: compiled programs are not kept: Could not determine home directory.\n"
        )

    def test_what_jax_is_told_is_respected(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ours"))
        jax.config.update("jax_compilation_cache_dir", str(tmp_path / "theirs"))
        use_compilation_cache()
        assert self.given() is None
        jax.config.update("jax_compilation_cache_dir", None)
        jax.config.update("jax_enable_compilation_cache", False)
        use_compilation_cache()
        assert self.given() is None
        assert list(tmp_path.iterdir()) == []
        jax.config.update("jax_enable_compilation_cache", True)
        use_compilation_cache()
        assert isinstance(self.given(), ProgramCache)
        assert capsys.readouterr().err == ""

    @pytest.mark.parametrize("name", ["_cache", "_get_cache"])
    def test_another_version_of_jax_goes_without(self, name, tmp_path, monkeypatch, capsys):
        from jax._src import compilation_cache

        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
        monkeypatch.delattr(compilation_cache, name)
        use_compilation_cache()
        assert getattr(compilation_cache, "_cache", None) is None
        assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_hundreds_of_damaged_entries_are_compiled_again(tmp_path):
    """Bit flips and cuts between calls of one process, which reads the entry anew each time."""
    lines = (
        PROGRAM
        + """
    from pathlib import Path
    folder = Path(sys.argv[1]) / "jaxpose" / "xla"
    found, rng = float(run(x)), np.random.default_rng(int(sys.argv[2]))
    (entry,) = folder.iterdir()
    whole = np.frombuffer(entry.read_bytes(), np.uint8)
    for trial in range(100):
        damaged, place = whole.copy(), rng.integers(len(whole))
        damaged[rng.integers(len(whole), size=1 + trial % 4)] ^= np.uint8(1 << rng.integers(8))
        entry.write_bytes((damaged if trial % 3 else damaged[:place]).tobytes())
        for _ in range(2):
            jax.clear_caches()
            assert float(run(x)) == found
    print(events.count('/jax/compilation_cache/cache_hits'))
    """
    )
    for seed in range(5):
        lines_of_seed = lines.replace("sys.argv[1]", repr(str(tmp_path / str(seed)))).replace("sys.argv[2]", str(seed))
        assert python(lines_of_seed, tmp_path / str(seed)) == ["100"]


@pytest.mark.slow
def test_a_command_gives_the_same_poses_whatever_its_entries_are(tmp_path):
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    env |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "XLA_FLAGS": FLAGS}
    rng = np.random.default_rng(0)

    def generate() -> np.ndarray:
        out = tmp_path / "out"
        line = [sys.executable, "-m", "jaxpose.app.cli", "generate", "--num", "2", "--steps", "2", "--out", str(out)]
        done = subprocess.run(line, env=env, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        with np.load(out / "generated.npz") as file:
            found = file["samples"]
        shutil.rmtree(out)
        return found

    first = generate()
    kept = entries(tmp_path / "cache")
    assert len(kept) > 0
    for trial in range(6):
        for entry in kept:
            whole = bytearray(entry.read_bytes())
            whole[rng.integers(len(whole))] ^= 1 << rng.integers(8)
            entry.write_bytes(whole[: rng.integers(len(whole))] if trial % 2 else whole)
        np.testing.assert_array_equal(generate(), first)
        assert entries(tmp_path / "cache") == kept
