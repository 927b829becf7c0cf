"""Programs of one process are those of the next: not traced, not compiled, and the same to the last bit.

What is damaged, foreign or hostile is never run, and is no reason to fail.
"""

import functools
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from compilations import counted
from xla import FLAGS

from jaxpose.base import Camera, Hypotheses
from jaxpose.files import ASSETS
from jaxpose.runtime import kept as module
from jaxpose.runtime import program_cache
from jaxpose.runtime.kept import kept, once
from jaxpose.runtime.program_cache import ProgramCache
from jaxpose.tasks.blocks import folded
from jaxpose.tasks.samplers import probability_flow, stochastic

X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def task(key, x, shift=None, *, scale=1.0, sampler=None, kind="a"):
    noise = jax.random.normal(key, x.shape)
    y = jnp.sin(x * scale) @ jnp.ones((4, 2)) + noise[:, :2]
    y = y if shift is None else y + shift.intrinsics.sum()
    return Hypotheses(y, y.mean(0), y, y, y, noise=y * 2) if kind == "a" else (y, None)


def number(x):
    return jnp.cos(x).sum()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    found = ProgramCache(tmp_path)
    monkeypatch.setattr(program_cache, "_in_use", found)
    return found


@pytest.fixture
def read_alone(monkeypatch):
    """From when it is called, programs come from the folder alone."""

    def fail(*given):
        raise AssertionError("compiled")

    return lambda: monkeypatch.setattr(module, "_made", fail)


def _equal(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("kind", ["a", "b"])
def test_the_next_process_reads_what_the_first_compiled_and_numbers_are_those_of_jit(cache, read_alone, kind):
    """A second `kept` of the same function stands for the next process: it has compiled nothing of its own."""
    key, camera = jax.random.key(5), Camera(np.arange(4.0))
    how = {"scale": 2.5, "sampler": stochastic(3), "kind": kind}
    expected = jax.jit(functools.partial(task, **how))(key, X, camera)
    _equal(kept(task, "kind", **{k: v for k, v in how.items() if k != "kind"})(key, X, camera, kind=kind), expected)
    read_alone()
    run = kept(task, "kind", **{k: v for k, v in how.items() if k != "kind"})
    for _ in range(2):
        with counted() as compiled:
            _equal(run(key, X, camera, kind=kind), expected)
    assert compiled.count == 0


def test_a_number_and_none_are_arguments_and_an_array_is_a_result(cache, read_alone):
    expected = np.asarray(jax.jit(number)(0.5))
    assert kept(number)(0.5) == expected
    read_alone()
    assert kept(number)(0.5) == expected
    assert kept(number)(0.25) == np.asarray(jax.jit(number)(0.25))


def test_another_program_is_another_entry(cache, read_alone, monkeypatch):
    key = jax.random.key(0)
    kept(task, scale=2.0)(key, X)
    assert len(list(Path(cache._path).iterdir())) == 1
    read_alone()
    kept(task, scale=2.0)(jax.random.key(9), X + 1)
    others = {
        "setting": lambda: kept(task, scale=3.0)(key, X),
        "value of another type": lambda: kept(task, scale=2)(key, X),
        "sampler": lambda: kept(task, scale=2.0, sampler=probability_flow())(key, X),
        "function": lambda: kept(number, scale=2.0)(key, X),
        "shape": lambda: kept(task, scale=2.0)(key, X[:2]),
        "type": lambda: kept(task, scale=2.0)(key, X.astype(int)),
        "structure": lambda: kept(task, scale=2.0)(key, X, Camera(np.ones(4))),
        "generator": lambda: kept(task, scale=2.0)(jax.random.key(0, impl="rbg"), X),
    }
    for run in others.values():
        with pytest.raises(AssertionError, match="compiled"):
            run()
    for name, value in (("XLA_FLAGS", "--xla_dump_to="), ("NPROC", "7")):
        monkeypatch.setenv(name, value)
        module._surroundings.cache_clear()
        with pytest.raises(AssertionError, match="compiled"):
            kept(task, scale=2.0)(key, X)
        monkeypatch.delenv(name)
    module._surroundings.cache_clear()


def test_changed_source_is_another_program(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("x = 1")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "kept.py"))
    found = []
    for text in ("x = 1", "x = 2", "x = 1"):
        (tmp_path / "a.py").write_text(text)
        os.utime(tmp_path / "a.py", (1, 1))
        module._surroundings.cache_clear()
        found.append(module._surroundings())
    module._surroundings.cache_clear()
    assert found[0] == found[2] != found[1]


class Bomb:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_what_is_damaged_or_hostile_is_compiled_anew_and_never_unpickled(cache, tmp_path):
    key, mark = jax.random.key(0), tmp_path.parent / f"{tmp_path.name}-unpickled"
    expected = kept(task)(key, X)
    (place,) = Path(cache._path).iterdir()
    whole, value = place.read_bytes(), place.read_bytes()[32:]
    length = int.from_bytes(value[:4], "little")
    bomb = pickle.dumps(Bomb(mark))
    assert pickle.loads(bomb).closed is False
    assert mark.exists()
    mark.unlink()

    def signed(value):  # as who can write to the folder could
        return program_cache._sum(place.name, value) + value

    more = b'{"kind": "Hypotheses", "has": [true, true, true, true, true, true, true, true]}'
    entries = {
        "cut": whole[: len(whole) // 2],
        "flipped": whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:],
        "empty": b"",
        "pickle for all": signed(bomb),
        "pickle for the executable": signed(value[: 4 + length] + bomb),
        "pickle for the header": signed(len(bomb).to_bytes(4, "little") + bomb + value[4 + length :]),
        "a length beyond the end": signed(b"\xff\xff\xff\x7f" + value[4:]),
        "a header without what is needed": signed(b"\x02\0\0\0{}" + value[4 + length :]),
        "a header of more than there is": signed(len(more).to_bytes(4, "little") + more + value[4 + length :]),
        "nothing": signed(b""),
    }
    for entry in entries.values():
        place.write_bytes(entry)
        _equal(kept(task)(key, X), expected)
        assert not mark.exists()
        assert place.read_bytes()[:32] == program_cache._sum(place.name, place.read_bytes()[32:]), "it is written anew"


def test_what_cannot_be_kept_takes_its_ordinary_way(cache):
    key = jax.random.key(0)

    def local(x):
        return x + 1

    np.testing.assert_array_equal(kept(local)(X), X + 1)
    np.testing.assert_array_equal(jax.jit(kept(number))(X), jax.jit(number)(X))
    np.testing.assert_array_equal(kept(_as_dict)(X)["y"], 2 * X)
    found = kept(task, sampler=object())(key, X)
    _equal(found, jax.jit(task)(key, X))
    there = jax.device_put(X, jax.devices()[1])
    assert kept(number)(there).devices() == {jax.devices()[1]}
    assert list(Path(cache._path).iterdir()) == []
    with pytest.raises(ValueError, match="what is wrong"):
        kept(_refusing)(X)


def _as_dict(x):
    return {"y": 2 * x}


def _refusing(x):
    raise ValueError("what is wrong")


def test_without_a_folder_it_is_jit(monkeypatch):
    assert program_cache.in_use() is None
    monkeypatch.setattr(module, "_made", None)
    _equal(kept(task, "kind")(jax.random.key(0), X, kind="a"), jax.jit(task)(jax.random.key(0), X))


def test_a_check_is_done_once_for_the_same_values_unless_it_fails(cache):
    done = []
    for _ in range(2):
        once(lambda: done.append(1), stochastic(2), {"a": (3, 4)})
    once(lambda: done.append(2), stochastic(2), {"a": (3, 5)})
    assert done == [1, 2]
    for _ in range(2):
        with pytest.raises(ValueError, match="wrong"):
            once(functools.partial(_refusing, 0), "of this")


@pytest.mark.parametrize("seed", [0, 7, 2**31 + 3, 2**32 - 1])
def test_the_key_of_a_block(seed):
    for index in (0, 5, 2**31 - 3):
        assert folded(jax.random.key(seed), np.uint32(index)) == jax.random.fold_in(jax.random.key(seed), index)


@pytest.mark.slow
def test_a_command_traces_nothing_in_its_next_process_and_gives_the_same_bits(tmp_path):
    """Nor does it compile; with its entries damaged it does both."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        np.savez(tmp_path / "one.npz", **{k: z[k][:1] if z[k].ndim > 1 else z[k] for k in z.files})
    lines = """
import sys, jax
from jaxpose.app import cli
told = []
jax.monitoring.register_event_duration_secs_listener(lambda event, *_, **__: told.append(event.split("/")[-1]))
cli.main(sys.argv[1:])
print("traced", told.count("jaxpr_trace_duration"), told.count("jaxpr_to_mlir_module_duration"))
"""
    env = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | {"XLA_FLAGS": FLAGS}

    def lift(**more: str) -> tuple[str, dict[str, np.ndarray]]:
        out = tmp_path / "out"
        shutil.rmtree(out, ignore_errors=True)
        line = [sys.executable, "-c", lines, "lift", str(tmp_path / "one.npz"), "--no-pictures", "--out", str(out)]
        done = subprocess.run(line, env=env | more, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        with np.load(out / "one.npz") as z:
            return done.stdout.splitlines()[-1], {name: z[name] for name in z.files}

    ordinary = lift(JAX_ENABLE_COMPILATION_CACHE="false")[1]
    home = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    lift(**home)
    said, found = lift(**home)
    assert said == "traced 0 0"
    for entry in (tmp_path / "cache").rglob("*"):
        if entry.is_file():
            entry.write_bytes(entry.read_bytes()[:-9])
    for run in (found, lift(**home)[1], lift(**home)[1]):
        assert run.keys() == ordinary.keys()
        for name, value in ordinary.items():
            np.testing.assert_array_equal(run[name], value)
