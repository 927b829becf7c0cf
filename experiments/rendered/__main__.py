"""Rendered people, and what BlazePose reads of them: `python -m experiments.rendered WHAT [--flags]`.

    produce    make shards of rendered clips and readings, as long as --seconds; those that are there are kept
    compare    the law of the errors beside that on real videos, as a table
    look       a picture of some frames with their truth (green: visible, yellow: hidden by the person, red: covered)

WHAT --help lists the flags. Needs the packages of jaxpose[video] and pillow, and JAXPOSE_DATA.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np

from experiments.options import option, run
from experiments.rendered import compare, produce, scenes, shards


@dataclasses.dataclass(frozen=True)
class Options:
    shards: str = option("runs/rendered", "Folder of the shards.")
    split: str = option(
        "train", "People, poses and backgrounds for training, or those left out.", legal=("train", "val")
    )


@dataclasses.dataclass(frozen=True)
class Produce(Options):
    first: int = option(0, "The first shard.", low=0)
    last: int = option(239, "The last one; each has about 420 frames.", low=0)
    step: int = option(1, "Every n-th shard, so that several processes share them.", low=1)
    seconds: float = option(480.0, "No shard is begun after this time.", low=1)


@dataclasses.dataclass(frozen=True)
class Compare(Options):
    most: int | None = option(None, "Only so many shards.", low=1)
    cache: str = option("runs/evaluate/blazepose", "Folder in which detections of the videos are kept.")


@dataclasses.dataclass(frozen=True)
class Look(Options):
    out: str = option("rendered.png", "The picture.")
    seed: int = option(0, "Of the frames.")
    rows: int = option(5, "Rows of six frames.", low=1)


def make(options: Produce) -> None:
    """Make shards."""
    args = (options.first, options.last + 1, options.step, options.seconds)
    for line in produce.make_shards(Path(options.shards), options.split, *args):
        print(line, flush=True)


def tabulate(options: Compare) -> None:
    """Print the table."""
    for line in compare.table(Path(options.shards), options.split, Path(options.cache), options.most):
        print(line, flush=True)


def look(options: Look) -> None:
    """Write the picture: truth, and lines from it to what BlazePose full reads."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(options.seed)
    cast = [scenes.people.draw_person(rng) for _ in range(12)]
    reader, tiles = produce.Reader(), []
    for _ in range(6 * options.rows):
        clip = scenes.draw_clip(rng, options.split, 1, 1, cast)
        data = clip.truth._asdict() | reader.read(clip, rng)
        height, width = clip.images[0].shape[:2]
        scale = 300 / max(height, width)
        tile = Image.new("RGB", (300, 300))
        tile.paste(Image.fromarray(clip.images[0]).resize((round(width * scale), round(height * scale))))
        draw = ImageDraw.Draw(tile)
        read = data["full.xy"][0][shards.LIMBS]
        pairs = zip(
            scale * shards.truth_px(data)[0][shards.SAME], scale * read, data["hidden"][0][shards.SAME], strict=True
        )
        for (x, y), end, hidden in pairs:
            draw.line([(x, y), tuple(end)], fill="white")
            draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=("lime", "yellow", "red", "blue")[hidden])
        tiles.append(np.asarray(tile))
    rows = [np.concatenate(tiles[i : i + 6], 1) for i in range(0, len(tiles), 6)]
    Image.fromarray(np.concatenate(rows)).save(options.out)


COMMANDS = {"produce": (make, Produce), "compare": (tabulate, Compare), "look": (look, Look)}

if __name__ == "__main__":
    if sys.argv[1:2] in ([], ["--help"], ["-h"]):
        print((__doc__ or "").strip())
    elif sys.argv[1] in COMMANDS:
        what, kind = COMMANDS[sys.argv[1]]
        run(f"rendered {sys.argv[1]}", what, kind, __doc__ or "", sys.argv[2:])  # type: ignore[arg-type]  # two kinds of options
    else:
        print(f"rendered: got {sys.argv[1]!r}, must be one of {', '.join(COMMANDS)}", file=sys.stderr)
        sys.exit(2)
