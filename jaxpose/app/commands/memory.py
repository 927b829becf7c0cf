"""The memory that a drawing will take, beside what there is: XLA ends the process where it gets none.

    bytes = _WORKING x poses drawn at once + _HELD x poses in all (+ _STATE x states of a path)

Hypotheses are computed some thousands at a time, whatever their number is; what grows with it are their states, the
poses and what makes them a mean, a covariance and a radius. Measured on 2 CPU cores by the peak of resident memory
above that of one hypothesis, pose17, 17 joints: 1320 to 1350 bytes a pose for 64,000 to 1,280,000 at once, 2200 where
they are of one detection; 280 a pose for those of other blocks. tests/commands/memory_test.py bounds the estimate's
ratio to the peak.
"""

from pathlib import Path

import jax
import psutil

_WORKING, _HELD, _STATE = 1600, 280, 600
_CGROUP = Path("/sys/fs/cgroup")
_LIMITS = {"RLIMIT_AS": "vms", "RLIMIT_DATA": "data"}  # and the field of psutil's memory_info that counts for each
# Limit and use of the processes' group: version 2 and version 1 of Linux' control groups, which psutil leaves out.
_GROUPS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


def check(flag: str, num: int, at_once: int, states: int = 0) -> None:
    """ValueError where poses need more memory than there is; flag: what lowers their number.

    num: poses in all. at_once: of them drawn at once. states: of their path, all poses and steps counted.
    """
    working, held = _WORKING * at_once + _STATE * states, _HELD * max(num - at_once, 0) + _STATE * states
    device = device_memory()
    if device is None:
        working, held = 0, working + held
    for need, there, whose in ((held, host_memory(), "memory"), (working, device, "the device's memory")):
        if there is not None and need > there:
            raise ValueError(
                f"{flag}: would need about {need / 1e9:.1f} GB of {whose}, and {there / 1e9:.1f} GB are free; lower it"
                + (", or leave out --path" if states else "")
            )


def host_memory() -> float | None:
    """Bytes that this process can still get: of the machine, of its control group and of its own limits."""
    return min((x for x in (_of_machine(), *map(_of_group, _GROUPS), _of_process()) if x is not None), default=None)


def device_memory() -> float | None:
    """Bytes that JAX can still get of an accelerator; None of a CPU, whose memory is the host's."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return stats["bytes_limit"] - stats.get("bytes_in_use", 0) if "bytes_limit" in stats else None


def _of_machine() -> float:
    return float(psutil.virtual_memory().available)


def _of_group(names: tuple[str, str]) -> float | None:
    try:
        most, used = ((_CGROUP / name).read_text(encoding="utf-8").strip() for name in names)
        return None if most == "max" else float(most) - float(used)
    except (OSError, ValueError):
        return None


def _of_process() -> float | None:
    """Bytes that `ulimit -v` and `ulimit -d` leave, where the system has them."""
    if not hasattr(psutil, "RLIMIT_AS"):
        return None
    process = psutil.Process()
    used, most = process.memory_info(), {name: process.rlimit(getattr(psutil, name))[0] for name in _LIMITS}
    left = [most[name] - getattr(used, _LIMITS[name]) for name in _LIMITS if most[name] != psutil.RLIM_INFINITY]
    return min(map(float, left), default=None)
