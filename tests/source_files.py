"""The sources of the library and of the experiments, parsed, for the tests of their structure."""

import ast
import functools
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def sources(root: Path, *folders: str) -> list[Path]:
    """Python files below some folders, jaxpose/ and experiments/ by default."""
    return sorted(path for name in folders or ("jaxpose", "experiments") for path in (root / name).rglob("*.py"))


@functools.cache
def parsed(text: str) -> ast.Module:
    return ast.parse(text)


def plant(root: Path, files: dict[str, str]) -> Path:
    """`root` with files of this content."""
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root
