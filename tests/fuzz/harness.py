"""Cases of a fuzzer, run in a worker process with limits; what breaks the law comes back with seed and case number.

A fuzzer is a module, such as `fuzz.readers`, with

    run_case(seed, case, folder) -> None, or what breaks the law, in words

which makes the input of a case from seed and case number alone, in an empty folder, and tries it. The worker runs one
case after the other. A case that waits for what never comes, ends the worker, takes 1 GB of memory, or more of the
processor than MOST_LOOPS times a loop that the worker times at its start, is a fault too; a new worker then goes on
with the next case. One case again, in this process:

    PYTHONPATH=.:tests python tests/fuzz/harness.py fuzz.readers --seed 0 --case 17

and many: `--cases 20000`, from `--case` on. JAXPOSE_FUZZ_CASES (500) and JAXPOSE_FUZZ_SEED (0) set them for the tests.
"""

import argparse
import functools
import importlib
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from xla import FLAGS

MOST_CHARACTERS = 600  # of an error message
MOST_LOOPS = 1000  # of `loop_seconds`, some 15 s
_STILL, _WORK = 30.0, 0.05  # seconds of the clock in which a case that waits for nothing has so many of the processor
MOST_BYTES = 1 << 30
_CASES = 150  # of one worker, whose memory is bounded and grows from case to case


class Waits(BaseException):
    """Raised in a case that waits for what never comes, such as the other end of a pipe; no reader catches it."""


class Fault(NamedTuple):
    """What a case did; `said` opens with the command that runs it again."""

    case: int
    said: str


@functools.cache
def loop_seconds() -> float:
    """Seconds of the processor that a million rounds of a loop take in this process, the least of three times."""

    def once() -> float:
        started = time.process_time()
        for _ in range(1_000_000):
            pass
        return time.process_time() - started

    return min(once() for _ in range(3))


def seed() -> int:
    return int(os.environ.get("JAXPOSE_FUZZ_SEED", "0"))


def count(share: float) -> int:
    """Cases of a fuzzer that takes this share of all."""
    return round(share * int(os.environ.get("JAXPOSE_FUZZ_CASES", "500")))


def broken(call: Callable[[], Any], *names: object) -> str | None:
    """None where `call` returns, or raises a ValueError of one short line with one of `names`; else what it did."""
    try:
        call()
    except ValueError as error:
        return refused_wrongly(error, *names)
    except Exception:
        return traceback.format_exc()
    return None


def refused_wrongly(error: ValueError, *names: object) -> str | None:
    """What is wrong with an error: its line, or that it stands for memory that ended."""
    return wrong_line(str(error), *names) or _exhausted(error)


def wrong_line(line: str, *names: object) -> str | None:
    """What is wrong with an error message, of which one of `names` must be a part."""
    if len(line) > MOST_CHARACTERS:
        return f"a message of {len(line)} characters: {line[:200]!r}..."
    if len(line.splitlines()) != 1 or not line.isprintable():
        return f"a message that is not one printable line: {line!r}"
    if names and not any(str(name) in line for name in names):
        return f"a message that names none of {', '.join(map(str, names))}: {line!r}"
    return None


def _exhausted(error: BaseException | None) -> str | None:
    """Whether memory ended: what the limit of the worker prevents, another machine would have to give."""
    while error is not None:
        if isinstance(error, MemoryError) and not hasattr(error, "errno"):  # FFmpeg refuses a size
            return "it asks for more memory than the limit allows: " + "".join(traceback.format_exception(error))
        error = error.__cause__ or error.__context__
    return None


def faults(fuzzer: str, cases: range, seed: int, most: int = 5) -> list[Fault]:
    """The first `most` faults of these cases of a fuzzer."""
    found: list[Fault] = []
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        while cases and len(found) < most:
            cases = _until_death(fuzzer, cases, seed, Path(folder) / "case", found, most)
    return found


def _until_death(fuzzer: str, cases: range, seed: int, folder: Path, found: list[Fault], most: int) -> range:
    """The first cases in one worker, as long as it lives; returns those that are left."""
    again = f"PYTHONPATH=.:tests python tests/fuzz/harness.py {fuzzer} --seed {seed} --case"
    with ProcessPoolExecutor(1, get_context("spawn"), _begin, (fuzzer,)) as worker:
        try:
            worker.submit(os.getpid).result()
        except BrokenProcessPool as error:
            raise RuntimeError(f"the worker of {fuzzer} did not start") from error
        for case in cases[:_CASES]:
            try:
                said = worker.submit(_try_here, seed, case, folder, MOST_LOOPS).result()
            except BrokenProcessPool:
                said = f"it ended the process: a fault of memory, or {MOST_LOOPS} loops of the processor"
            if said:
                found.append(Fault(case, f"{again} {case}\n{said[:4000]}"))
            if len(found) >= most:
                return range(0)
            if said and said.startswith("it ended the process"):
                return range(case + 1, cases.stop)
    return cases[_CASES:]


def _begin(fuzzer: str) -> None:
    """Start of a worker: its limits, and no output."""
    global _run_case
    from jaxpose.runtime.program_bound import bound_programs  # the worker alone needs it

    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    bound_programs()
    _run_case = importlib.import_module(fuzzer).run_case
    resource.setrlimit(resource.RLIMIT_DATA, (_status("VmData") + 2 * MOST_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _try_here(seed: int, case: int, folder: Path, most_loops: int) -> str | None:
    """A case in the worker, which a signal without a handler ends when it takes too long, in C code too."""
    used = time.process_time()

    def look(*_: object) -> None:
        nonlocal used
        before, used = used, time.process_time()
        if used - before < _WORK:
            raise Waits

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_VIRTUAL, most_loops * loop_seconds())
    signal.setitimer(signal.ITIMER_REAL, _STILL, _STILL)
    try:
        return try_case(_run_case, seed, case, folder)
    except Waits:
        return f"it waits: less than {_WORK} s of the processor in {_STILL:g} s"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def try_case(run_case: Callable[[int, int, Path], str | None], seed: int, case: int, folder: Path) -> str | None:
    """What a case does wrong, memory included."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak of resident memory begins anew
    before = _status("VmRSS")
    try:
        said = run_case(seed, case, folder)
    except Exception:
        said = traceback.format_exc()
    peak = _status("VmHWM") - before
    return said or (f"it took {peak / 2**20:.0f} MB of memory" if peak > MOST_BYTES else None)


def _status(field: str) -> int:
    """Bytes of this process that /proc tells of."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("fuzzer", help="a module with run_case, such as fuzz.readers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int, default=0)
    parser.add_argument("--cases", type=int, help="run so many in workers; without it the one case in this process")
    parser.add_argument("--keep", type=Path, help="folder for the files of the one case")
    given = parser.parse_args()
    os.environ.update(JAX_ENABLE_COMPILATION_CACHE="false", XLA_FLAGS=FLAGS)  # as in tests/conftest.py
    if given.cases is None:
        folder = given.keep or Path(tempfile.mkdtemp(prefix="fuzz_"))
        print(
            try_case(importlib.import_module(given.fuzzer).run_case, given.seed, given.case, folder / "case") or "well"
        )
        print(f"its files are in {folder / 'case'}")
    else:
        found = faults(given.fuzzer, range(given.case, given.case + given.cases), given.seed, most=20)
        print(*(fault.said for fault in found), sep="\n\n")
        print(f"{given.fuzzer}, seed {given.seed}: {given.cases} cases from {given.case}, {len(found)} faults")
        sys.exit(bool(found))


if __name__ == "__main__":
    main()
