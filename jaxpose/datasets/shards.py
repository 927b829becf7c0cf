"""Training frames on disk, of which single rows are read: a folder of shards, mapped into memory.

    index.json          format, fields (type and shape of a row), rows of each shard
    00000.joints.npy    [rows, 17, 3] one file for a field of a shard
    resident.npz        what every example needs: sequences and their weights, skeletons, statistics

The folder appears whole or not at all. A read costs the pages that hold the rows; nothing else is in memory.
"""

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath, write_json, write_npz
from jaxpose.io.arrays import Source, load_arrays, mapped

FORMAT = 1


class Shards(NamedTuple):
    """An open folder: first rows of the shards [S + 1], arrays by field and shard, the resident arrays."""

    start: np.ndarray
    maps: Mapping[str, list[np.ndarray]]
    resident: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return int(self.start[-1])

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """The fields of rows [...], numbers below `len`: arrays [..., *shape]."""
        flat = np.asarray(rows).ravel()
        shard = np.searchsorted(self.start, flat, side="right") - 1
        fields = {name: np.empty((len(flat), *maps[0].shape[1:]), maps[0].dtype) for name, maps in self.maps.items()}
        for s in np.unique(shard):
            here = np.flatnonzero(shard == s)
            here = here[np.argsort(flat[here])]  # in the order of the file
            for name, maps in self.maps.items():
                fields[name][here] = maps[s][flat[here] - self.start[s]]
        return {name: values.reshape(*np.shape(rows), *values.shape[1:]) for name, values in fields.items()}


def write_shards(
    folder: FilePath, parts: Iterable[Mapping[str, np.ndarray]], resident: Any, *, rows: int = 1 << 18
) -> int:
    """Write the rows of `parts`, one after the other, and return their number; `rows` are in a shard.

    parts: arrays [n, ...] of the same fields each. resident: function called once the parts are written -> arrays by
    name. ValueError where the folder exists.
    """
    target = Path(folder)
    if target.exists():
        raise ValueError(f"{target}: exists already; choose another folder")
    draft = target.with_name(f".{target.name}.parts")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    counts: list[int] = []
    fields: dict[str, Any] = {}
    for part in parts:
        size = len(next(iter(part.values())))
        for first in range(0, size, rows):
            block = {name: np.ascontiguousarray(values[first : first + rows]) for name, values in part.items()}
            for name, values in block.items():
                np.save(draft / f"{len(counts):05}.{name}.npy", values, allow_pickle=False)
                fields[name] = {"dtype": str(values.dtype), "shape": list(values.shape[1:])}
            counts.append(min(rows, size - first))
    write_npz(draft / "resident.npz", resident())
    write_json(draft / "index.json", {"format": FORMAT, "fields": fields, "rows": counts})
    draft.rename(target)
    return sum(counts)


def open_shards(folder: FilePath) -> Shards:
    """The shards of a folder of `write_shards`; ValueError names a file that is missing or not as the index says."""
    folder = Path(folder)
    index = Source(folder / "index.json").json
    try:
        if index["format"] != FORMAT:
            raise ValueError(f"{folder}: shards of format {index['format']}, this version of jaxpose reads {FORMAT}")
        counts = [int(n) for n in index["rows"]]
        shapes = {str(name): (np.dtype(of["dtype"]), tuple(of["shape"])) for name, of in index["fields"].items()}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / 'index.json'}: no index of shards ({error!r})") from error
    if not counts or not shapes or min(counts) < 1:
        raise ValueError(f"{folder / 'index.json'}: needed shards of one row or more, got {counts[:4]}")
    maps = {
        name: [mapped(folder / f"{s:05}.{name}.npy", dtype, (n, *shape)) for s, n in enumerate(counts)]
        for name, (dtype, shape) in shapes.items()
    }
    return Shards(np.append(0, np.cumsum(counts)), maps, dict(load_arrays(folder / "resident.npz")))


def of_takes(length: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """Resident arrays of sequences: first row, length and running sum of the weights [S]; see examples/stored.py."""
    return {
        "start": np.append(0, np.cumsum(length)[:-1]).astype(np.int32),
        "length": length.astype(np.int32),
        "cumulative": np.cumsum(weight).astype(np.float32),
    }
