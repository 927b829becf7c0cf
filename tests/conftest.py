"""Four CPU devices for the tests of parallelism, and double precision for the tests of laws."""

import os

_FLAG = "--xla_force_host_platform_device_count"
if _FLAG not in os.environ.get("XLA_FLAGS", ""):
    # read when jax makes its backend, so it must stand before anything imports jax
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {_FLAG}=4".strip()

# Commands called in a test switch the user's cache on for all tests that follow; reading hundreds of programs from it
# into one process has crashed XLA, and tests have no business there.
os.environ["JAX_ENABLE_COMPILATION_CACHE"] = "false"

import jax  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture
def x64():
    """Double precision for one test: `pytestmark = pytest.mark.usefixtures("x64")`."""
    with jax.enable_x64(True):
        yield
