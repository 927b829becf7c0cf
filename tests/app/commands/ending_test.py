"""How commands end: exit codes and one line, whatever goes wrong, at any moment; nothing half-written."""

import errno
import functools
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import xla

from jaxpose.app import cli
from jaxpose.app.commands.ending import _LAUNCHERS

ROOT = Path(cli.__file__).parents[2]
_HANGS = 300  # seconds, of a process that does not end
# What `generate` does in a process of its own: a draft is open, and the program is where the test needs it.
DRAFT = """
import signal, sys, time
import jaxpose.app.commands.generate
from jaxpose.app import cli
from jaxpose.files import atomic
def work(options):
    with atomic(options.output.out / "half.npz") as file:
        yield "ready"
        {moment}
jaxpose.app.commands.generate.generate = work
sys.argv[1:] = ["generate", "--num", "1", "--out", sys.argv[1]]
cli.main()
"""
MOMENTS = {
    "in Python": "time.sleep(600)",
    # a finaliser cannot raise: Python prints what it raises, and goes on
    "in a finaliser": "__import__('weakref').finalize(type('A', (), {})(), lambda: time.sleep(600)); time.sleep(600)",
    # C code that does not look at signals, as XLA while it compiles: a mutex that is locked already
    "in C": "lock = __import__('ctypes').create_string_buffer(64); "
    "[__import__('ctypes').CDLL(None).pthread_mutex_lock(lock) for _ in range(2)]",
}


def started(*command, **how):
    env = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": xla.FLAGS, "PYTHONUNBUFFERED": "1"}
    pipes: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    # tests that run in the background of a shell, as under nohup, inherit that SIGINT is ignored
    heard = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    return subprocess.Popen([sys.executable, *command], env=env, preexec_fn=heard, **pipes, **how)


@pytest.mark.skipif(sys.platform != "linux", reason="calls functions of the C library")
@pytest.mark.parametrize(("moment", "number"), [*((moment, signal.SIGINT) for moment in MOMENTS), ("in C", 15)])
def test_a_signal_ends_a_command_with_one_line_and_no_draft(tmp_path, moment, number):
    process = started("-c", DRAFT.format(moment=MOMENTS[moment]), str(tmp_path))
    assert process.stdout.readline() == "ready\n"
    assert len(list(tmp_path.iterdir())) == 1
    time.sleep(0.3)  # to be in the C code in most runs; the end is the same before it
    process.send_signal(number)
    word = "interrupted" if number == signal.SIGINT else "terminated"
    try:
        assert process.communicate(timeout=_HANGS)[1] == f"jaxpose generate: {word}\n"
    finally:
        process.kill()
    assert process.returncode == 128 + number
    assert not list(tmp_path.iterdir())


def test_a_signal_while_a_program_runs_is_no_segmentation_fault(tmp_path):
    """XLA computes for minutes in threads of its own, which Python must not wait for, nor tear down."""
    probe = """
import sys, jax
import jax.numpy as jnp
import jaxpose.app.commands.generate
from jaxpose.app import cli
def work(options):
    long = jax.jit(lambda x: jax.lax.fori_loop(0, 10**8, lambda _, y: jnp.sin(y @ y), x))
    x = long(jnp.ones((200, 200)))
    yield "computes"
    __import__("time").sleep(600)
jaxpose.app.commands.generate.generate = work
sys.argv[1:] = ["generate", "--num", "1", "--out", sys.argv[1]]
cli.main()
"""
    process = started("-c", probe, str(tmp_path))
    assert process.stdout.readline() == "computes\n"
    process.send_signal(signal.SIGINT)
    try:
        assert process.communicate(timeout=_HANGS)[1] == "jaxpose generate: interrupted\n"
        assert process.returncode == 130
    finally:
        process.kill()


def test_a_signal_while_modules_are_imported(tmp_path):
    """The import of JAX itself sends it."""
    probe = """
import os, signal, sys
class Finder:
    def find_spec(self, name, *_):
        if name == "jax":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder())
from jaxpose.app import cli
sys.argv[1:] = ["lift", "a.npz", "--out", sys.argv[1]]
cli.main()
"""
    process = started("-c", probe, str(tmp_path))
    assert process.communicate(timeout=_HANGS)[1] == "jaxpose lift: interrupted\n"
    assert process.returncode == 130


@pytest.fixture
def generate(monkeypatch):
    """`jaxpose generate` with another function in the place of its own."""

    def call(work):
        monkeypatch.setattr("jaxpose.app.commands.generate.generate", work)
        cli.main(["generate", "--num", "3", "--out", "nowhere"])

    return call


def raising(error):
    def work(options):
        raise error
        yield

    return work


class XlaRuntimeError(RuntimeError):
    pass


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("two\nlines"), 2, "two lines"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "x.npz"), 2, "No such file"),
        (RecursionError("maximum recursion depth exceeded"), 2, "nested too deeply"),
        (MemoryError("Unable to allocate 9 GiB"), 1, "memory ran out; lower --hypotheses"),
        (XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), 1, "memory ran out"),
        (ValueError("x" * 100_000), 2, "xxx ..."),
    ],
)
def test_errors_are_one_line_of_bounded_length(generate, capsys, error, code, said):
    with pytest.raises(SystemExit) as left:
        generate(raising(error))
    assert left.value.code == code
    line = capsys.readouterr().err
    assert line.startswith("jaxpose generate: ")
    assert said in line
    assert line.count("\n") == 1
    assert len(line) <= 1001


def test_an_error_of_the_program_keeps_its_traceback(generate):
    with pytest.raises(ZeroDivisionError):
        generate(raising(ZeroDivisionError()))


def test_floating_point_warnings_are_not_told(generate, recwarn):
    generate(lambda options: (str(np.float32(1e30) * np.float32(x)) for x in [1e30]))
    assert not recwarn.list


def test_a_reader_that_leaves_ends_a_command_quietly(tmp_path):
    talk = DRAFT.format(moment="\n        while True: yield 'x' * 1000")
    process = started("-c", talk, str(tmp_path))
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=_HANGS) == 141
    assert process.stderr.read() == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux")
def test_output_that_cannot_be_printed_is_told_in_one_line():
    with open("/dev/full", "w", encoding="utf-8") as full:
        probe = "from jaxpose.app import cli\nfrom jaxpose.app.commands import generate\n"
        probe += "generate.generate = lambda options: iter(['x'])\ncli.main(['generate', '--num', '1', '--out', 'o'])"
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", probe], stdout=full, stderr=-1, text=True, env=env, check=False)
    assert done.stderr == "jaxpose generate: standard output: No space left on device\n"
    assert done.returncode == 1


@pytest.mark.parametrize("launcher", _LAUNCHERS)
def test_of_several_processes_the_first_works(generate, monkeypatch, capsys, launcher):
    of_all, of_this = launcher
    hosts = "a,b,c" if of_all == "TPU_WORKER_HOSTNAMES" else "3"
    for all_of_them, number, works in ((hosts, "0", True), ("1", "0", True), (hosts, "2", False), ("", "2", True)):
        monkeypatch.setenv(of_all, all_of_them)
        monkeypatch.setenv(of_this, number)
        if works:
            generate(lambda options: iter(["works"]))
            assert "works" in capsys.readouterr().out
            continue
        with pytest.raises(SystemExit) as left:
            generate(lambda options: iter(["works"]))
        assert left.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith(f"jaxpose generate: process 2 of 3 ({of_this})")
        assert error.count("\n") == 1
