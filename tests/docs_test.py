"""README and the site: python blocks parse and (nightly) run; flags of command lines exist; links lead to files."""

import ast
import importlib
import importlib.util
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    [
        *(ROOT / name for name in ("README.md", "WORKSPACE.md", "third_party/README.md")),
        *(path for path in (ROOT / "docs").rglob("*.md") if path.parent.name != "api"),  # which are generated
        *(ROOT / "jaxpose" / "assets").glob("*.md"),
    ]
)
PYTHON = [path for path in PAGES if "```python" in path.read_text()]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def command_lines(path: Path) -> Iterator[str]:
    """Commands after "$ " in console blocks, continued by a backslash, and `python -m experiments...` within a text."""
    for block in blocks(path, "console"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.startswith("$ "):
                yield line[2:]
    yield from re.findall(r"`(python -m experiments\.[^`\n]*)`", path.read_text(encoding="utf-8"))


def commands(start: str) -> list[str]:
    found = {line for path in PAGES for line in command_lines(path) if line.startswith(start)}
    return sorted(re.sub(r"[\[\]]", "", line) for line in found)  # brackets enclose what may be left out


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_blocks_parse_and_what_they_import_exists(path):
    for block in blocks(path, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    importlib.import_module(alias.name)
            elif isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    if not hasattr(module, alias.name):
                        importlib.import_module(f"{node.module}.{alias.name}")
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "jaxpose":
                package = importlib.import_module("jaxpose")
                assert hasattr(package, node.attr) or importlib.util.find_spec(f"jaxpose.{node.attr}"), node.attr


@pytest.mark.slow
@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_python_blocks_run(path):
    names: dict[str, Any] = {"__name__": "__main__"}
    for number, block in enumerate(blocks(path, "python")):
        exec(compile(block, f"{name(path)}, block {number}", "exec"), names)


@pytest.mark.parametrize("line", commands("jaxpose "))
def test_flags_of_commands_exist(line):
    from jaxpose.app.commands.parser import make_parser

    assert make_parser()(shlex.split(line)[1:]) is not None


@pytest.mark.parametrize("line", commands("python -m experiments"))
def test_experiments_and_their_flags_exist(line):
    _, _, module, *arguments = shlex.split(line)
    if module == "experiments.evaluate":
        check_evaluator(arguments)
        return
    spec = importlib.util.find_spec(module)
    assert spec is not None, module
    assert spec.origin is not None, module
    source = "".join(file.read_text() for file in sources(Path(spec.origin)))
    if "launch" in source:  # flags of several processes
        source += (ROOT / "experiments" / "launch.py").read_text()
    if arguments and arguments[0].isidentifier():  # a command of several, which the module lists
        assert re.search(rf"^    {arguments.pop(0)} ", source, re.MULTILINE), line
    for argument in arguments:
        flag = re.fullmatch(r"--([\w.]+)(=.*)?", argument)
        assert flag is not None, f"{argument} is no flag of {module}"
        words = flag[1].removeprefix("config.").split(".") if module == "experiments.train" else [flag[1]]
        places = source + config_of(arguments)
        for word in words:
            assert re.search(rf"\b{word.removeprefix('no')}\b|\b{word}\b", places), f"{module} has no --{flag[1]}"


def sources(origin: Path) -> list[Path]:
    return sorted(origin.parent.glob("*.py")) if origin.stem == "__init__" else [origin]


def config_of(arguments: list[str]) -> str:
    from experiments.options import config_file

    names = [a.removeprefix("--config=").partition(":")[0] for a in arguments if a.startswith("--config=")]
    texts = [(ROOT / config_file(name)).read_text() for name in names]
    for text in texts:  # a config that has the entries of another
        others = re.findall(r"^from experiments\.models\.(\w+) import config", text, re.MULTILINE)
        texts += [(ROOT / config_file(name)).read_text() for name in others]
    return "".join(texts)


def check_evaluator(arguments: list[str]) -> None:
    """The first argument names an evaluator, and its options take the others."""
    from experiments import options
    from experiments.evaluate import __main__ as program

    if arguments and arguments[0] not in ("WHAT", "all") and "--help" not in arguments:
        options.parse(program.options_of(arguments[0]), arguments[1:])


def test_targets_of_make_exist():
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    told = {line.split()[1] for line in commands("make ")} | set(
        re.findall(r"`make ([a-z]+)", "".join(path.read_text() for path in PAGES))
    )
    assert told - targets == set()
    assert {"demo", "test", "docs"} <= told
    assert "\ndemo: $(VENV)/installed-video\n" in makefile, "after it README's first command runs: a video"


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_relative_links_lead_to_files(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    generated = {"notebooks/lift", "notebooks/body_prior"}
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http", "mailto:")) and target not in generated:
            assert (path.parent / target).exists(), f"{name(path)}: {target}"


def test_every_page_of_the_site_is_in_a_table_of_contents():
    docs = ROOT / "docs"
    listed = set()
    for path in docs.rglob("*.md"):
        for tree in re.findall(r"^```\{toctree\}\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL):
            entries = [line for line in tree.splitlines() if line and not line.startswith(":")]
            listed |= {(path.parent / f"{entry}.md").relative_to(docs).as_posix() for entry in entries}
    pages = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    assert pages - listed == {"index.md"}


def test_the_first_page_of_results_is_short():
    assert len((ROOT / "docs" / "results.md").read_text(encoding="utf-8").split()) <= 2500


def test_the_package_declares_the_licences_of_what_it_ships():
    """Every file of assets stands in the table of licences, and every licence of the table in pyproject.toml."""
    table = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8").split("Text to carry")[0]
    shipped = {path.name for path in (ROOT / "jaxpose" / "assets").iterdir() if path.suffix != ".md"}
    assert {name for name in shipped if f"`{name}`" not in table} == set()
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"]
    for words, spdx in (("CC BY-SA 3.0", "CC-BY-SA-3.0"), ("BSD-3-Clause", "BSD-3-Clause"), ("CC0 1.0", "CC0-1.0")):
        assert (words in table) == (spdx in declared.split(" AND "))


def test_each_area_of_the_api_pages_has_its_modules(tmp_path):
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    generate.write(tmp_path, ROOT)
    pages = {path.stem for path in (tmp_path / "api").glob("*.md")}
    index = (ROOT / "docs" / "api" / "index.md").read_text()
    assert pages == set(re.findall(r"^(?:.* <)?(\w+)>?$", index.partition("{toctree}")[2], re.MULTILINE)) - {"maxdepth"}
    assert "jaxpose.originals.convert" in (tmp_path / "api" / "originals.md").read_text()
    with pytest.raises(ValueError, match="has no module"):
        generate._modules(ROOT / "jaxpose", "viz")
