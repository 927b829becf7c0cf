"""Rendered clips read by BlazePose's networks, as shards.

All networks see the crop that full's reading follows over a clip, as with `jaxpose lift --detector
blazepose-full+lite` (app/detect/blazepose.py): the first crop is the finder's that is nearest to the person, or one
about the truth where the finder has none; the next one follows from the reading. A reading whose flag says that nobody
is there (presence < 1/2) is kept, and the finder is asked again.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments.rendered import people, scenes
from jaxpose.app.detect import weights
from jaxpose.app.detect.blazepose import Smooth, finder, refine, region_of, smooth
from jaxpose.app.detect.people import Find, Region, crop, to_image, turn, whole
from jaxpose.app.detect.weights import Network
from jaxpose.files import write_npz
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33, other_side

CAST, CLIPS, SINGLES = 48, 20, 180  # of a shard: people; clips of 8 to 16 frames; single frames
_HEAVY, _MIRRORED = 0.12, 0.25  # shares of clips and single frames
_SEED = {"train": 1, "val": 2}
_OTHER = other_side(MEDIAPIPE_33)
NETWORKS = ("lite", "full", "heavy", "mirrored")  # mirrored: full on the mirror image of its crop
FIELDS = {  # of a reading, by name: shape and type
    **{"xy": ((33, 2), np.float32), "visibility": ((33,), np.float16), "presence": ((), np.float16)},
    **{"world": ((33, 3), np.float16), "crop": ((4,), np.float32), "how": ((), np.uint8)},
    **{"peak": ((33,), np.float16), "second": ((33,), np.float16), "spread": ((33,), np.float16)},
}
FOUND, GIVEN, FOLLOWED = range(3)  # where a crop comes from: the finder, the truth, the frame before


class Reader:
    """The networks, loaded once."""

    def __init__(self) -> None:
        files = {size: weights.cached(size) for size in weights.SIZES}
        if not all(files.values()):
            weights.fetch()
        pairs = {size: weights.cached(size) for size in weights.SIZES}
        self.run = {size: weights.interpreter(pair.landmarks) for size, pair in pairs.items() if pair}
        full = pairs["full"]
        assert full is not None, "fetched above"
        self.find = finder(full.detector)

    def read(self, clip: scenes.Clip, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Readings `NETWORK.FIELD` [F, ...] of a clip; NaN where a network was not run."""
        sizes = ["lite", "full"] + ["heavy"] * bool(rng.random() < _HEAVY)
        mirrored = rng.random() < _MIRRORED
        num, of = len(clip.images), [(name, field) for name in NETWORKS for field in FIELDS.items()]
        found = {
            f"{name}.{field}": np.full((num, *shape), 0 if kind is np.uint8 else np.nan, kind)
            for name, (field, (shape, kind)) in of
        }
        (region, how), memory = first_region(self.find, clip, 0, rng), None
        for f, image in enumerate(clip.images):
            readings = {size: read_crop(self.run[size], image, region) for size in sizes}
            if mirrored:
                readings["mirrored"] = read_crop(self.run["full"], image, region, mirrored=True)
            for name, (reading, _) in readings.items():
                _keep(found, name, f, reading, region, how)
            reading, points = readings["full"]
            following = _next(points, memory, float(clip.truth.seconds[f]), reading["presence"])
            if following is not None:
                (region, memory), how = following, FOLLOWED
            elif f + 1 < num:
                (region, how), memory = first_region(self.find, clip, f + 1, rng), None
        return found


def _keep(
    found: dict[str, np.ndarray], name: str, f: int, reading: dict[str, np.ndarray], region: Region, how: int
) -> None:
    of_crop = {"crop": np.array([*region.centre, region.side, region.angle]), "how": np.array(how)}
    for field, value in (reading | of_crop).items():
        found[f"{name}.{field}"][f] = value


def _next(
    points: np.ndarray, memory: Smooth | None, seconds: float, presence: np.ndarray
) -> tuple[Region, Smooth] | None:
    """The next frame's crop after a reading's 35 points px, as app/detect/blazepose.py has it, or None."""
    size = 2 * float(np.hypot(*(points[34] - points[33])))
    if not (presence >= 0.5 and size > 8):
        return None
    memory = smooth(memory, points[33:35], seconds, size)
    return region_of(*memory.points), memory


def read_crop(
    run: Network, image: np.ndarray, region: Region, *, mirrored: bool = False
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A landmark network's reading of a crop, and its 35 points px (33 landmarks and the circle)."""
    seen = crop(image, region, 256, extend=True) / 255
    landmarks, flag, _, heatmaps, world = run(seen[:, ::-1] if mirrored else seen)
    landmarks = landmarks.reshape(-1, 5)[:35]
    share = refine(landmarks[:, :2] / 256, heatmaps[..., :35])
    world = world.reshape(-1, 3)[:33].astype(np.float64)
    visibility, maps = landmarks[:33, 3], heatmaps[..., :33]
    if mirrored:
        share[:33] = (share[:33] * [-1, 1] + [255 / 256, 0])[list(_OTHER)]
        world, visibility, maps = (world * [-1, 1, 1])[list(_OTHER)], visibility[list(_OTHER)], maps[..., list(_OTHER)]
    world[:, :2] = world[:, :2] @ turn(region.angle).T
    points = to_image(region, share)
    reading = {"xy": points[:33], "visibility": 1 / (1 + np.exp(-visibility.clip(-20, 20))), "presence": flag.item()}
    return reading | {"world": world} | _evidence(maps), points


def _evidence(heatmaps: np.ndarray) -> dict[str, np.ndarray]:
    """Of heatmaps [64, 64, 33] (logits): highest value, second peak (five cells away), spread in px of the crop."""
    p = 1 / (1 + np.exp(-heatmaps.reshape(-1, 33).clip(-20, 20)))
    best = p.argmax(0)
    y, x = np.divmod(np.arange(len(p)), 64)
    away = np.maximum(abs(y[:, None] - y[best]), abs(x[:, None] - x[best]))
    mass = p**2 / (p**2).sum(0)
    variance = sum((mass * c[:, None] ** 2).sum(0) - ((mass * c[:, None]).sum(0)) ** 2 for c in (x, y))
    second = np.where(away >= 5, p, 0).max(0)
    return {"peak": p.max(0), "second": second, "spread": 4 * np.sqrt(np.maximum(variance, 0))}


def first_region(find: Find, clip: scenes.Clip, f: int, rng: np.random.Generator) -> tuple[Region, int]:
    """The finder's crop of the person, or one about the truth with errors, and which of both."""
    truth, image = clip.truth, clip.images[f]
    K, x = truth.intrinsics[f], truth.joints[f]
    uv = x[:, :2] / x[:, 2:] * K[:2] + K[2:]
    up = uv[H36M_17.joints.index("thorax")] - uv[0]
    radius = 1.1 * np.linalg.norm(uv - uv[0], axis=-1).max()
    about = region_of(uv[0], uv[0] + radius * up / max(float(np.hypot(*up)), 1e-3))
    regions = find(image, [whole(image)])
    away = [np.linalg.norm(r.centre - about.centre) / about.side + abs(np.log(r.side / about.side)) for r in regions]
    if away and min(away) < 0.45:
        return regions[int(np.argmin(away))], FOUND
    centre = about.centre + 0.04 * about.side * rng.normal(size=2)
    return Region(centre, about.side * np.exp(0.1 * rng.normal()), about.angle + 0.1 * rng.normal()), GIVEN


def make_shard(reader: Reader, split: str, number: int, path: Path) -> str:
    """Render and read one shard; says how many frames and how long."""
    rng = np.random.default_rng([_SEED[split], number])
    began, spent = time.process_time(), 0.0
    cast = [people.draw_person(rng) for _ in range(CAST)]
    rows: list[dict[str, np.ndarray]] = []
    for c in range(CLIPS + SINGLES):
        num, stride = (int(rng.integers(8, 17)), int(rng.integers(1, 4))) if c < CLIPS else (1, 1)
        clip = scenes.draw_clip(rng, split, num, stride, cast)
        before = time.process_time()
        row = clip.truth._asdict() | {name: np.full(num, value) for name, value in (
            ("effects", clip.effects), ("subject", clip.subject), ("body", number * CAST + clip.body),
            ("clip", number * (CLIPS + SINGLES) + c),
        )}  # fmt: skip
        rows.append(row | reader.read(clip, rng))
        spent += time.process_time() - before
    write_npz(path, {name: np.concatenate([row[name] for row in rows]) for name in rows[0]})
    num = sum(len(row["clip"]) for row in rows)
    whole_time = time.process_time() - began
    return f"{path}: {num} frames, {1000 * (whole_time - spent) / num:.0f} + {1000 * spent / num:.0f} ms of CPU each"


def make_shards(out: Path, split: str, first: int, num: int, step: int, seconds: float) -> Iterator[str]:
    """Make the shards first, first + step, ... < num that are not there, as long as there is time."""
    ends, reader = time.monotonic() + seconds, Reader()
    folder = out / split
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(first, num, step):
        path = folder / f"{number:05d}.npz"
        if not path.is_file():
            if time.monotonic() > ends:
                return
            yield make_shard(reader, split, number, path)
