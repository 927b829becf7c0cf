"""What the site needs beside its pages: one API page for each area, copies of the notebooks, docstrings as reST.

The docstrings of the package are plain text: paragraphs, lists, indented equations, names in single backticks.
`to_rest` turns them into reStructuredText: indented lines become literal blocks, special characters are escaped.
"""

import ast
import re
import shutil
from pathlib import Path
from typing import Any

# Areas in the order of the page: title, and the modules or packages below jaxpose/ that belong to it.
AREAS = {
    "base": ("Shared types and files", ("base", "spec", "model", "files", "compiled", "conditioning")),
    "geometry": ("Geometry", ("geometry",)),
    "diffusion": ("Diffusion", ("diffusion",)),
    "networks": ("Networks", ("networks",)),
    "spaces": ("Spaces: what a state means", ("spaces",)),
    "tasks": ("Tasks", ("tasks",)),
    "fitting": ("Fitting of bodies", ("fitting",)),
    "io": ("Files: readers and writers", ("io",)),
    "detect": ("Keypoints of videos", ("app/detect",)),
    "datasets": ("Data sets", ("datasets",)),
    "examples": ("Training examples", ("examples",)),
    "training": ("Training", ("training",)),
    "evaluation": ("Evaluation", ("evaluation",)),
    "viz": ("Pictures and scenes", ("app/viz", "app/export")),
    "to_onnx": ("ONNX files", ("app/to_onnx",)),
    "originals": ("The three papers' own recipes, files and checkpoints", ("originals",)),
}


def write(docs: Path, root: Path) -> None:
    """Write docs/api/<area>.md and docs/notebooks/*.ipynb; both folders are ignored by git."""
    notebooks = docs / "notebooks"
    notebooks.mkdir(exist_ok=True)
    for path in sorted((root / "experiments" / "colabs").glob("*.ipynb")):
        shutil.copyfile(path, notebooks / path.name)
    (docs / "api").mkdir(exist_ok=True)
    pages = {"jaxpose": _tier_1(root / "jaxpose" / "api.py")}
    for name, (title, places) in AREAS.items():
        modules = [module for place in places for module in _modules(root / "jaxpose", place)]
        blocks = [_block(root, module) for module in modules]
        pages[name] = f"# {title}\n\n" + "\n".join(blocks)
    for name, page in pages.items():
        target = docs / "api" / f"{name}.md"
        if not target.is_file() or target.read_text(encoding="utf-8") != page:  # an unchanged page is not built again
            target.write_text(page, encoding="utf-8")


def _tier_1(api: Path) -> str:
    """The page of the names that jaxpose/api.py imports: functions first, then types."""
    lines = [n for n in ast.parse(api.read_text(encoding="utf-8")).body if isinstance(n, ast.ImportFrom)]
    names = sorted(alias.name for line in lines for alias in line.names)
    kinds = {"Functions": ("autofunction", str.islower), "Types": ("autoclass", str.isupper)}
    page = "# `jaxpose`\n"
    for title, (directive, belongs) in kinds.items():
        chosen = [name for name in names if belongs(name[0])]
        listed = "\n".join(f".. {directive}:: jaxpose.{name}" for name in chosen)
        page += f"\n## {title}\n\n```{{eval-rst}}\n{listed}\n```\n"
    return page


def _block(root: Path, module: str) -> str:
    """A module of the page; of a package that passes names on (it has `__all__`), the docstring alone."""
    package = root / module.replace(".", "/") / "__init__.py"
    option = "   :no-members:\n" if package.is_file() and "__all__" in package.read_text(encoding="utf-8") else ""
    return f"## `{module}`\n\n```{{eval-rst}}\n.. automodule:: {module}\n{option}```\n"


def _modules(package: Path, place: str) -> list[str]:
    """Dotted names of a module, or of a package and the modules below it, without those that hold no code.

    ValueError where there is none.
    """
    single = package / f"{place}.py"
    files = [single] if single.is_file() else sorted((package / place).rglob("*.py"))
    found = []
    for path in files:
        if not ast.parse(path.read_text(encoding="utf-8")).body or path.stem == "__main__":
            continue
        parts = path.relative_to(package.parent).with_suffix("").parts
        found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    if not found:
        raise ValueError(f"AREAS: {package / place} has no module")
    return found


def to_rest(lines: list[str]) -> list[str]:
    """Lines of a plain-text docstring as reStructuredText."""
    out: list[str] = []
    literal = item = False
    for line in lines:
        text, indent = line.strip(), len(line) - len(line.lstrip())
        bullet = re.match(r"[-*] |\d+\. ", text)
        if not text:
            out.append("")
        elif indent and not item and out and out[-1] and not literal:  # a hanging indent
            out.append(_escaped(text))
        elif indent and not item:
            if not literal:
                out += ["", "::", ""]
            out.append("    " + line)
            literal = True
            continue
        else:
            continues = item and indent > 0
            if literal or (out and out[-1] and bool(bullet) != item and not continues):
                out.append("")
            item = bool(bullet) or continues
            out.append(line[:indent] + (text[:2] + _escaped(text[2:]) if bullet else _escaped(text)))
        if text:
            literal = False
    return out


def _escaped(text: str) -> str:
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(_literal(part) if part.startswith("`") else _plain(part) for part in parts)


def _literal(part: str) -> str:
    return f"``{part.strip('`')}``"


def _plain(part: str) -> str:
    part = re.sub(r"([\\*|`])", r"\\\1", part)
    return re.sub(r"(\w)_(?!\w)", r"\1\\_", part)


def process_docstring(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Sphinx event: the docstring's lines, in place."""
    del app, what, name, obj, options
    lines[:] = to_rest(lines)


def skip_member(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Sphinx event: fields of tuples, which the class's own docstring describes, are not listed again."""
    del app, what, name, skip, options
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None
