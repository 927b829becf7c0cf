"""Checkpoints of a training run: one orbax directory per step under <workdir>/checkpoints, and a hash of every file.

    checkpoints/1000/state/...      one array per leaf of the state, under the leaf's path ("params.dense.kernel")
    checkpoints/1000/meta/metadata  JSON: `format`, `step` and what the caller adds: config, seed, commit
    checkpoints/1000/sha256.json    SHA-256 of every file above, and of these hashes

orbax writes into a temporary directory and renames it at the end; the hashes are written after that. A save that was
killed therefore has no hashes, and is none; one whose files differ from its hashes is damaged. In both cases the newest
whole one before it counts, so at least two are kept. All processes of a run call `save` and `restore_latest`.
"""

import contextlib
import hashlib
import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.files import write_json
from jaxpose.training import processes
from jaxpose.training.parallel import is_key
from jaxpose.training.step import TrainState

FORMAT = 2
Tree = TypeVar("Tree")
_HASHES = "sha256.json"
_BLOCK = 1 << 24  # bytes
_KEPT = 3  # at least 2, so that a damaged checkpoint has one before it


def save(workdir: str | Path, state: TrainState, meta: Mapping[str, Any]) -> None:
    """Write `state` and `meta` (JSON values) under the state's step; returns when they are on disk.

    The last three checkpoints stay. Those of later steps, which were damaged or are of a run that went another way, are
    removed. OSError where it cannot be written; the checkpoints before it stay.
    """
    import orbax.checkpoint as ocp

    step, folder = int(state.step), _directory(workdir)
    if step in steps(workdir) and _agreed_fault(folder / str(step)) is None:
        return
    _check_space(folder, state, step)
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(_flatten(state)), meta=ocp.args.JsonSave({**meta, "format": FORMAT, "step": step})
    )
    options = ocp.CheckpointManagerOptions(
        max_to_keep=_KEPT, enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    try:
        with _unlogged("absl", "asyncio"), ocp.CheckpointManager(folder, options=options) as manager:
            for other in manager.all_steps():
                if other >= step:
                    manager.delete(other)
            manager.save(step, args=items)
        if processes.is_first():
            _write_hashes(folder / str(step))
    except Exception as error:  # of orbax, tensorstore and the file system alike
        why = processes.first_line(error)
        raise OSError(f"{folder / str(step)}: the checkpoint could not be written ({why})") from error
    processes.meet("saved")


def _check_space(folder: Any, state: TrainState, step: int) -> None:
    """OSError where a local disk has less room than the state takes."""
    where = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
    needed = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state) if not is_key(leaf))
    free = needed if where is None or "://" in str(folder) else shutil.disk_usage(where).free
    if processes.agreed(free) < needed:
        raise OSError(
            f"{folder / str(step)}: the checkpoint could not be written (it takes {needed:,} bytes, {free:,} are free)"
        )


@contextlib.contextmanager
def _unlogged(*names: str) -> Iterator[None]:
    """Loggers below critical off: each of orbax's threads logs the error that is raised, with its traceback."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def steps(workdir: str | Path) -> list[int]:
    """Steps of the whole checkpoints in `workdir`, rising; not those that a kill left without hashes."""
    folder = _directory(workdir)
    return [step for step in _finished(folder) if (folder / str(step) / _HASHES).is_file()]


def restore_latest(workdir: str | Path, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest whole state (numpy leaves, but for the key) and its meta, or None where there is no checkpoint.

    `like` gives structure, shapes and types. A damaged checkpoint is told on stderr, and the one before it is taken;
    ValueError where all are damaged, and where the first leaf differs, with both shapes.
    """
    found = latest(workdir)
    if found is None:
        return None
    path, meta = found
    return _unflatten(_read_state(path), like, str(path)), meta


def latest(workdir: str | Path) -> tuple[Any, dict[str, Any]] | None:
    """Folder and meta of the newest checkpoint that is whole; None and ValueError as in `restore_latest`."""
    found = steps(workdir)
    faults: list[str] = []
    for step in reversed(found):
        path = _directory(workdir) / str(step)
        fault = _agreed_fault(path)
        if fault is None:
            meta = json.loads((path / "meta" / "metadata").read_bytes())
            if meta.get("format") != FORMAT:
                raise ValueError(
                    f"{path}: checkpoint of format {meta.get('format')}, this version of jaxpose reads format {FORMAT}"
                )
            for line in faults if processes.is_first() else ():
                print(f"{line}; going on from step {step}", file=sys.stderr, flush=True)
            return path, meta
        faults.append(f"{path}: damaged ({fault})")
    if faults:
        raise ValueError(f"{'; '.join(faults)}; no whole checkpoint is left, remove the folder to begin anew")
    if unknown := [n for n in _finished(_directory(workdir)) if n > 0]:  # a run begins with a whole one of step 0
        raise ValueError(
            f"{_directory(workdir)}: the checkpoints {unknown} have no hashes: they are of an earlier version of "
            "jaxpose or incomplete, and would be removed; choose another folder"
        )
    return None


def git_commit() -> str:
    """Commit of the code that runs, with "-dirty" when files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, encoding="utf-8", check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _directory(workdir: str | Path) -> Any:
    return processes.folder(workdir) / "checkpoints"


def _finished(folder: Any) -> list[int]:
    """Steps of the directories that orbax has renamed, rising."""
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) if folder.is_dir() else []


def _agreed_fault(path: Any) -> str | None:
    """`_fault_of`, read by the first process for all."""
    return processes.agreed(_fault_of(path) if processes.is_first() else None)


def _hashes(path: Any) -> dict[str, str]:
    """SHA-256 of each file below `path`, but for that of the hashes."""
    files = sorted(file for file in path.rglob("*") if file.is_file() and file != path / _HASHES)
    return {file.relative_to(path).as_posix(): _hash_of(file) for file in files}


def _hash_of(file: Any) -> str:
    found = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(_BLOCK):
            found.update(block)
    return found.hexdigest()


def _write_hashes(path: Any) -> None:
    hashes = _hashes(path)
    write_json(path / _HASHES, {"files": hashes, "hashes": _hash_of_text(hashes)})


def _hash_of_text(hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(hashes, sort_keys=True).encode()).hexdigest()


def _fault_of(path: Any) -> str | None:
    try:
        said = json.loads((path / _HASHES).read_bytes())
        hashes = dict(said["files"])
        if said["hashes"] != _hash_of_text(hashes):
            return f"{_HASHES} was changed"
        there = _hashes(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{_HASHES}: {processes.first_line(error)}"
    for name, wanted in hashes.items():
        if there.get(name) != wanted:
            return f"{name} is missing" if name not in there else f"{name} was changed"
    return None


def _read_state(path: Any) -> dict[str, np.ndarray]:
    import orbax.checkpoint as ocp
    from etils import epath

    reader, folder = ocp.PyTreeCheckpointHandler(), epath.Path(path / "state")
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(reader.metadata(folder).tree))
    return reader.restore(folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _flatten(tree: Any) -> dict[str, Any]:
    """Leaves by path: numpy, but for those of which other processes hold parts."""
    plain = [(n, jax.random.key_data(v) if is_key(v) else v) for n, v in _named_leaves(tree)]
    return {n: v if getattr(v, "is_fully_addressable", True) is False else np.asarray(v) for n, v in plain}


def _unflatten(leaves: Mapping[str, np.ndarray], like: Tree, source: str) -> Tree:
    wanted = {n: jax.random.key_data(v) if is_key(v) else v for n, v in _named_leaves(like)}
    for name in [*wanted, *leaves]:
        there, here = _describe(leaves.get(name)), _describe(wanted.get(name))
        if there != here:
            raise ValueError(f"{source}: checkpoint of another architecture: {name} is {there} there, {here} here")

    def restored(stored: np.ndarray, like: Any) -> Any:
        return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(like)) if is_key(like) else stored

    values = [restored(leaves[name], leaf) for name, leaf in _named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), values)


def _describe(leaf: Any) -> str:
    return "absent" if leaf is None else f"{jnp.result_type(leaf)}{list(np.shape(leaf))}"
