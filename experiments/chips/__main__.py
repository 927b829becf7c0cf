"""What the compilers of TPUs and GPUs make of the training steps and tasks, without such a machine.

    make chips                                                    the environment, once; then the short list
    python -m experiments.chips                                   everything: an hour or two on 2 cores
    python -m experiments.chips --target=v5e-1 --program=pose17   these alone
    python -m experiments.chips --short --check                   the short list; status 1 where a ratchet is passed
    python -m experiments.chips --target=v5e-1 --record           and keep the figures
    python -m experiments.chips --document=docs/scale.md          all figures that were kept, as the tables of the page

Cycles are the estimates of the TPU's compiler, by its own model of the chip; nothing was run. Times and rates follow
from them and the vendor's peak. A GPU's compiler makes no such estimate: of it there are memory and kernels.
"""

import dataclasses
import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from experiments.benchmark.ratios import document, table
from experiments.benchmark.timing import Row
from experiments.chips import program as text
from experiments.chips.targets import ROOT, TARGETS, child_environment, python
from experiments.options import option, run
from jaxpose.files import write_json

# {"versions": {target: words}, "figures": {target: {program: {name: value}}}}
FIGURES = Path(__file__).with_name("figures.json")
_MAY_GROW = 1.02  # another version of the compiler, or a change in its heuristics
_SMALL = 4000  # cycles, twice what starting a program costs
_PARTS = ("examples", "network", "backward", "optimiser", "other")
# What the nightly run compiles, and holds to the ratchets.
SHORT = {
    "v5e-1": ("pose17", "lift pose17", "lift pose17_fast", "lift diffpose17", "generate_rotations"),
    "v5e-8": ("large",),
    "h100-1": ("lift pose17", "lift diffpose17"),
}
_HELD = ("cycles_M", "memory_GB", "kernels", "collectives_MB")  # figures that must not grow


@dataclasses.dataclass(frozen=True)
class Options:
    target: tuple[str, ...] = option((), f"Machines: {', '.join(TARGETS)}; all by default.", legal=tuple(TARGETS))
    program: tuple[str, ...] = option((), "Recipes and tasks, as the tables name them; all by default.")
    short: bool = option(False, "The short list of the nightly run.")
    check: bool = option(
        False, "Compare with the ratchets; status 1 where one is passed or a program does not compile."
    )
    record: bool = option(False, "Keep the figures of what was compiled: for the tables, and as ratchets.")
    document: str | None = option(None, "Page to write the kept figures to, docs/scale.md; nothing is compiled.")
    text: str | None = option(None, "Folder to write the text of each compiled program to.")
    child: bool = option(False, "For the command itself: compile here, and print a line of JSON for each program.")


def main(options: Options) -> int:
    """Compile, print, compare; 1 where a ratchet is passed or a program of the ratchets does not compile."""
    if options.child:
        return compile_here(options.target[0], options.program, options.text)
    kept = json.loads(FIGURES.read_text(encoding="utf-8"))
    if options.document:
        for target, of in kept["figures"].items():
            rows = [Row(target, name, of[name]) for name in names_of(target) if name in of]
            document(Path(options.document), kept["versions"][target], {target: table(rows)})
        return 0
    interpreter, wanted = python(), chosen(options)
    now = {target: compiled(interpreter, target, names, options.text) for target, names in wanted.items()}
    grown = list(passed(kept["figures"], now)) if options.check else []
    print("\n".join(grown) or "no ratchet was passed" if options.check else "")
    if options.record:
        for target, of in now.items():
            kept["figures"].setdefault(target, {}).update({name: figures for name, figures in of.items() if figures})
            kept["versions"][target] = versions(interpreter)
        write_json(FIGURES, kept)
    return 1 if grown else 0


def names_of(target: str) -> list[str]:
    """All recipes and tasks that can be compiled for a machine, in the order of the tables."""
    from experiments.chips.programs import RECIPES, TASKS

    several = TARGETS[target].chips > 1
    return [*RECIPES, *(name for name, task in TASKS.items() if not (several and task.whole))]


def chosen(options: Options) -> dict[str, tuple[str, ...]]:
    """The programs to compile for each machine; ValueError for an unknown one."""
    legal = {target: names_of(target) for target in TARGETS}
    known = list(dict.fromkeys(name for names in legal.values() for name in names))
    if unknown := sorted(set(options.program) - set(known)):
        raise ValueError(f"--program: got {unknown}, must be one of {known}")
    return {
        target: tuple(name for name in names if not options.program or name in options.program)
        for target, names in (SHORT if options.short else legal).items()
        if not options.target or target in options.target
    }


def compiled(interpreter: Path, target: str, names: Sequence[str], folder: str | None) -> dict[str, dict[str, float]]:
    """Figures of each program, {} where it does not compile; of a child process, printed as they come."""
    found = {}
    for name in names:  # a process each: a compiler may end it, and its memory is given back
        child = [str(interpreter), "-m", "experiments.chips", "--child", f"--target={target}", f"--program={name}"]
        child += [f"--text={Path(folder).absolute()}"] if folder else []
        done = subprocess.run(
            child, capture_output=True, text=True, encoding="utf-8", env=child_environment(), cwd=ROOT, check=False
        )
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found[name] = json.loads(lines[-1]) if lines else {}
        shown = ", ".join(f"{key} {value:.4g}" for key, value in found[name].items())
        reason = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no reason")
        print(f"{target}, {name}: {shown or f'does not compile: {reason}'}", flush=True)
    return found


def compile_here(target: str, names: tuple[str, ...], folder: str | None) -> int:
    """Compile for a machine in this process, whose environment has its compiler."""
    from experiments.chips.programs import RECIPES, recipe, task

    devices = TARGETS[target].devices()
    jax.default_backend = lambda: devices[0].platform.replace("cuda", "gpu")  # what is chosen by it, as over there
    for name in names:
        made = (recipe if name in RECIPES else task)(name, devices)
        program = made.lowered.compile()
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            (Path(folder) / f"{target} {name}.txt").write_text(program.as_text(), encoding="utf-8")
        print(json.dumps(figures_of(target, made, program)), flush=True)
    return 0


def figures_of(target: str, made: Any, program: Any) -> dict[str, float]:
    """Of a compiled program, a chip: memory, cycles by part, share of the peak, rate, kernels, collectives."""
    memory, found = program.memory_analysis(), text.costs(program.as_text())
    held = memory.argument_size_in_bytes + memory.temp_size_in_bytes
    held += memory.output_size_in_bytes - memory.alias_size_in_bytes
    figures = {"rows": float(made.number), "memory_GB": held / 1e9, "kernels": float(text.kernels(found))}
    of, parts = TARGETS[target], text.cycles_by_part(found)
    if total := sum(parts.values()):
        figures["cycles_M"] = total / 1e6
        figures |= {f"{part}_%": 100 * parts[part] / total for part in _PARTS if part in parts and len(parts) > 1}
    if total and of.cycle:
        spent = [(cost, 100 * cost.cycles * cost.times / total) for cost in found]
        figures["products_%"] = sum(share for cost, share in spent if cost.operation.endswith("dot_general"))
        figures["small_%"] = sum(share for cost, share in spent if cost.cycles < _SMALL)
        figures["ms"] = 1e3 * total * of.cycle / of.peak
        figures["share_of_peak_%"] = 100 * made.operations / (total * of.cycle)
        figures["rows_per_second"] = made.number * of.peak / (total * of.cycle)
    moved = text.collectives(found)
    figures |= {f"{kind}s": float(number) for kind, (number, _) in moved.items()}
    figures |= {f"{kind}_MB": size / 1e6 for kind, (_, size) in moved.items()}
    return figures | ({"collectives_MB": sum(size for _, size in moved.values()) / 1e6} if moved else {})


def passed(kept: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    """A line for each figure that grew, and for each program of the kept ones that did not compile."""
    for target, programs in now.items():
        for name, figures in programs.items():
            before = kept.get(target, {}).get(name, {})
            if before and not figures:
                yield f"{target}, {name}: does not compile"
            for key in _HELD:
                if figures.get(key, 0) > _MAY_GROW * before.get(key, math.inf):
                    yield f"{target}, {name}: {key} {figures[key]:.4g}, at most {before[key]:.4g}"


def versions(interpreter: Path) -> str:
    """Versions of JAX and of the compilers in the environment."""
    names = ("jax", "libtpu", "jax-cuda12-plugin")
    script = f"from importlib.metadata import version; print(*(f'{{n}} {{version(n)}}' for n in {names}), sep=', ')"
    return subprocess.check_output([str(interpreter), "-c", script], text=True, encoding="utf-8").strip()


if __name__ == "__main__":
    run("chips", main, Options, __doc__)
