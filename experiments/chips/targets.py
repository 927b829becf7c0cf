"""Machines that programs are compiled for without having them, and the environment whose compilers do it.

A TPU's compiler is in `jax[tpu]`, a GPU's in `jax[cuda12]`; both run on any x86 machine. They are in an environment of
their own, since JAX looks for a TPU at every start where libtpu is installed.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-chips"
# Of the child process. Two of them at once fail on a lock file without the last one.
VARIABLES = {
    "JAX_PLATFORMS": "cpu",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-8",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}


class Target(NamedTuple):
    """Chips of a kind. topology: as JAX names it; peak, cycle: bfloat16 operations of a chip in a second, and in a
    cycle of the compiler's estimates (0: it makes none, or the number is not known here)."""

    topology: str
    chips: int
    peak: float
    cycle: float

    def devices(self) -> list[Any]:
        """Devices to compile for; in a process with VARIABLES."""
        from jax.experimental import topologies

        if self.topology == "h100":
            found = topologies.get_topology_desc("h100", "cuda", target_config=_H100, topology=f"{self.chips}x1x1")
        else:
            found = topologies.get_topology_desc(self.topology, "tpu")
        return list(found.devices)[: self.chips]


# Peaks: Cloud TPU documentation, "TPU v5e" and "TPU v6e"; NVIDIA H100 data sheet, SXM, without sparsity. Cycles: of a
# bfloat16 product of 4096 x 4096, v5e's compiler expects 126,898 operations a cycle, v6e's 455,675: below these powers.
TARGETS = {
    "v5e-1": Target("v5e:2x2", 1, 197e12, 131_072),
    "v5e-8": Target("v5e:2x4", 8, 197e12, 131_072),
    "v5e-256": Target("v5e:16x16", 256, 197e12, 131_072),
    "v6e-1": Target("v6e:2x2", 1, 918e12, 524_288),
    "h100-1": Target("h100", 1, 989e12, 0),
}
# What XLA has to know of the GPU, in the text form of its TargetConfigProto.
_H100 = """
gpu_device_info {
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98 threads_per_warp: 32 cuda_compute_capability { major: 9 }
  threads_per_block_limit: 1024 threads_per_core_limit: 2048
  registers_per_core_limit: 65536 registers_per_block_limit: 65536
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448 shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  l2_cache_size: 52428800 memory_bandwidth: 3352320000000 device_memory_size: 84929347584
}
platform_name: "CUDA" dnn_version_info { major: 9 minor: 7 } device_description_str: "NVIDIA H100 80GB HBM3"
"""


def python() -> Path:
    """The interpreter of the environment; ValueError where it is not there."""
    found = ENVIRONMENT / "bin" / "python"
    if not (ENVIRONMENT / "compilers").is_file() or not found.is_file():
        raise ValueError(f"{ENVIRONMENT}: no environment with the compilers of TPUs and GPUs; make it by `make chips`")
    return found


def child_environment() -> dict[str, str]:
    """The environment variables of a child process that compiles."""
    return {**os.environ, **VARIABLES, "PYTHONPATH": str(ROOT)}
