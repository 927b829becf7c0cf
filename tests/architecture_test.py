"""Sizes and counts that may only fall, and what the nightly mutations need.

Who may import whom is in imports_test.py.
"""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mutations
import pytest
from source_files import ROOT, parsed, sources

MAX_LINES = 400
# Numbers of today, which may only fall; who makes them less lowers them.
MOST_LONG, MOST_OF_MANY_PARAMETERS, MOST_UNDOCUMENTED = 9, 4, 2
MOST_LINES_AND_FILES = {
    ".": (1617, 10),
    "app": (275, 3),
    "app/commands": (5659, 30),
    "app/detect": (1254, 9),
    "app/to_onnx": (562, 3),
    "app/viz": (1693, 7),
    "datasets": (976, 6),
    "diffusion": (1942, 14),
    "evaluation": (1436, 10),
    "examples": (1259, 10),
    "fitting": (1485, 11),
    "geometry": (2363, 15),
    "io": (5882, 31),
    "networks": (1187, 9),
    "originals": (2726, 24),
    "runtime": (239, 4),
    "spaces": (577, 6),
    "tasks": (4880, 27),
    "training": (1460, 10),
}
MOST_LINES_IN_ALL = {"experiments": 13846, "tests": 36929}
MAX_BYTES = 9_000_000


def area_sizes(root: Path) -> dict[str, tuple[int, int]]:
    """Lines and files of each folder below jaxpose/, of `app` by its parts; "." is jaxpose/ itself."""
    sizes: dict[str, tuple[int, int]] = {}
    for path in sources(root, "jaxpose"):
        parts = path.relative_to(root / "jaxpose").parts[:-1]
        name = "/".join(parts[: 2 if parts[:1] == ("app",) else 1]) or "."
        lines, files = sizes.get(name, (0, 0))
        sizes[name] = lines + len(path.read_text().splitlines()), files + 1
    return sizes


def functions(root: Path) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function of jaxpose/, with its place."""
    for path in sources(root, "jaxpose"):
        for node in ast.walk(parsed(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(root)}:{node.lineno}: {node.name}", node


def long_functions(root: Path) -> list[str]:
    return [name for name, node in functions(root) if (node.end_lineno or 0) - node.lineno >= 40]


def functions_of_many_parameters(root: Path) -> list[str]:
    return [name for name, f in functions(root) if len(f.args.posonlyargs + f.args.args + f.args.kwonlyargs) > 10]


def undocumented(root: Path) -> list[str]:
    """Public functions and classes of modules without a docstring."""
    return [
        f"{path.relative_to(root)}:{node.lineno}: {node.name}"
        for path in sources(root, "jaxpose")
        for node in parsed(path.read_text()).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]


def test_no_area_grows():
    """Who moves code to another area raises that one and lowers the other."""
    sizes = area_sizes(ROOT)
    assert {name: size for name, size in sizes.items() if name not in MOST_LINES_AND_FILES} == {}
    grown = {
        name: size
        for name, size in sizes.items()
        if size[0] > MOST_LINES_AND_FILES[name][0] or size[1] > MOST_LINES_AND_FILES[name][1]
    }
    assert grown == {}


@pytest.mark.parametrize("folder", MOST_LINES_IN_ALL)
def test_experiments_and_tests_do_not_grow(folder):
    """A new test makes others superfluous, which fail for the same broken line; a job that was run once goes."""
    files = (ROOT / folder).rglob("*.py")
    assert sum(len(path.read_text().splitlines()) for path in files) <= MOST_LINES_IN_ALL[folder]


@pytest.mark.parametrize(
    ("find", "most"),
    [
        (long_functions, MOST_LONG),
        (functions_of_many_parameters, MOST_OF_MANY_PARAMETERS),
        (undocumented, MOST_UNDOCUMENTED),
    ],
)
def test_these_become_fewer(find, most):
    assert len(names := find(ROOT)) <= most, names


def test_no_source_is_long():
    lines = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources(ROOT)}
    assert {name: count for name, count in lines.items() if count > MAX_LINES} == {}


LOOPS = {"sample", "sample_hypotheses", "run"}  # of diffusion.sampling and diffusion.smc
# Lines that ask which model this is, where a task should call what the model, its space or its network offers.
ASKS = re.compile(
    r"is_motion\(|capabilities|spec\.times|spec\.codec|spec\.base|isinstance\([^)]*(DiffPose|ScoreMLP)|\brequire\("
)
MOST_PATHS, MOST_ASKS = 3, 50


def drawing_paths(root: Path) -> list[str]:
    """Call sites of the sampling loops outside of `diffusion` and of the originals' recipes."""
    places = []
    for path in sources(root, "jaxpose"):
        name, tree = path.relative_to(root), parsed(path.read_text())
        if name.parts[1] in ("diffusion", "originals"):
            continue
        loops = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("jaxpose.diffusion")
            for alias in node.names
            if alias.name in LOOPS
        }
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
        places += [f"{name}:{node.lineno}" for node in calls if getattr(node.func, "id", "") in loops]
    return places


def test_few_code_paths_draw_and_few_lines_ask_which_model_this_is():
    assert len(drawing_paths(ROOT)) <= MOST_PATHS, drawing_paths(ROOT)
    lines = [line for path in sources(ROOT) for line in path.read_text().splitlines()]
    assert sum(bool(ASKS.search(line)) for line in lines) <= MOST_ASKS


def test_no_tracked_file_is_large():
    listing = subprocess.run(["git", "ls-files", "-z"], capture_output=True, text=True, cwd=ROOT, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / name for name in listing.stdout.split("\0") if name]
    assert [str(path) for path in paths if path.is_file() and path.stat().st_size > MAX_BYTES] == []


def test_each_mutation_finds_its_snippet_once_and_its_test():
    """What moves in the library must move in mutations.toml, which is run nightly."""
    lost = [m.name for m in mutations.MUTATIONS if len(mutations.places(ROOT, m)) != 1]
    assert not lost
    for mutation in mutations.MUTATIONS:
        file, _, name = mutation.test.partition("::")
        assert f"def {name.partition('[')[0]}" in (ROOT / "tests" / file).read_text(), mutation.test
