"""Folders of videos, files of keypoints or tables, lifted by Ray on one machine or a cluster, written as Parquet.

    pip install "jaxpose[ray,video]"
    python -m experiments.lift_many --clips=FOLDER --out=FOLDER --workers=8

Ray divides the rows, replaces workers that are lost and repeats their batches. `jaxpose.Lifter` gives the same numbers
to a row wherever it is lifted. docs/many_clips.md has the columns, and the lines for Spark, Dask and Slurm.
"""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from ray.data import Dataset, SaveMode

import jaxpose
from experiments.options import option, run
from jaxpose.app.commands.clips import keypoints_of
from jaxpose.app.commands.detections import read_detections
from jaxpose.app.commands.values import KeypointFile, VideoFile
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.geometry.windows import rows_of_people
from jaxpose.tasks.blocks import result_of
from jaxpose.tasks.lift_video import TRAINED_FPS

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the command."""

    clips: str | None = option(None, "Folder of videos and files of 2D keypoints, or of Parquet tables.", required=True)
    out: str | None = option(None, "Folder for poses/ and the keypoints of videos; all workers see it.", required=True)
    skeleton: str | None = option(None, "Joint set of files of keypoints that do not name it, such as coco17.")
    model: str = option("pose17", "Model, a name or a file.")
    seed: int = option(0, "Seed of all rows.")
    hypotheses: int = option(50, "Hypotheses of each detection.", low=1)
    samples: bool = option(False, "Write the hypotheses too, beside their mean and radius.")
    batch: int = option(64, "Rows of a batch.", low=1)
    workers: int = option(1, "Most workers that lift at once; each reads the model once.", low=1)
    gpus: float = option(0.0, "GPUs of a worker.", low=0)
    part: int = option(0, "Which part of the files to lift, from 0, where several jobs divide them.", low=0)
    parts: int = option(1, "Number of parts.", low=1)


def main(options: Options) -> None:
    """Lift the files of a folder."""
    clips, out = (Path(folder or "").resolve() for folder in (options.clips, options.out))
    paths = [str(path) for path in sorted(clips.iterdir())][options.part :: options.parts]
    if not paths:
        raise ValueError(f"--clips: part {options.part} of {options.parts} of {clips} has no files")
    settings: Row = {"model": options.model, "seed": options.seed, "num_hypotheses": options.hypotheses}
    rows = rows_of(paths, jaxpose.load(options.model).skeleton, out / "keypoints", options.skeleton)
    how: Row = {"workers": options.workers, "batch": options.batch, "gpus": options.gpus, "samples": options.samples}
    poses = out / "poses" / f"{options.part:05}"  # a job that is started again begins its part anew
    unfinished = out / f"unfinished-{options.part:05}"
    try:
        lifted(rows, **how, **settings).write_parquet(str(unfinished), mode=SaveMode.OVERWRITE)
    except ray.exceptions.RayTaskError as error:  # its own text is a worker's whole trace
        shutil.rmtree(unfinished, ignore_errors=True)
        raise ValueError(str(error.cause).splitlines()[0]) from error
    shutil.rmtree(poses, ignore_errors=True)
    poses.parent.mkdir(parents=True, exist_ok=True)
    unfinished.rename(poses)
    print(f"wrote {poses}")


def rows_of(paths: Sequence[str], skeleton: Skeleton, kept: Path, given: str | None = None) -> Dataset:
    """The rows of Parquet tables, or the people of videos and files of keypoints; ValueError for both together.

    skeleton: of the model. kept: folder for the keypoints of videos. given: joint set of files that do not name it.
    """
    tables = [path for path in paths if path.endswith(".parquet")]
    if tables and len(tables) < len(paths):
        raise ValueError(f"{Path(paths[0]).parent}: has tables and other files; needed a folder of one kind")
    if tables:
        return ray.data.read_parquet(tables)
    how = {"skeleton": skeleton, "kept": kept, "given": given}
    return ray.data.from_items(paths, override_num_blocks=len(paths)).flat_map(people, fn_kwargs=how)


def people(row: Row, skeleton: Skeleton, kept: Path, given: str | None = None) -> Iterator[Row]:
    """The people of a file as `jaxpose lift` reads it, each a clip; keypoints of videos are kept for another run."""
    path = Path(row["item"])
    file = result_of(keypoints_of(path, VideoFile(), kept, path.name))
    data = read_detections(file, skeleton, KeypointFile(), given if file == path else None, video=file != path)
    for who, rows in rows_of_people(data.source.person, data.source.frame):
        seen = {"keypoints": data.xy[rows], "confidence": data.confidence[rows], "intrinsics": data.intrinsics[rows]}
        times = {"frame": data.source.frame[rows], "fps": data.source.fps or TRAINED_FPS}
        yield {"id": f"{path.name}/{who}", **seen, **times}


def lifted(
    rows: Dataset, lifter: type = jaxpose.Lifter, *, workers: int, batch: int = 64, gpus: float = 0, **settings: Any
) -> Dataset:
    """Rows with their results, by at most so many workers that each make a `lifter` of the settings."""
    how: Row = {"fn_constructor_kwargs": settings, "batch_size": batch, "num_gpus": gpus, "concurrency": (1, workers)}
    return rows.repartition(target_num_rows_per_block=batch).map_batches(lifter, **how).map_batches(as_lists)


def as_lists(columns: dict[str, np.ndarray]) -> pa.Table:
    """A batch whose arrays are lists of lists, which any reader of Parquet knows."""
    return pa.table({name: _lists(list(column)) for name, column in columns.items()})


def _lists(values: list[Any]) -> pa.Array:
    kind = None  # of what was a table: as it is
    if isinstance(values[0], np.ndarray) and values[0].dtype != object:
        kind = pa.from_numpy_dtype(values[0].dtype)
        for _ in range(values[0].ndim):
            kind = pa.list_(kind)
    return pa.array([_plain(value) for value in values], kind)


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [_plain(x) for x in value]
    return value.tolist() if isinstance(value, np.ndarray) else value


if __name__ == "__main__":
    run("lift_many", main, Options, __doc__)
