"""A drawing for which there is no memory is refused before it begins, and what is told is near what is taken."""

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import xla
from shared import refuses

from jaxpose.app import cli
from jaxpose.app.commands import blocks
from jaxpose.model import ASSETS

ROOT = Path(cli.__file__).parents[2]


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Control groups as files, and no other limit."""
    monkeypatch.setattr(blocks, "_CGROUP", tmp_path)
    monkeypatch.setattr(blocks.psutil, "virtual_memory", lambda: SimpleNamespace(available=8e9))
    monkeypatch.setattr(blocks, "_of_process", lambda: None)
    (tmp_path / "memory").mkdir()
    return tmp_path


def test_the_memory_of_a_control_group_counts(machine):
    assert blocks.host_memory() == 8e9
    (machine / "memory.max").write_text("max\n")
    (machine / "memory.current").write_text("5\n")
    assert blocks.host_memory() == 8e9
    (machine / "memory.max").write_text("3000000000\n")
    (machine / "memory.current").write_text("1000000000\n")
    assert blocks.host_memory() == 2e9
    (machine / "memory" / "memory.limit_in_bytes").write_text("1500000000\n")
    (machine / "memory" / "memory.usage_in_bytes").write_text("500000000\n")
    assert blocks.host_memory() == 1e9


def test_a_limit_of_the_process_counts():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    free = blocks._of_process()
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 45, before[1]))
    try:
        assert 0 < blocks._of_process() < 1 << 45
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
    assert (blocks._of_process() is None) == (free is None)


def test_what_is_needed_what_there_is_and_the_flag_are_told(machine):
    blocks.check("--hypotheses", 1_000_000, 1_000_000)
    with pytest.raises(ValueError, match=r"--hypotheses: would need about 16.0 GB of memory, and 8.0 GB are free"):
        blocks.check("--hypotheses", 10_000_000, 10_000_000)
    refuses("or leave out --path", blocks.check, "--num", 1_000_000, 1_000_000, 30_000_000)


def test_an_accelerator_holds_what_is_drawn_at_once_and_the_host_the_rest(machine, monkeypatch):
    monkeypatch.setattr(blocks, "device_memory", lambda: 1e9)
    refuses(r"about 1.6 GB of the device's memory, and 1.0 GB", blocks.check, "--hypotheses", 1_000_000, 1_000_000)
    blocks.check("--hypotheses", 10_000_000, 500_000)
    refuses(r"of memory, and 8.0 GB", blocks.check, "--hypotheses", 100_000_000, 500_000)


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        (["lift", str(ASSETS / "demo_clip.npz"), "--hypotheses", "1000000"], "--hypotheses"),
        (["generate", "--num", "10000000"], "--num"),
        (["generate", "--num", "10000000", "--model", "prior21"], "--num"),
    ],
)
def test_a_command_refuses_before_it_draws(machine, capsys, tmp_path, arguments, flag):
    with pytest.raises(SystemExit) as left:
        cli.main([*arguments, "--out", str(tmp_path / "o")])
    assert left.value.code == 2
    error = capsys.readouterr().err
    assert f"jaxpose {arguments[0]}: {flag}: would need about" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "o").exists()


PROBE = """
import sys
from jaxpose.app import cli
from jaxpose.app.commands import blocks
told, check = [], blocks.check
def note(*given):
    check(*given)
    told.append(given)
blocks.check = note
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1e3
*common, few, many = sys.argv[1:]
cli.main([*common, "--hypotheses", few, "--name", "few"])
before = peak()
cli.main([*common, "--hypotheses", many, "--name", "many"])
(flag, num, at_once, states) = told[-1]
need = blocks._WORKING * at_once + blocks._STATE * states + blocks._HELD * (num - at_once)
print("found", peak() - before, need / 1e6)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
@pytest.mark.parametrize(("rows", "hypotheses"), [(64, 4000), (1, 200_000)])
def test_the_estimate_is_within_a_factor_of_two_of_the_peak(tmp_path, rows, hypotheses):
    with np.load(ASSETS / "demo_clip.npz") as clip:
        given = {name: clip[name][:rows] for name in ("keypoints", "confidence")}
        np.savez(tmp_path / "a.npz", **given, skeleton="h36m17", image_size=[1920, 1080])
    command = ["lift", str(tmp_path / "a.npz"), "--out", str(tmp_path / "o"), "--no-pictures", "--steps", "2"]
    env = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": xla.FLAGS, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *command, "100", str(hypotheses)],
        capture_output=True,
        text=True,
        env=env,
        check=True,
    )
    measured, told = (float(x) for x in done.stdout.split("found")[1].split())
    assert 0.5 < told / measured < 2, (told, measured)
