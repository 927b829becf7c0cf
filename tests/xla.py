"""The cheapest of XLA's settings for programs that run once or twice.

Most of the time of tests is compilation. pytest on tests/diffusion/guidance_test.py took 24 s of processor time with
these settings, and 56 s with `--xla_backend_optimization_level=1` alone (`time`, NPROC=1, in turn). Processes that
tests start take the same settings from `FLAGS`.

XLA ends a process that gives it a flag which its version does not know, and names the unknown flags before. So the
settings are tried once, in a child process, and those that are not known are left out. Workers of pytest-xdist and
other children find the answer in the environment.
"""

import os
import re
import subprocess
import sys

_ANSWER = "JAXPOSE_TEST_XLA_FLAGS"  # of the first process, for its children
_WANTED = {
    "--xla_backend_optimization_level": "0",
    "--xla_llvm_disable_expensive_passes": "true",
    "--xla_cpu_parallel_codegen_split_count": "1",
    "--xla_cpu_use_fusion_emitters": "false",  # until JAX 0.11
}


def known(wanted: dict[str, str]) -> dict[str, str]:
    """The flags of `wanted` that this version of XLA knows."""
    flags = dict(wanted)
    while flags:
        env = os.environ | {"XLA_FLAGS": as_text(flags), "JAX_PLATFORMS": "cpu"}
        child = subprocess.run(
            [sys.executable, "-c", "import jax; jax.devices()"], env=env, capture_output=True, text=True
        )
        if child.returncode == 0:
            break
        unknown = set(re.findall(r"--\w+", child.stderr.partition("nknown flag")[2])) & set(flags)
        if not unknown:  # an error of another kind, which the tests will show
            break
        flags = {name: value for name, value in flags.items() if name not in unknown}
    return flags


def as_text(flags: dict[str, str]) -> str:
    """The value of XLA_FLAGS."""
    return " ".join(f"{name}={value}" for name, value in flags.items())


if _ANSWER not in os.environ:
    os.environ[_ANSWER] = as_text(known(_WANTED))
FLAGS = os.environ[_ANSWER]
CHEAP = dict(flag.split("=") for flag in FLAGS.split())
