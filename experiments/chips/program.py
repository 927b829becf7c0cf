"""What the text of a compiled program holds: cycles by part of a step, collectives, kernels; and its products.

The compiler of a TPU writes beside each fusion how many cycles it expects of it (`estimated_cycles`), by its own model
of the chip. The body of a loop counts as often as the loop turns where the compiler knows that, else once: the loop
over steps of a training program, so that the figures are those of one step. What runs once before it is left out.
"""

import collections
import math
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax

_COLLECTIVES = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_KERNELS = ("fusion", "custom-call", "copy", "sort", "convolution", "dot", "reduce", "transpose", "broadcast")
_ENTERED = ("while", "conditional", "call")  # instructions whose computations are counted in their place
_BITS = {"pred": 8, "bf16": 16}  # of kinds of numbers without them in their name
_INSTRUCTION = re.compile(r"^ +(?:ROOT )?%\S+ = (.*?) ([a-z][a-z0-9-]*)\((.*)$")
_HEAD = re.compile(r"^(ENTRY )?%?(\S+) \(.*\{$")
_ARRAY = re.compile(r"\b([a-z]+\d+|pred)\[([\d,]*)\]")
_CALLED = re.compile(r"(?:body|to_apply|calls|true_computation|false_computation)=%?([\w.-]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_CONDITION = re.compile(r"condition=%?([\w.-]+)")
_TURNS = re.compile(r'known_trip_count":\{"n":"(\d+)"')
_LIMIT = re.compile(r"constant\((\d+)\)")
_CYCLES = re.compile(r'estimated_cycles":"(\d+)"')
_OPERATION = re.compile(r'op_name="([^"]*)"')
# A TPU divides a collective among fusions: start, those between whose products it goes on, done. The last one counts.
_UNFINISHED = re.compile(r"^ +(?:ROOT )?%async-collective-start|calls=%?async_collective_fusion")


class Cost(NamedTuple):
    """One instruction: opcode, the operation that it is of, cycles, bytes of its result, how often it runs.

    in_loop: whether it is in a loop of which the compiler does not know the number of turns.
    """

    opcode: str
    operation: str
    cycles: float
    size: int
    times: int
    in_loop: bool


def costs(text: str) -> list[Cost]:
    """Every instruction of a program that runs; of a program of many steps, those of one step."""
    computations, entry = _computations(text)
    found = list(_walk(computations, entry, 1, False))
    return [cost for cost in found if cost.in_loop] or found


def cycles_by_part(found: list[Cost]) -> dict[str, float]:
    """Cycles of examples, network forward and backward, optimiser; "other" has what belongs to none or several."""
    total: collections.defaultdict[str, float] = collections.defaultdict(float)
    for cost in found:
        total[_part(cost.operation)] += cost.cycles * cost.times
    return dict(total)


def collectives(found: list[Cost]) -> dict[str, tuple[int, int]]:
    """Number and bytes of the results of each kind of collective."""
    total: dict[str, tuple[int, int]] = {}
    for cost in found:
        if kind := _collective(cost.opcode):
            number, size = total.get(kind, (0, 0))
            total[kind] = number + cost.times, size + cost.times * cost.size
    return total


def kernels(found: list[Cost]) -> int:
    """How many programs the device starts."""
    return sum(cost.times for cost in found if cost.opcode in _KERNELS)


def product_operations(jaxpr: Any) -> float:
    """Operations of all products of a traced function, 2 for each multiplication; a loop of unknown length once."""
    total = 0.0
    for eqn in jaxpr.eqns:
        turns = eqn.params.get("length", 1) if eqn.primitive.name == "scan" else 1
        if eqn.primitive.name == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            total += 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        for inner in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            body = getattr(inner, "jaxpr", inner)  # of a closed jaxpr
            if hasattr(body, "eqns"):
                total += turns * product_operations(body)
    return total


def _collective(opcode: str) -> str:
    """The kind of a collective that ends here, else ""; the result of "-start" has the operand too."""
    kind = opcode.removesuffix("-done")
    return kind if kind in _COLLECTIVES else ""


def _part(operation: str) -> str:
    if "transpose(" in operation:
        return "backward"
    return next((name for name in ("examples", "network", "optimiser") if name in operation), "other")


def _computations(text: str) -> tuple[dict[str, list[re.Match[str]]], str]:
    """The instructions of each computation, and the name of the first one to run."""
    found: dict[str, list[re.Match[str]]] = {}
    entry = name = ""
    for line in text.splitlines():
        if head := _HEAD.match(line):
            name = head[2]
            found[name], entry = [], name if head[1] else entry
        elif line.startswith("}"):
            name = ""
        elif name and (instruction := _INSTRUCTION.match(line)):
            found[name].append(instruction)
    return found, entry


def _walk(computations: dict[str, list[re.Match[str]]], name: str, times: int, in_loop: bool) -> Iterator[Cost]:
    for instruction in computations[name]:
        shape, opcode, rest = instruction.groups()
        if opcode not in _ENTERED:
            cycles, operation = _CYCLES.search(rest), _OPERATION.search(rest)
            of = float(cycles[1]) if cycles else 0.0
            yield Cost(opcode, operation[1] if operation else "", of, _bytes(shape), times, in_loop)
            for called in () if _UNFINISHED.search(instruction[0]) else _CALLED.findall(rest):
                inside = _walk(computations, called, times, in_loop)  # of a fusion, whose cycles are counted
                yield from (cost for cost in inside if _collective(cost.opcode))
            continue
        turns = _turns(computations, rest) if opcode == "while" else 1
        branches = [b.strip().lstrip("%") for group in _BRANCHES.findall(rest) for b in group.split(",")]
        for called in (*_CALLED.findall(rest), *branches):
            yield from _walk(computations, called, times * (turns or 1), in_loop or not turns)


def _turns(computations: dict[str, list[re.Match[str]]], rest: str) -> int | None:
    """How often a loop turns: as the compiler names it, or the constant below which its counter stays; else None."""
    if known := _TURNS.search(rest):
        return int(known[1])
    condition = _CONDITION.search(rest)
    body = computations.get(condition[1], []) if condition else []
    limits = [_LIMIT.search(found[0]) for found in body if found[2] == "constant"]
    return int(limits[0][1]) if len(limits) == 1 and limits[0] else None


def _bytes(shape: str) -> int:
    """Bytes of the arrays of a result."""
    arrays = ((_BITS.get(kind) or int(re.sub(r"\D", "", kind)), sizes) for kind, sizes in _ARRAY.findall(shape))
    return sum(math.prod(int(n) for n in sizes.split(",") if n) * bits // 8 for bits, sizes in arrays)
