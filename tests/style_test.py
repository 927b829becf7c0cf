"""Plain words: numbers of names, first lines and errors that a reader must read twice, which can only fall.

WORKSPACE.md, house style, rule 11. Each number is what is left to rewrite; lower it when you have rewritten some.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
VAGUE_NAMES = {"found", "said", "told", "seen", "own"}  # results are named by what they hold
TELEGRAPHIC = ("Of ", "What ", "Until ", "Whether it", "As ")  # beginnings of a docstring's first line
UNPLAIN = re.compile(r"\blegal (are|is)\b")  # in place of "must be one of"
PAGES = ("README.md", "WORKSPACE.md", "docs")


def trees() -> list[ast.Module]:
    return [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((ROOT / "jaxpose").rglob("*.py"))]


def vague_names(tree: ast.AST) -> Iterator[str]:
    """Assigned names, of variables and parameters."""
    for node in ast.walk(tree):
        stored = isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id
        name = stored or (isinstance(node, ast.arg) and node.arg)
        if name in VAGUE_NAMES:
            yield str(name)


def telegraphic_lines(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            if first.startswith(TELEGRAPHIC):
                yield first


def unplain_errors(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise):
            texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
            yield from (text for text in texts if isinstance(text, str) and UNPLAIN.search(text))


@pytest.mark.parametrize(
    ("count", "most"),
    [(vague_names, 67), (telegraphic_lines, 10), (unplain_errors, 0)],
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_words_of_the_library(count, most):
    assert sum(len(list(count(tree))) for tree in trees()) <= most


def test_words_of_the_pages():
    pages = [
        path
        for name in PAGES
        for path in ([ROOT / name] if name.endswith("md") else sorted((ROOT / name).glob("*.md")))
    ]
    lines = [f"{path.name}: {line}" for path in pages for line in path.read_text(encoding="utf-8").splitlines()]
    assert [line for line in lines if UNPLAIN.search(line)] == []


def test_the_check_finds_each():
    tree = ast.parse(
        '"""Of a file."""\ndef f(own):\n    """As `g`."""\n    found = 1\n'
        '    raise ValueError(f"x {own}; legal are 1, 2")'
    )
    assert list(vague_names(tree)) == ["own", "found"]
    assert list(telegraphic_lines(tree)) == ["Of a file.", "As `g`."]
    assert list(unplain_errors(tree)) == ["; legal are 1, 2"]
