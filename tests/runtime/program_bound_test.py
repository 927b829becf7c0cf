"""Processes that opt in drop this package's programs before they are out of memory maps, and no result changes."""

import contextlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from compilations import counted
from xla import FLAGS

from jaxpose.base import Camera
from jaxpose.runtime import program_bound
from jaxpose.runtime.program_bound import ProgramBound, drop_programs, num_maps
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import stochastic

KEY, FEW = jax.random.key(3), stochastic(2)
CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))
JOINTS = pose_oracle.draw(np.random.default_rng(0), 100).astype(np.float32)
KEYPOINTS = (500 + 1000 * JOINTS[..., :2] / JOINTS[..., 2:]).astype(np.float32)
needs_maps = pytest.mark.skipif(num_maps() is None, reason="the system does not report memory maps")


@contextlib.contextmanager
def listening(bound: ProgramBound):
    jax.monitoring.register_event_duration_secs_listener(bound.listen)
    try:
        yield
    finally:
        jax.monitoring.unregister_event_duration_listener(bound.listen)


@pytest.fixture
def drops(monkeypatch):
    """Numbers of maps (before, after) of each drop; maps are counted after each compilation."""
    counts = []

    def drop():
        before = num_maps()
        drop_programs()
        counts.append((before, num_maps()))

    monkeypatch.setattr(program_bound, "drop_programs", drop)
    monkeypatch.setattr(program_bound, "_COMPILING_PER_MAP", 0.0)
    return counts


def lifted(model, num: int, hypotheses: int = 1) -> np.ndarray:
    return np.asarray(lift(KEY, model, KEYPOINTS[:num], camera=CAMERA, num_hypotheses=hypotheses, sampler=FEW).samples)


def test_an_import_registers_nothing():
    lines = """
        import jax
        calls = []
        for name in dir(jax.monitoring):
            if name.startswith("register"):
                setattr(jax.monitoring, name, lambda *given: calls.append(given))
        import jaxpose
        jaxpose.lift
        assert calls == [], calls
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(lines)], check=True)


@pytest.mark.slow
@needs_maps
def test_programs_of_many_shapes_stay_below_the_bound_and_give_the_same_numbers(drops):
    model = pose_oracle.tiny()
    fresh = {1: lifted(model, 1)}
    begun = num_maps()
    fresh[2] = lifted(model, 2)
    program = num_maps() - begun
    assert program > 50

    of_the_caller = jax.jit(lambda x: jnp.sin(x) + 1)
    of_the_caller(jnp.ones(3))
    bound = ProgramBound(most_maps=num_maps() + program)  # a quarter of it, which the next program passes
    with listening(bound), counted() as programs:
        lifted(model, 3)
        assert len(drops) == 1
        for num in (1, 2):
            np.testing.assert_array_equal(lifted(model, num), fresh[num])
            assert num_maps() < bound.most + 2 * program
        compiled = programs.count
        of_the_caller(jnp.ones(3))
        assert programs.count == compiled >= 3, "the caller's own programs are not dropped"
    assert all(before - after > 50 for before, after in drops)


@needs_maps
def test_what_cannot_be_dropped_is_not_dropped_again_and_again(drops):
    """Maps of the caller's own programs leave less room; they do not make each compilation drop everything."""
    bound = ProgramBound(most_maps=num_maps() - 100)  # passed from the beginning
    held = [jax.jit(lambda x, k=k: x + k).lower(jnp.ones(2)).compile() for k in range(3)]
    with listening(ProgramBound(most_maps=num_maps() + 2000)):
        jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(3))
    assert drops == []
    assert bound.most >= num_maps() - 200
    assert len(held) == 3


def test_the_bound_is_a_quarter_of_what_is_left_of_linux_own_limit(monkeypatch, tmp_path):
    maps, most = tmp_path / "maps", tmp_path / "max_map_count"
    maps.write_bytes(b"7f00-7f01 r-xp\n" * 530)
    most.write_text("65530\n")
    monkeypatch.setattr(program_bound, "_MAPS", maps)
    monkeypatch.setattr(program_bound, "_MOST_MAPS", most)
    assert ProgramBound().most == 530 + 65_000 // 4
    most.write_text("1048576\n")  # of some distributions: programs that take gigabytes are dropped all the same
    assert ProgramBound().most == 530 + 65_530 // 4
    most.write_text("300\n")
    assert ProgramBound().most == 530
    most.unlink()
    assert ProgramBound().most == 530 + 65_000 // 4


_NEAR_THE_LIMIT = """
    import mmap, sys
    sys.path[:0] = [{tests!r}]
    import numpy as np
    import pose_oracle
    from jaxpose.runtime import program_bound
    from runtime.program_bound_test import lifted
    model = pose_oracle.tiny()
    lifted(model, 1)
    before = program_bound.num_maps()
    lifted(model, 2)
    program, pages = program_bound.num_maps() - before, []
    while program_bound.num_maps() < 65_530 - 16 * program:
        for _ in range(50):  # two maps each: a readable page between pages that are not
            pages.append(mmap.mmap(-1, 2 * mmap.PAGESIZE, prot=mmap.PROT_READ if len(pages) % 2 else mmap.PROT_WRITE))
    drop, drops = program_bound.drop_programs, []
    program_bound.drop_programs = lambda: drops.append(drop())
    program_bound.bound_programs()
    for num in (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50):
        for hypotheses in (1, 2):
            assert np.isfinite(lifted(model, num, hypotheses)).all()
    print("ended", len(drops))
"""


@pytest.mark.skipif(program_bound._limit() != 65_530, reason="the system's limit on memory maps is not Linux' own")
@pytest.mark.slow
def test_a_process_near_the_limit_drops_programs_and_lives_on():
    """All maps but those of 16 programs are taken beforehand; 28 follow. Without the bound XLA hangs there."""
    lines = textwrap.dedent(_NEAR_THE_LIMIT.format(tests=str(Path(__file__).parents[1])))
    env = os.environ | {"XLA_FLAGS": FLAGS, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", lines], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout.split("ended")[1]) > 0
