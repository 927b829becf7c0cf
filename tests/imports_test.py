"""Who may import whom (WORKSPACE.md), and what stays light.

An area is a module or a package right under jaxpose/ or one of GROUPS there, or `experiments`. Areas of one row do
not import each other.
"""

import ast
import graphlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from source_files import ROOT, parsed, plant, sources

GROUPS = ("app", "originals", "runtime")  # folders whose parts are areas
ROWS = (
    set(GROUPS),  # their empty __init__.py
    {"base", "files"},
    {"compiled", "reading", "weights"},
    {"geometry", "diffusion"},
    {"spaces"},
    {"networks", "conditioning"},
    {"spec"},
    {"model", "io"},
    {"datasets", "app.detect"},
    {"originals.datasets", "originals.recipes", "examples"},
    {"tasks", "training", "evaluation"},
    {"fitting", "originals.evaluation", "originals.examples"},
    {"originals.convert", "app.viz", "app.export", "app.to_onnx"},
    {"runtime.interactive", "runtime.program_bound", "runtime.program_cache"},
    {"api"},
    {"app.commands"},
    {"jaxpose"},  # jaxpose/__init__.py: the names of `api`, imported when they are asked for
    {"app.cli"},
    {"experiments"},
)
RANK = {area: rank for rank, row in enumerate(ROWS) for area in row}
# Not even through others: a network knows no process; what reads files and draws pictures knows no network.
NEVER = (
    ("networks", "diffusion"),
    ("io", "networks"),
    ("datasets", "networks"),
    ("app.viz", "networks"),
    ("app.detect", "networks"),
)
HEAVY = {
    *("orbax", "matplotlib", "scipy", "sklearn", "tensorboard", "tensorboardX"),
    *("flatbuffers", "av", "ai_edge_litert", "onnx", "onnxruntime", "ezc3d"),
}
# What `import jaxpose` adds to jax and flax; together 0.1 to 0.2 s where these take 0.8 s.
LIGHT = {"jaxpose", "optax", "jaxlie", "jax_dataclasses", "safetensors"}
AREAS_AT_ONCE = {
    "spec",
    *("api", "originals", "runtime", "base", "files", "reading", "weights", "compiled"),
    *("geometry", "diffusion", "spaces", "networks", "model", "fitting", "tasks"),
}
PMAP_HOME = "jaxpose/training/parallel.py"


def area_of(module: str) -> str:
    """ "jaxpose.io.bvh" -> "io", "jaxpose.app.viz.page" -> "app.viz", "jaxpose" -> "jaxpose"."""
    head, *rest = module.split(".")
    return ".".join(rest[: 2 if rest[0] in GROUPS else 1]) if head == "jaxpose" and rest else head


def modules_of(node: ast.AST) -> Iterator[str]:
    """Every dotted name that an import statement may load."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        if node.level:
            raise AssertionError(f"line {node.lineno}: imports are absolute in this repository")
        # `from jaxpose import model` loads jaxpose.model; `from jaxpose import lift` a name of jaxpose/__init__.py
        submodules = [f"{node.module}.{alias.name}" for alias in node.names]
        areas = node.module in ("jaxpose", *(f"jaxpose.{group}" for group in GROUPS))
        areas &= all(name.removeprefix("jaxpose.") in RANK for name in submodules)
        yield from submodules if areas else (node.module or "",)


def area_imports(root: Path) -> dict[str, dict[str, str]]:
    """For each area the areas it imports, anywhere in its files, each with a place."""
    graph: dict[str, dict[str, str]] = {}
    for path in sources(root):
        name = path.relative_to(root).with_suffix("")
        area = area_of(".".join(name.parts).removesuffix(".__init__"))
        seen = graph.setdefault(area, {})
        for node in ast.walk(parsed(path.read_text())):
            for module in modules_of(node):
                if module.split(".")[0] in ("jaxpose", "experiments") and area_of(module) != area:
                    seen.setdefault(area_of(module), f"{name}.py:{getattr(node, 'lineno', 0)}")
    return graph


def reach(graph: dict[str, dict[str, str]], start: str) -> set[str]:
    """Areas that `start` loads, through others too."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = set(graph.get(todo.pop(), {})) - found
        found |= new
        todo += new
    return found


def broken_directions(root: Path) -> list[str]:
    graph = area_imports(root)
    unknown = [f"{area} has no place in ROWS" for area in graph if area not in RANK]
    wrong = [
        f"{place}: {area} imports {other}"
        for area, others in graph.items()
        for other, place in others.items()
        if RANK.get(other, len(ROWS)) >= RANK.get(area, -1)
    ]
    return unknown + wrong + [f"{a} loads {b}" for a, b in NEVER if b in reach(graph, a)]


def circle(root: Path) -> list[str]:
    """Modules that import each other in a ring, within a folder and inside functions too; [] where there is none."""
    files = {".".join(p.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): p for p in sources(root)}
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        loaded = graph.setdefault(module, set())
        for node in ast.walk(parsed(path.read_text())):
            if isinstance(node, ast.Import):
                loaded |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                loaded |= {name if name in files else str(node.module) for name in names}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1])
    return []


def at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when a module is imported: all but the bodies of functions."""
    yield node
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        for child in ast.iter_child_nodes(node):
            yield from at_import(child)


def heavy_imports(root: Path) -> list[str]:
    return [
        f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}: {module}"
        for path in sources(root, "jaxpose")
        for node in at_import(parsed(path.read_text()))
        for module in modules_of(node)
        if module.split(".")[0] in HEAVY
    ]


def uses_of_pmap(root: Path) -> set[str]:
    def names(node: ast.AST) -> set[str]:
        if isinstance(node, ast.ImportFrom):
            return {alias.name for alias in node.names}
        return {getattr(node, "id", ""), getattr(node, "attr", "")}

    return {
        str(path.relative_to(root))
        for path in sources(root)
        for node in ast.walk(parsed(path.read_text()))
        if "pmap" in names(node)
    }


def private_names_of_jax(root: Path) -> list[str]:
    """Imports of jaxlib or of a name with an underscore below jax, and such attributes of `jax`."""

    def private(dotted: str) -> bool:
        first, *rest = dotted.split(".") if dotted.replace(".", "").isidentifier() else [""]
        return first == "jaxlib" or (
            first == "jax" and any(part.startswith("_") and not part.endswith("__") for part in rest)
        )

    found = []
    for path in sources(root):
        for node in ast.walk(parsed(path.read_text())):
            names = list(modules_of(node))
            if isinstance(node, ast.ImportFrom):
                names += [f"{node.module}.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.Attribute):
                names.append(ast.unparse(node))
            found += [f"{path.relative_to(root)}:{node.lineno}: {name}" for name in names if private(name)]
    return found


def test_no_private_name_of_jax_is_used(tmp_path):
    assert private_names_of_jax(ROOT) == []
    plant(tmp_path, {"jaxpose/a.py": "from jax._src import core\nimport jaxlib\nimport jax\njax._src.x\n"})
    assert len({line.split(" ")[0] for line in private_names_of_jax(tmp_path)}) == 3


def test_imports_run_one_way():
    assert broken_directions(ROOT) == []


def test_no_module_imports_itself_through_others():
    assert circle(ROOT) == []


def test_nothing_heavy_is_imported_at_module_level():
    assert heavy_imports(ROOT) == []


def test_pmap_is_named_in_one_file():
    assert uses_of_pmap(ROOT) == {PMAP_HOME}


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("jaxpose/base.py", "import jaxpose.geometry.camera", "base imports geometry"),
        ("jaxpose/diffusion/sde.py", "from jaxpose import tasks", "diffusion imports tasks"),
        ("jaxpose/diffusion/sde.py", "def f():\n    from jaxpose.geometry import codec", "diffusion imports geometry"),
        ("jaxpose/evaluation/metrics.py", "from jaxpose.tasks.lift import lift", "evaluation imports tasks"),
        ("jaxpose/networks/graph.py", "from jaxpose.diffusion.sde import SDE", "networks loads diffusion"),
        ("jaxpose/app/viz/sheet.py", "from jaxpose.model import load", "app.viz loads networks"),
        ("jaxpose/model.py", "from jaxpose import load", "model imports jaxpose"),
        ("jaxpose/helpers.py", "", "helpers has no place in ROWS"),
        ("jaxpose/app/cli.py", "import experiments.train", "app.cli imports experiments"),
    ],
)
def test_the_check_finds_a_wrong_direction(tmp_path, file, line, fault):
    """On a tree that is right but for one line."""
    tree = {
        "jaxpose/model.py": "from jaxpose.networks.score_mlp import ScoreMLP",
        "jaxpose/app/cli.py": "import jaxpose",
    }
    assert broken_directions(plant(tmp_path, tree)) == []
    assert any(fault in found for found in broken_directions(plant(tmp_path, {file: line})))


def test_importing_jaxpose_is_quick_and_loads_nothing_heavy():
    """In a fresh process: jaxpose beside jax and flax, then the viewer and the command's module."""
    probe = f"""
import sys, jax, flax.linen
def packages(): return {{m.split('.')[0] for m in sys.modules}} - set(sys.stdlib_module_names)
before = packages()
import jaxpose
jaxpose.lift
print(*packages() - before)
print(*{{m.split('.')[1] for m in sys.modules if m.startswith('jaxpose.')}})
import jaxpose.app.viz, jaxpose.app.cli
print(*{HEAVY} & packages())
"""
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True)
    added, areas, heavy = (set(line.split()) for line in done.stdout.split("\n")[:3])
    assert added <= LIGHT
    assert areas <= AREAS_AT_ONCE
    assert heavy <= {"flatbuffers"}  # which jax.export, that the command's module loads, takes where it is
