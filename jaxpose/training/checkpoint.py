"""Checkpoints of a training run: one orbax directory per step under <workdir>/checkpoints, written atomically.

A state is stored flat, one array per leaf under the leaf's path ("params.dense.kernel"), with a JSON dict beside it
(`format`, `step` and what the caller adds: config, seed, commit). orbax writes into a temporary directory and renames
it at the end: a save that was killed leaves no checkpoint, and the one before it is removed only after the rename.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.training.step import TrainState

FORMAT = 1
Tree = TypeVar("Tree")


def save(
    workdir: str | Path, state: TrainState, meta: Mapping[str, Any], *, keep_last: int = 3, keep_every: int = 0
) -> None:
    """Write `state` and `meta` (JSON values) under the state's step; returns when they are on disk.

    The last `keep_last` checkpoints stay, and those whose step is a multiple of `keep_every` (0: no others).
    """
    import orbax.checkpoint as ocp

    step = int(state.step)
    items = ocp.args.Composite(
        state=ocp.args.StandardSave(_flatten(state)), meta=ocp.args.JsonSave({**meta, "format": FORMAT, "step": step})
    )
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep_last,
        keep_period=keep_every or None,
        enable_async_checkpointing=False,
        cleanup_tmp_directories=True,
    )
    with ocp.CheckpointManager(_directory(workdir), options=options) as manager:
        if step not in manager.all_steps():
            manager.save(step, args=items)


def steps(workdir: str | Path) -> list[int]:
    """Steps of the checkpoints in `workdir`, rising."""
    if not _directory(workdir).is_dir():
        return []
    with _reader(workdir) as manager:
        return sorted(manager.all_steps())


def restore_latest(workdir: str | Path, like: TrainState) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest state (numpy leaves, but for the key) and its meta, or None where there is no checkpoint.

    `like` gives structure, shapes and types. ValueError names the first leaf that differs, with both shapes.
    """
    import orbax.checkpoint as ocp

    found = steps(workdir)
    if not found:
        return None
    path = _directory(workdir) / str(found[-1])
    with _reader(workdir) as manager:
        meta = manager.restore(found[-1], args=ocp.args.Composite(meta=ocp.args.JsonRestore())).meta
        if meta.get("format") != FORMAT:
            raise ValueError(
                f"{path}: checkpoint of format {meta.get('format')}, this version of jaxpose reads format {FORMAT}"
            )
        leaves = manager.restore(found[-1], args=ocp.args.Composite(state=ocp.args.StandardRestore())).state
    return _unflatten(leaves, like, str(path)), meta


def git_commit() -> str:
    """Commit of the code that runs, with "-dirty" when files differ from it; "unknown" outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _directory(workdir: str | Path) -> Path:
    return Path(workdir).absolute() / "checkpoints"


def _reader(workdir: str | Path) -> Any:
    import orbax.checkpoint as ocp

    # Without the sweep of temporary directories: another process may be saving into one.
    options = ocp.CheckpointManagerOptions(create=False, cleanup_tmp_directories=False)
    return ocp.CheckpointManager(_directory(workdir), options=options)


def _named_leaves(tree: Any) -> list[tuple[str, Any]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in leaves]


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _flatten(tree: Any) -> dict[str, np.ndarray]:
    return {n: np.asarray(jax.random.key_data(v) if _is_key(v) else v) for n, v in _named_leaves(tree)}


def _unflatten(leaves: Mapping[str, np.ndarray], like: Tree, source: str) -> Tree:
    wanted = _flatten(like)
    for name in [*wanted, *leaves]:
        there, here = _describe(leaves.get(name)), _describe(wanted.get(name))
        if there != here:
            raise ValueError(f"{source}: checkpoint of another architecture: {name} is {there} there, {here} here")

    def restored(stored: np.ndarray, like: Any) -> Any:
        if not _is_key(like):
            return stored
        return jax.random.wrap_key_data(jnp.asarray(stored), impl=jax.random.key_impl(like))

    values = [restored(leaves[name], leaf) for name, leaf in _named_leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), values)


def _describe(leaf: np.ndarray | None) -> str:
    return "absent" if leaf is None else f"{leaf.dtype}{list(leaf.shape)}"
