"""The cheapest of XLA's settings for programs that run once or twice.

Most of the time of tests is compilation. pytest on tests/diffusion/guidance_test.py took 24 s of processor time with
these settings, and 56 s with `--xla_backend_optimization_level=1` alone (`time`, NPROC=1, in turn). Processes that
tests start take the same settings from `FLAGS`.
"""

CHEAP = {
    "--xla_backend_optimization_level": "0",
    "--xla_llvm_disable_expensive_passes": "true",
    "--xla_cpu_parallel_codegen_split_count": "1",
    "--xla_cpu_use_fusion_emitters": "false",
}
FLAGS = " ".join(f"{name}={value}" for name, value in CHEAP.items())
