"""Lifting of many rows by any engine that calls a function of a batch of columns: Ray Data, Spark, Dask, a loop.

    key of a row = fold_in(fold_in(key(seed), d_0), d_1),   d: the 64 bits of BLAKE2b of the row's id as text

So the draws of a row depend on the seed and on its id, not on the worker, the batch or the rows beside it. Detections
are lifted `block` at a time by one program, which is filled up with copies, and a clip by itself, by `lift_video`. On
processors and versions that are equal, results are equal bit for bit however the rows are divided. Another block,
another kind of processor or another version of JAX changes the last bits.
"""

import functools
import hashlib
import os
import reprlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxpose.base import ROW_AXIS, Array, Camera, Hypotheses, Key
from jaxpose.compiled import check_num, check_shape, checked, filled
from jaxpose.geometry.camera import check_pixels
from jaxpose.model import DEFAULT_MODEL, Model, load
from jaxpose.tasks.diffpose import rows_at_once
from jaxpose.tasks.lift import LEAST_JOINTS, lift
from jaxpose.tasks.lift_video import lift_video
from jaxpose.tasks.typicality import judged

Row = dict[str, np.ndarray]
_LEAST_INTRINSICS = (0, 0, -np.inf, -np.inf)
_Legal = Callable[[np.ndarray], Any]
# column -> its shapes in a row, with F frames in a clip; its numbers in words; which numbers are legal: never NaN
_COLUMNS: dict[str, tuple[tuple[tuple[int | str, ...], ...], str, _Legal]] = {
    "confidence": ((("F", "J"),), "numbers in [0, 1]", lambda x: (x >= 0) & (x <= 1)),
    "intrinsics": (
        ((4,), ("F", 4)),
        "finite fx, fy, cx, cy, fx and fy above 0",
        lambda x: np.isfinite(x) & (x > _LEAST_INTRINSICS),
    ),
    "distortion": (((5,),), "finite numbers", np.isfinite),
    "height": (((),), "metres above 0", lambda x: np.isfinite(x) & (x > 0)),
    "up": (((3,),), "a direction", lambda x: np.isfinite(x) & x.any()),
    "frame": ((("F",),), "distinct whole numbers", lambda x: (x == np.rint(x)) & (np.unique(x).size == x.size)),
    "fps": (((),), "frames per second above 0", lambda x: np.isfinite(x) & (x > 0)),
}
_OPTIONS = ("sampler", "num_components", "depth")


class Lifter:
    """A function of a batch of columns to the same columns and results; pickled as its settings, without its model.

        lifter = jaxpose.Lifter("pose17", seed=0, num_hypotheses=50)
        columns = lifter({"id": ids, "keypoints": keypoints, "confidence": confidence, "intrinsics": intrinsics})

    model:          name or path as of `load`, which is called at the first batch.
    num_hypotheses: of each row, as in `lift`.
    samples:        return the hypotheses too.
    block:          detections that are lifted at once; more on a large device.
    settings:       `sampler`, `num_components` and `depth` of `lift`; and what is equal in all rows, by the name of its
                    column: `intrinsics`, `distortion`, `height`, `up`, `fps`.

    Columns of a batch, a dict of arrays or a table of pandas; columns of other names are passed on:

    id:         text or whole numbers. Rows of one id draw the same noise.
    keypoints:  [J, 2] pixels of a detection, or [F, J, 2] of the frames of one person, a clip.
    confidence: [J] or [F, J] in [0, 1], 0 where a joint is not seen; without the column all are trusted.
    intrinsics: [4], of a clip also [F, 4]. distortion: [5]. height: metres. up: [3]. All as in `lift`.
    frame, fps: [F] numbers of a clip's frames, frames per second, as in `lift_video`.

    Results, of a clip with an axis F before J: `pose` [J, 3] and `radius_90` [J] metres about the root, `root` [3]
    metres in camera axes, the mean of the hypotheses; `typicality` of models that judge; with `samples` also `samples`
    [H, J, 3] and `sample_roots` [H, 3]. ValueError for a wrong row names its id.
    """

    @checked
    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        seed: int = 0,
        num_hypotheses: int = 200,
        samples: bool = False,
        block: int = 64,
        **settings: Any,
    ):
        check_num(block, "block")
        if not isinstance(model, str | os.PathLike):
            raise ValueError(f"model: needed a name or a path, got {type(model).__name__}")
        if unknown := sorted(settings.keys() - {*_COLUMNS, *_OPTIONS}):
            raise ValueError(f"Lifter: {unknown[0]!r}; must be one of {', '.join((*_COLUMNS, *_OPTIONS))}")
        name = os.fspath(model)  # of a file: every worker finds it, in whatever folder it runs
        self.model = os.path.abspath(name) if name.endswith(".safetensors") else name
        self.seed, self.num_hypotheses, self.samples, self.block = seed, num_hypotheses, samples, block
        self.settings = settings

    @functools.cached_property
    def _model(self) -> Model:
        return load(self.model)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_model"}

    @property
    def _how(self) -> dict[str, Any]:
        options = {name: value for name, value in self.settings.items() if name in _OPTIONS}
        return {"num_hypotheses": self.num_hypotheses, **options}

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Lift the rows of a batch."""
        rows = []
        for row_id, values in self._rows(batch):
            try:
                rows.append(self._checked(row_id, values))
            except ValueError as error:
                raise ValueError(f"row {str(row_id)!r}: {error}") from None
        single = [n for n, row in enumerate(rows) if row["keypoints"].ndim == 2]
        drawn: dict[int, Row] = {}
        for first in range(0, len(single), self.block):
            some = single[first : first + self.block]
            drawn |= zip(some, self._lift([rows[n] for n in some]), strict=True)
        drawn |= {n: self._lift_clip(row) for n, row in enumerate(rows) if n not in drawn}
        results = {name: _column([drawn[n][name] for n in range(len(rows))]) for name in (drawn[0] if drawn else ())}
        return {name: batch[name] for name in batch} | results

    def faults(self, batch: Mapping[str, Any]) -> list[str]:
        """The fault of each row of a batch in words, or "", for a look before a long run. Draws nothing."""
        faults = []
        for row_id, values in self._rows(batch):
            try:
                self._checked(row_id, values)
                faults.append("")
            except ValueError as error:
                faults.append(str(error))
        return faults

    def _rows(self, batch: Mapping[str, Any]) -> Iterator[tuple[Any, dict[str, Any]]]:
        """The id of each row, and its values by column, with what is equal in all rows."""
        names = ("keypoints", *_COLUMNS)
        common = {name: value for name, value in self.settings.items() if name in names}
        if missing := [name for name in ("id", "keypoints", "intrinsics") if name not in batch and name not in common]:
            raise ValueError(f"no column {missing[0]!r}; the batch has {', '.join(map(str, batch)) or 'none'}")
        columns, num = {name: batch[name] for name in names if name in batch}, np.shape(batch["id"])[:1]
        if wrong := [name for name in columns if not hasattr(columns[name], "__len__") or (len(columns[name]),) != num]:
            raise ValueError(f"{wrong[0]}: needed a column as long as that of id, whose shape is {list(num)}")
        for row_id, *values in zip(batch["id"], *columns.values(), strict=True):
            yield row_id, common | dict(zip(columns, values, strict=True))

    def _checked(self, row_id: Any, row: dict[str, Any]) -> Row:
        """The numbers of a row by column, and 64 bits of its id; ValueError where one is wrong."""
        row_id = row_id.decode() if isinstance(row_id, bytes) else row_id
        if not isinstance(row_id, str | int | np.integer):
            raise ValueError(f"id: must be text or a whole number, got {type(row_id).__name__}")
        digest = hashlib.blake2b(str(row_id).encode(), digest_size=8).digest()
        values, joints = {name: _numbers(name, value) for name, value in row.items()}, len(self._model.skeleton.joints)
        alone = [(joints, 2)] if self._model.spec.network.window is None else []  # other models draw windows of frames
        keypoints, note = values["keypoints"], f" in the order of {self._model.skeleton.name}"
        check_shape("keypoints", keypoints, *alone, ("F", joints, 2), note=note)
        sizes: dict[Any, tuple[int, ...]] = {"F": keypoints.shape[:-2], "J": (joints,)}
        if not sizes["F"]:  # numbers of a detection's frame mean nothing here
            values = {name: value for name, value in values.items() if name not in ("frame", "fps")}
        values = {"confidence": np.ones(keypoints.shape[:-1]), **values}
        for name, (shapes, words, legal) in _COLUMNS.items():
            if name in values:
                legal_shapes = [sum((sizes.get(n, (n,)) for n in shape), ()) for shape in shapes]
                check_shape(name, values[name], *dict.fromkeys(legal_shapes))
                if not np.all(right := legal(values[name])):
                    raise ValueError(f"{name}: needed {words}, got {values[name][~right][0]:g}")
        self._check_seen(keypoints, values["confidence"] > 0)
        check_pixels(keypoints, values["intrinsics"])
        numbers = {name: value.astype(int if name == "frame" else np.float32) for name, value in values.items()}
        return numbers | {"digest": np.frombuffer(digest, "<u4").astype(np.uint32)}

    def _check_seen(self, keypoints: np.ndarray, visible: np.ndarray) -> None:
        if (wrong := visible & ~np.isfinite(keypoints).all(-1)).any():
            joint = self._model.skeleton.joints[np.argwhere(wrong)[0, -1]]
            raise ValueError(f"keypoints: {joint} is not finite; confidence must be 0 where a joint is not seen")
        if (most := visible.sum(-1).max(initial=0)) < LEAST_JOINTS:
            raise ValueError(f"confidence: needed {LEAST_JOINTS} joints above 0 in one frame, got {most}")

    def _lift(self, rows: list[Row]) -> Iterator[Row]:
        given = filled({name: np.stack([row[name] for row in rows]) for name in rows[0]}, len(rows), self.block)
        how = {**self._how, "chunk": max(1, rows_at_once() // self.block)}
        model, key = self._model, jax.random.key(self.seed)
        drawn = _of_detections(key, model, given, how=tuple(how.items()))
        fields = self._fields(judged(model, drawn))
        return ({name: value[n] for name, value in fields.items()} for n in range(len(rows)))

    def _lift_clip(self, row: Row) -> Row:
        options, key = dict(row), _key_of(jax.random.key(self.seed), row["digest"])
        del options["digest"]
        camera: Any = Camera(options.pop("intrinsics"), options.pop("distortion", None))
        return self._fields(lift_video(key, self._model, camera=camera, **options, **self._how))  # type: ignore[arg-type]

    def _fields(self, result: Hypotheses) -> Row:
        assert result.root is not None, "what is lifted has a place"
        samples, root = (np.swapaxes(x, 0, 1) for x in jax.device_get((result.samples, result.root)))
        fields: Any = {"pose": result.mean, "radius_90": result.radius_90, "root": root.mean(1)}
        fields |= {} if result.judge is None else {"typicality": result.typicality}
        fields |= {"samples": samples, "sample_roots": root} if self.samples else {}
        return {name: np.asarray(value) for name, value in fields.items()}


@jax.jit
def _key_of(key: Key, digest: Array) -> Key:
    return jax.random.fold_in(jax.random.fold_in(key, digest[0]), digest[1])


@functools.partial(jax.jit, static_argnames="how")
def _of_detections(key: Key, model: Model, rows: dict[str, Array], *, how: tuple[tuple[str, Any], ...]) -> Hypotheses:
    """`lift` of each row with a key of its own."""

    def one(row: dict[str, Array]) -> Hypotheses:
        camera, options = Camera(row["intrinsics"], row.get("distortion")), {"up": row.get("up"), **dict(how)}
        detection = row["keypoints"][None], row["confidence"][None]
        key_of_row = _key_of(key, row["digest"])
        return lift(key_of_row, model, *detection, camera=camera, height=row.get("height"), **options).of_rows(0)

    axes: Any = (ROW_AXIS.get(name, 0) for name in Hypotheses._fields)
    return jax.vmap(one, out_axes=Hypotheses(*axes))(rows)


def _numbers(name: str, value: Any) -> np.ndarray:
    """A value of a table as float64: engines give arrays, lists of lists or arrays of arrays."""
    try:
        nested = isinstance(value, np.ndarray) and value.dtype == object
        return np.asarray([_numbers(name, x) for x in value] if nested else value, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: needed numbers of one shape, got {reprlib.repr(value)}") from None


def _column(values: list[np.ndarray]) -> np.ndarray:
    """Values of all rows: an array, or where their shapes differ an array of arrays."""
    if len({value.shape for value in values}) == 1:
        return np.stack(values)
    column = np.empty(len(values), object)
    for n, value in enumerate(values):
        column[n] = value
    return column
