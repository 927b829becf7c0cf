"""Break the library line by line and see that a named test fails: `python tests/mutations.py`, part of `make nightly`.

    python tests/mutations.py                   all of them, some 15 minutes of one core
    python tests/mutations.py --only=best_of    those whose name or test contains the text
    python tests/mutations.py --list            names and tests, nothing run

Each mutation of mutations.toml replaces one snippet, which must occur once in the library, in a copy of the working
tree, runs its test there and puts the file back. First all tests run on the unchanged copy: one that fails anyway
proves nothing. The exit code is 1 where a mutation was not caught, a snippet is not found, or a test did not run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("jaxpose", "tests", "experiments", "pyproject.toml")


class Mutation(NamedTuple):
    """old: occurs once in {jaxpose,experiments}/**.py. test: below tests/, as pytest names it."""

    name: str
    old: str
    new: str
    test: str


MUTATIONS = [Mutation(**m) for m in tomllib.loads((ROOT / "tests/mutations.toml").read_text())["mutation"]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutations whose name or test contains this text")
    parser.add_argument("--list", action="store_true", help="print names and tests, run nothing")
    args = parser.parse_args()
    chosen = [m for m in MUTATIONS if any(args.only in text for text in (m.name, m.test))]
    found = {m: places(ROOT, m) for m in chosen}
    lost = [m for m in chosen if len(found[m]) != 1]
    for mutation in lost:
        print(f"NOT FOUND  {mutation.name}: needed the snippet in one place, found {len(found[mutation])}")
    if args.list:
        print(*(f"{m.name}: {found[m][0]}, tests/{m.test}" for m in chosen if m not in lost), sep="\n")
        print(f"{len(chosen)} mutations")
        return 1 if lost else 0
    return max(_run([m for m in chosen if m not in lost]), 1 if lost else 0)


def _run(mutations: list[Mutation]) -> int:
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        copy.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy)
        if code := _pytest(copy, sorted({m.test for m in mutations})):
            print(f"the tests fail or do not run without any mutation: pytest's exit code {code}")
            return 1
        for mutation in mutations:
            file, started = copy / places(copy, mutation)[0], time.monotonic()
            text = file.read_text()
            file.write_text(text.replace(mutation.old, mutation.new))
            code = _pytest(copy, [mutation.test])
            file.write_text(text)
            said = {0: "MISSED", 1: "caught"}.get(code, f"BROKEN, exit code {code}")
            missed += [mutation] if code != 1 else []
            print(f"{said}  {mutation.name}  (tests/{mutation.test}, {time.monotonic() - started:.0f} s)", flush=True)
    print(f"{len(mutations) - len(missed)} of {len(mutations)} mutations caught")
    return 1 if missed else 0


def _pytest(copy: Path, tests: list[str]) -> int:
    """pytest's exit code: 0 all passed, 1 some failed, others where it could not run them."""
    data = os.environ.get("JAXPOSE_DATA", ROOT / "../shared/data")
    environment = {**os.environ, "JAXPOSE_DATA": str(Path(data).resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *(f"tests/{test}" for test in tests)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


def places(root: Path, mutation: Mutation) -> list[Path]:
    """The files, below root, that contain the snippet, each as often as it does."""
    files = sorted(file for folder in ("jaxpose", "experiments") for file in (root / folder).rglob("*.py"))
    return [file.relative_to(root) for file in files for _ in range(file.read_text().count(mutation.old))]


if __name__ == "__main__":
    sys.exit(main())
