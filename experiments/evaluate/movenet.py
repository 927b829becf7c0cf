"""MoveNet's heatmaps on the walker's videos: do mixtures of them lift better than points with confidence?

    python -m experiments.evaluate movenet [--stride=3] [--hypotheses=50] [--cache=runs/evaluate/movenet]

The truth is that of `evaluate blazepose`: the triangulation of OpenPose's detections in the other three cameras, of 12
limb joints, in the image less each camera's median error. The first rows are of the image. A heatmap h of a joint is
read as the density

    p(cell) = (1 - floor) h^(1 / temperature) / sum h^(1 / temperature) + floor / 64^2

and "nats" is the mean of -log p of the cell that holds the truth. Temperature and floor are fitted for each kind of
joint on the two cameras of the other half; so is the spread of the Gaussian about the point, with the same floor.

The other rows lift: points with confidence, or mixtures of M Gaussians fitted by EM to draws of p. The first line tells
the processor time of the network, with its decoding, beside LiteRT's of BlazePose full, of the same crops in turn.
"""

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate import bench, blazepose, harness
from experiments.evaluate.blazepose import LIMBS, aligned_mm, calibration, from_hips, rooted_mm
from experiments.evaluate.harness import Item, Row, Table
from experiments.options import option
from jaxpose import model as released
from jaxpose.app.commands.clips import detector
from jaxpose.app.commands.lift import mixture_px
from jaxpose.app.commands.values import VideoFile
from jaxpose.app.detect import weights
from jaxpose.app.detect.frames import Clip, frames
from jaxpose.app.detect.movenet import cut, person_of
from jaxpose.app.detect.regions import whole
from jaxpose.base import Camera
from jaxpose.datasets.mocap import data_root
from jaxpose.diffusion.mixture import Mixture
from jaxpose.evaluation.calibration import energy_score
from jaxpose.files import write_npz
from jaxpose.geometry.camera import normalise, project
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.skeleton import COCO_17, Skeleton
from jaxpose.io.arrays import load_arrays
from jaxpose.io.assumed import rescaled
from jaxpose.io.heatmap_files import Heatmaps
from jaxpose.networks.movenet import CELLS, MoveNet, decode, joint_maps, params_of
from jaxpose.tasks.lift import lift

_AT = [COCO_17.joints.index(joint) for joint in LIMBS]
_KINDS = [joint.split("_")[-1] for joint in LIMBS]
TEMPERATURES, FLOORS = np.geomspace(0.25, 4, 17), (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2)
_SPREADS = np.geomspace(0.3, 6, 27)  # cells
_CHECKED = 10  # frames of a camera whose crops are timed


@dataclasses.dataclass(frozen=True)
class Options(harness.Options):
    model: str = option("diffpose17", "A DiffPose model's name or a .safetensors file.")
    points: str = option("pose17", "The model beside it, of points.")
    stride: int = option(3, "Every n-th frame only.", low=1)
    hypotheses: int = option(50, "Hypotheses per frame.", low=2)
    cache: str = option("runs/evaluate/movenet", "Folder in which the heatmaps are kept.")


class View(NamedTuple):
    """F frames of a camera: logs of maps [F, 17, 64, 64]; box [F, 4], xy [F, 17, 2] px of the calibrated image; score.

    reference: [F, 12, 3] m in camera axes. cell: [F, 12, 2] where it is in the maps, NaN where there is none. All
    pixels are those of the camera with its lens.
    """

    log_maps: np.ndarray
    box: np.ndarray
    xy: np.ndarray
    score: np.ndarray
    reference: np.ndarray
    cell: np.ndarray
    camera: Camera
    size: tuple[int, int]
    skeleton: Skeleton = COCO_17


def movenet(model: released.Model, options: Options) -> Iterator[Item]:
    """Tables of densities in the image and of poses."""
    for number in range(4):
        _read(number, Path(options.cache))
    yield {"processor_ms": _milliseconds(Path(options.cache))}
    views = [_view(number, options) for number in range(4)]
    told = "cameras known, and that the person is the only one; the reference is made of the other three cameras"
    columns: dict[str, harness.Column] = {"nats": "nats:.2f", "temperature": "temperature:.2f", "floor": "floor:.3f"}
    yield Table(
        f"truth in MoveNet's heatmaps, {len(views[0].xy)} frames a camera", told, "each half on the other", columns
    )
    fitted = yield from _densities(views)
    columns = {"PA mm": "pa_mm:.1f", "MPJPE mm": "mpjpe_mm:.1f", "best of H": "best_mm:.1f", "ECE": "ece:.3f"}
    columns |= {"in 90 %": "within_90:.3f", "energy mm": "energy_mm:.1f"}
    yield Table("lifted", told, f"{bench.tuned(model)}; maps as above", columns)
    points = released.load(options.points)
    others = [_of_blazepose(view, number, options) for number, view in enumerate(views)]
    parts = [_lifted(points, view, 0, None, options) for view in others]
    yield Row(f"points of BlazePose full, {options.points}", _mean(parts))
    for name, (of, components, settings) in {
        f"points, {options.points}": (points, 0, None),
        f"points, {options.model}": (model, 0, None),
        "maps as they are, M = 5": (model, 5, np.tile((1.0, 0.0), (4, len(LIMBS), 1))),
        "maps fitted, M = 1": (model, 1, fitted),
        "maps fitted, M = 5": (model, 5, fitted),
    }.items():
        parts = [
            _lifted(of, view, components, None if settings is None else settings[i], options)
            for i, view in enumerate(views)
        ]
        yield Row(name, _mean(parts))


def _mean(parts: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([part[key] for part in parts])) for key in parts[0]}


def _read(number: int, cache: Path) -> None:
    """Run the network on a camera's video, once, and keep what it gives."""
    film, path = bench.load_walker(), cache / f"cam{number}.npz"
    if path.is_file():
        return
    for line in detector(VideoFile(detector="movenet")):
        print(line, flush=True)
    files = [weights.kept(f"movenet-thunder.{kind}") for kind in ("json", "bin")]
    params = jax.device_put(params_of(*files))  # type: ignore[arg-type]  # fetched by `detector`

    @jax.jit
    def program(params: Any, rgb: jax.Array) -> tuple[jax.Array, jax.Array]:
        heads = MoveNet().apply(params, rgb)
        return jnp.log(joint_maps(heads)), decode(heads)  # type: ignore[arg-type]

    pair = weights.cached("full")
    beside = None if pair is None else weights.interpreter(pair.landmarks)
    rows: list[tuple[np.ndarray, ...]] = []
    times: list[list[float]] = []
    region = None
    for frame in frames(Clip(data_root() / "video" / "walker" / f"{film.name[number]}.mp4")):
        if region is None:
            person = person_of(
                whole(frame.rgb), np.asarray(program(params, cut(frame.rgb, whole(frame.rgb))[None])[1][0])
            )
            region = whole(frame.rgb) if person is None else person.region
        rgb = cut(frame.rgb, region)
        started = time.process_time()
        log_maps, joints = jax.device_get(program(params, rgb[None]))
        spent = [time.process_time() - started]
        if beside is not None and len(rows) < _CHECKED:
            started = time.process_time()
            beside(rgb / 255)
            times.append([*spent, time.process_time() - started])
        person = person_of(region, joints[0])
        if person is None:
            raise ValueError(f"{film.name[number]}: nobody in frame {frame.number}; needed a person in each")
        scale = film.size[number] / (frame.rgb.shape[1], frame.rgb.shape[0])
        box = np.concatenate([(region.centre - region.side / 2) * scale, region.side * scale])
        rows.append((log_maps[0].transpose(2, 0, 1).astype(np.float16), box, person.xy_px * scale, person.confidence))
        region = person.region
    cache.mkdir(parents=True, exist_ok=True)
    names = ("log_maps", "box", "xy", "score")
    write_npz(
        path, dict(zip(names, map(np.stack, zip(*rows, strict=True)), strict=True)) | {"seconds": np.array(times)}
    )


def _milliseconds(cache: Path) -> dict[str, float]:
    """Medians of processor time a crop, and their ratio; empty where BlazePose was not here."""
    times = np.concatenate(
        [load_arrays(cache / f"cam{number}.npz")["seconds"].reshape(-1, 2)[1:] for number in range(4)]
    )
    if not len(times):
        return {}
    ours, theirs = 1000 * np.median(times, 0)
    return {"movenet": round(ours, 1), "blazepose full": round(theirs, 1), "ratio": round(ours / theirs, 2)}


def _view(number: int, options: Options) -> View:
    """A camera's frames that have a reference, the lens of the points undone."""
    film, z = bench.load_walker(), load_arrays(Path(options.cache) / f"cam{number}.npz")
    late = blazepose._LATE
    world = blazepose.triangulated(film, [c for c in range(4) if c != number])[:-late]
    rows = slice(late, late + len(world))
    log_maps, box, xy, score = (z[name][rows][:: options.stride] for name in ("log_maps", "box", "xy", "score"))
    reference = (world @ film.R_cam_world[number].T + film.t_cam[number])[:: options.stride]
    K, lens = jnp.asarray(film.intrinsics[number]), jnp.asarray(film.distortion[number])
    uv = np.asarray(project(K, jnp.asarray(reference, jnp.float32), lens))
    uv = uv + np.nanmedian(xy[:, _AT] - uv, (0, 1))
    cell = (uv - box[:, None, :2]) / box[:, None, 2:] * CELLS
    size = (int(film.size[number][0]), int(film.size[number][1]))
    return View(log_maps, box, xy, score, reference, cell, Camera(K, lens), size)


def _of_blazepose(view: View, number: int, options: Options) -> View:
    """The frames of a camera as BlazePose full reads them."""
    keypoints = blazepose.view_of(number, blazepose.Options(cache=options.cache)).keypoints
    xy, confidence = keypoints.xy[:: options.stride], keypoints.confidence[:: options.stride]
    return view._replace(xy=xy, score=confidence, skeleton=keypoints.skeleton)


def _straight(camera: Camera, xy: Any) -> jax.Array:
    """Pixels of the camera without its lens."""
    K = jnp.asarray(camera.intrinsics)
    return normalise(K, jnp.asarray(xy, jnp.float32), camera.distortion) * K[:2] + K[2:]


def _densities(views: list[View]) -> Any:
    """Rows of how likely the truth is; returns temperature and floor [4, 12, 2], each half's of the other."""
    cells = [np.floor(np.nan_to_num(view.cell, nan=-1)).astype(int) for view in views]
    inside = [((c >= 0) & (c < CELLS)).all(-1) & np.isfinite(v.cell).all(-1) for c, v in zip(cells, views, strict=True)]
    by_heat = np.stack([_nats(view, c, i) for view, c, i in zip(views, cells, inside, strict=True)])
    by_point = np.stack([_nats_of_points(view, c, i) for view, c, i in zip(views, cells, inside, strict=True)])
    halves, kinds = np.array([0, 1, 0, 1]), np.array(_KINDS)

    def chosen(nats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of nats [4, settings, F, 12]: those of the setting that is best on the other half, and its number [4, 12]."""
        best, index = np.zeros((4, *nats.shape[2:])), np.zeros((4, len(LIMBS)), int)
        for camera in range(4):
            for kind in dict.fromkeys(_KINDS):
                fit = np.nanmean(nats[halves != halves[camera]][..., kinds == kind], (0, 2, 3))
                index[camera, kinds == kind] = fit.argmin()
                best[camera][:, kinds == kind] = nats[camera, fit.argmin()][:, kinds == kind]
        return best, index

    plain = list(TEMPERATURES).index(1.0) * len(FLOORS) + FLOORS.index(0.001)
    yield Row(
        "maps as they are, floor 0.001",
        {"nats": float(np.nanmean(by_heat[:, plain])), "temperature": 1.0, "floor": 0.001},
    )
    heat, index = chosen(by_heat)
    fitted = np.stack([TEMPERATURES[index // len(FLOORS)], np.array(FLOORS)[index % len(FLOORS)]], -1)
    yield Row(
        "maps, fitted",
        {
            "nats": float(np.nanmean(heat)),
            "temperature": float(fitted[..., 0].mean()),
            "floor": float(fitted[..., 1].mean()),
        },
    )
    for kind in dict.fromkeys(_KINDS):
        mean = fitted[:, kinds == kind].mean((0, 1))
        yield Row(
            f"maps, fitted: {kind}",
            {
                "nats": float(np.nanmean(heat[..., kinds == kind])),
                "temperature": float(mean[0]),
                "floor": float(mean[1]),
            },
        )
    point, _ = chosen(by_point)
    yield Row("Gaussian about the point", {"nats": float(np.nanmean(point))})
    return fitted


def _nats(view: View, cell: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """-log p of the truth [temperatures x floors, F, 12] by the maps, NaN where it is not known."""
    maps = view.log_maps[:, _AT].astype(np.float64)
    rows, joints = np.indices(inside.shape)
    nats = []
    for temperature in TEMPERATURES:
        sharp = maps / temperature
        share = sharp - np.logaddexp.reduce(sharp, (-2, -1), keepdims=True)
        at = np.exp(share[rows, joints, cell[..., 1].clip(0, CELLS - 1), cell[..., 0].clip(0, CELLS - 1)])
        nats += [np.where(inside, -np.log((1 - floor) * at + max(floor, 1e-9) / CELLS**2), np.nan) for floor in FLOORS]
    return np.stack(nats)


def _nats_of_points(view: View, cell: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The same of Gaussians about the network's points, by spread and floor."""
    point = (view.xy[:, _AT] - view.box[:, None, :2]) / view.box[:, None, 2:] * CELLS
    away = np.square(cell + 0.5 - point).sum(-1)
    nats = []
    for spread in _SPREADS:
        at = np.exp(-away / (2 * spread**2)) / (2 * np.pi * spread**2)
        nats += [np.where(inside, -np.log((1 - floor) * at + max(floor, 1e-9) / CELLS**2), np.nan) for floor in FLOORS]
    return np.stack(nats)


def _lifted(
    model: released.Model, view: View, components: int, settings: np.ndarray | None, options: Options
) -> dict[str, float]:
    """Figures of a camera; components: of mixtures, or 0 for points."""
    sure = jnp.asarray(rescaled(np.where(view.score >= 0.1, view.score, 0)))
    xy, confidence = convert_joints(_straight(view.camera, view.xy), sure, view.skeleton, model.skeleton)
    how: dict[str, Any] = {}
    if settings is not None:
        how = {
            "keypoint_mixture": _mixture(model, view, components, settings, options.seed),
            "num_components": components,
        }
    camera = Camera(view.camera.intrinsics)
    drawn = lift(
        jax.random.key(options.seed), model, xy, confidence, camera=camera, num_hypotheses=options.hypotheses, **how
    )
    limbs = np.array([model.skeleton.joints.index(joint) for joint in LIMBS])
    samples, mean, radius = (
        np.asarray(drawn.samples)[:, :, limbs],
        np.asarray(drawn.mean)[:, limbs],
        np.asarray(drawn.radius_90)[:, limbs],
    )
    truth, known = view.reference, np.isfinite(view.reference).all(-1)
    rows = known.all(-1)
    figures = {"pa_mm": float(aligned_mm(mean, truth, known).mean()), "mpjpe_mm": rooted_mm(mean, truth, known)}
    figures["best_mm"] = float(np.stack([aligned_mm(sample, truth, known) for sample in samples]).min(0).mean())
    scores = energy_score(jnp.asarray(from_hips(samples)[:, rows]), jnp.asarray(from_hips(truth)[rows], jnp.float32))
    return figures | calibration(samples, mean, radius, truth, known) | {"energy_mm": 1000 * float(np.mean(scores))}


def _mixture(model: released.Model, view: View, components: int, settings: np.ndarray, seed: int) -> Mixture:
    """Mixtures in pixels without the lens; joints of the face take the settings of the shoulders."""
    of_all = np.tile(settings[0], (len(COCO_17.joints), 1))
    of_all[_AT] = settings
    temperature, floor = of_all[None, :, None, None, 0], of_all[None, :, None, None, 1]
    sharp = view.log_maps.astype(np.float64) / temperature
    share = np.exp(sharp - np.logaddexp.reduce(sharp, (-2, -1), keepdims=True))
    maps = ((1 - floor) * share + floor / CELLS**2).astype(np.float32)
    num = len(maps)
    data = Heatmaps(maps, COCO_17, tuple(range(17)), view.box.astype(np.float32), view.size, np.arange(num), None, None)
    found = mixture_px(jax.random.key(seed), data, model.skeleton, components)
    return found._replace(mean=_straight(view.camera, found.mean))
