"""The cheapest of XLA's settings for programs that run once or twice.

Most of the time of tests was compilation: with these settings tests/diffusion/guidance_test.py takes 26 s of processor
time, with XLA's own 78 s. What tests start as a process takes them by `FLAGS`, too.
"""

CHEAP = {
    "--xla_backend_optimization_level": "0",
    "--xla_llvm_disable_expensive_passes": "true",
    "--xla_cpu_parallel_codegen_split_count": "1",
    "--xla_cpu_use_fusion_emitters": "false",
}
FLAGS = " ".join(f"{name}={value}" for name, value in CHEAP.items())
