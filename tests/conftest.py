"""Four CPU devices for the tests of parallelism, double precision for those of laws, and little memory for all."""

import ctypes
import gc
import os
from pathlib import Path

from xla import CHEAP

# Read when jax makes its backend, so they must stand before anything imports jax.
_FLAGS = {"--xla_force_host_platform_device_count": "4", **CHEAP}
_given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = " ".join([_given, *(f"{k}={v}" for k, v in _FLAGS.items() if k not in _given)]).strip()

# Commands called in a test switch the user's cache on for all tests that follow, and tests have no business there.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax  # noqa: E402
import pytest  # noqa: E402

from jaxpose.runtime.program_bound import num_maps  # noqa: E402

_MOST_BYTES = 0.95e9  # of resident memory after a module of tests, above which its compiled programs are dropped
_MOST_MAPS = 16_000  # of the 65,530 that Linux allows a process; a module takes up to 20,000 more


@pytest.fixture
def x64():
    """Double precision for one test: `pytestmark = pytest.mark.usefixtures("x64")`."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module", autouse=True)
def _programs_are_dropped():
    """A program stays in memory for as long as its function: thousands of them would take 5 GB a worker.

    Memory maps too are counted between modules, so that no test that counts what is compiled sees programs dropped.
    """
    yield
    if _resident_bytes() > _MOST_BYTES or (num_maps() or 0) > _MOST_MAPS:
        jax.clear_caches()
        gc.collect()
        _give_back()


def _resident_bytes() -> float:
    """Of this process; infinite where /proc is not there to tell."""
    statm = Path("/proc/self/statm")
    return (
        int(statm.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
        if statm.exists()
        else float("inf")
    )


def _give_back() -> None:
    """Return freed memory to the system, which glibc keeps until it is asked: 20 to 30 MB for a program of `lift`."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
