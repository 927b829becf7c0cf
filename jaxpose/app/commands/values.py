"""The parts of options: a type for each meaning of a value, and groups of options that several commands share.

A type checks the value as the flag is read, so that a command begins to work only with numbers that its arrays can
hold, and with a place where its result can be. It raises ValueError; the parser names the flag.
"""

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, Token

_MOST_PX = 1_000_000  # of an image's side; float32 knows hundredths of a pixel there
_LONGEST = 255  # bytes of a file's name, of all usual file systems


def metavar(text: str, *aliases: str) -> Parameter:
    """The name of a flag's value in the help, and other names of the flag."""
    return Parameter(metavar=text, alias=aliases or None, allow_leading_hyphen=text == "AXIS")


def text(help: str) -> Parameter:
    """A flag's help, where it fits into the flag's line; else it is the docstring below."""
    return Parameter(help=help)


def within(low: float, high: float, what: str, *, above: bool = False, convert: Any = None) -> Parameter:
    """A number from `low` (or `above` it) to `high`; what: its unit in words, for the error. convert: from its text."""

    def check(_: Any, value: float | None) -> None:
        if value is not None and (not low <= value <= high or (above and value == low)):
            raise ValueError(
                f"needed {what} {'above' if above else 'from'} {_said(low)} to {_said(high)}, got {_said(value)}"
            )

    return Parameter(validator=check, converter=convert)


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    """A whole number; the parser's own would round 1.5."""
    text = tokens[0].value
    try:
        return int(text, 16 if text.lower().lstrip("+-").startswith("0x") else 10)
    except ValueError:
        raise ValueError(f"needed a whole number, got {text[:40]!r}") from None


whole = partial(within, convert=_whole)


def _said(value: float) -> str:
    """A number in a few characters; an int may have any number of digits."""
    if not isinstance(value, int):
        return f"{value:g}"
    return f"{value:,}" if abs(value) < 10**15 else f"a number of {value.bit_length()} bits"


def _numbers(count: int, meaning: str, low: float, high: float, *, whole: bool = False) -> Parameter:
    def convert(_: Any, tokens: Sequence[Token]) -> tuple[Any, ...]:
        text = tokens[0].value
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = (math.nan,)
        if not all(low <= x <= high and (not whole or x == int(x)) for x in values):
            raise ValueError(f"needed {meaning}, got {text!r}")
        if len(values) != count:
            raise ValueError(f"needed {count} numbers, {meaning}, got {text!r}")
        return tuple(map(int, values)) if whole else values

    return Parameter(converter=convert, n_tokens=1, accepts_keys=False)


def _has_length(_: Any, value: tuple[float, ...] | None) -> None:
    if value is not None and not 1e-3 <= math.hypot(*value) <= 1e3:
        raise ValueError(f"needed a length from 0.001 to 1000, not all 0, got {','.join(f'{x:g}' for x in value)}")


def _rising(_: Any, value: tuple[float, float] | None) -> None:
    if value is not None and not -math.inf < value[0] < value[1] < math.inf:
        raise ValueError(f"needed two times in seconds, the first before the second, got {value[0]:g} and {value[1]:g}")


def _names(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    return tuple(part.strip() for part in tokens[0].value.split(","))


def _file(_: Any, path: Path) -> None:
    """ValueError where a file cannot be written; nothing is left there."""
    with _as_value(path):
        if not path.parent.is_dir() or path.is_dir():
            raise ValueError(f"needed a file in a folder that exists, got {path}")
        if path.exists() and not path.is_file():
            raise ValueError(f"needed a file, and {path} is a device or the like")
        _try(path.parent)


def _folder(_: Any, path: Path) -> None:
    """ValueError where no folder with files in it can be made; nothing is left there."""
    place = path
    with _as_value(path):
        while not (place.exists() or place.is_symlink()) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise ValueError(f"{place} is {'a file' if place.exists() else 'a link to nothing'}; needed a folder")
        _try(place)


@contextmanager
def _as_value(path: Path) -> Iterator[None]:
    """Errors of the system as ValueErrors; names are not too long for it, nor those of folders that are not there."""
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > _LONGEST:
        raise ValueError(f"a name of {longest} bytes; needed at most {_LONGEST}")
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None


def _try(folder: Path) -> None:
    """Write a little in a folder: only that shows missing rights, a read-only system and a full disk."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise ValueError(f"nothing can be written to {folder}: {error.strerror}") from None


Count = Annotated[int, whole(1, 1_000_000, "a whole number")]
NumPoses = Annotated[int, metavar("N"), whole(1, 10_000_000, "a number of poses")]
Hypotheses = Annotated[Count, metavar("H"), Parameter(name="--hypotheses")]
Components = Annotated[int, whole(1, 1000, "a number of Gaussians")]
Steps = Annotated[
    int | None, metavar("T"), whole(1, 10_000, "a number of steps"), text("solver steps (what validation chose)")
]
# Of jax.random.key without double precision: larger ones would be taken modulo 2^32.
Seed = Annotated[int, whole(0, 2**32 - 1, "a whole number"), text("random seed (0)")]
Frame = Annotated[int, metavar("F"), whole(-(10**9), 10**9, "the number of a frame")]
Names = Annotated[tuple[str, ...], Parameter(converter=_names, n_tokens=1, accepts_keys=False)]
Pinhole = Annotated[
    tuple[float, float, float, float], _numbers(4, "fx,fy,cx,cy in pixels, at most 1e7 each", -1e7, 1e7)
]
Direction = Annotated[
    tuple[float, float, float],
    _numbers(3, "x,y,z", -math.inf, math.inf),
    Parameter(validator=_has_length, allow_leading_hyphen=True),
]
Size = Annotated[
    tuple[int, int],
    _numbers(2, f"WIDTH,HEIGHT in whole pixels, 1 to {_MOST_PX:,}", 1, _MOST_PX, whole=True),
    metavar("W,H"),
]
Rate = Annotated[float, metavar("N"), within(1, 1000, "frames per second")]
Fps = Annotated[Rate | None, text("frames per second of the input, where it does not say")]
Cutoff = Annotated[
    float | None, metavar("HZ"), within(0, 500, "Hz"), text("low-pass filter of clips (6 with models of single frames)")
]
Share = Annotated[float, metavar("C"), within(0, 1, "a confidence"), text("joints below are hidden (0.1)")]
NoisePx = Annotated[float, metavar("PX"), within(0.1, 1000, "pixels")]
Unit = Annotated[float | None, metavar("M"), within(1e-6, 1e3, "metres")]
Height = Annotated[
    float | None, metavar("M"), within(0.3, 3, "metres"), text("body height in metres; else the model's knowledge")
]
Out = Annotated[Path, metavar("DIR"), text("folder for the results; made where absent"), Parameter(validator=_folder)]
NewFolder = Annotated[Path, metavar("FOLDER"), text("the folder to make"), Parameter(validator=_folder)]
NewFile = Annotated[Path, text("the file to write"), Parameter(validator=_file)]
Name = Annotated[str | None, text("name of the files of the result (that of the input)")]
DType = Annotated[
    Literal["float32", "bfloat16"],
    text("of the network's products; bfloat16 is faster where there are units for it (docs/benchmarks.md)"),
]
Precision = Annotated[
    Literal["default", "high", "highest"], text("of the network's float32 products on a GPU or TPU; highest: float32")
]
ModelName = Annotated[str | None, text("a bundled model's name or a .safetensors file")]
Joints = Annotated[str | None, text("joint set of the input: h36m17, coco17, body25, halpe26, ...")]
Axis = Annotated[str, metavar("AXIS")]
Times = Annotated[tuple[float, float], metavar("BEGIN END"), Parameter(validator=_rising)]
Calibrated = Annotated[
    Path | None, metavar("FILE"), text("calibration of `jaxpose calibrate`: factors on the spread of joints")
]

_beside = Parameter(name="*")  # a group's flags stand beside those of the command


@_beside
@dataclass(frozen=True)
class Exports:
    """Files for other programs."""

    bvh: Annotated[bool, text("write .bvh too: an animated skeleton")] = False
    glb: Annotated[bool, text("write .glb too: a skinned body that moves")] = False
    trc: Annotated[bool, text("write .trc too: joints as markers, y up, mm")] = False
    c3d: Annotated[bool, text("write .c3d too: the same, z up, 90 % radii as residuals")] = False
    csv: Annotated[bool, text("write .csv too: a row for each joint, y up, m")] = False
    obj: Annotated[bool, text("of bodies: up to 20 meshes, evenly spaced, as .obj too")] = False
    amass: Annotated[bool, text("of bodies: write _amass.npz too, with AMASS's keys, z up, m")] = False
    takes: Annotated[Count | None, metavar("N"), text("in these files N hypotheses too, as takes")] = None
    body: Annotated[Path | None, metavar("FILE")] = None
    """body of fits and of --glb: SMPL, SMPL-H or SMPL-X, .npz or .pkl (default: ANNY's)"""


@_beside
@dataclass(frozen=True, kw_only=True)
class Output:
    """The folder of results, the model and its type, and the seed."""

    out: Out
    name: Name = None
    model: ModelName = None
    dtype: DType = "float32"
    precision: Precision = "default"
    seed: Seed = 0
    no_pictures: Annotated[bool, text("write numbers only (.npz and .json)")] = False
    exports: Annotated[Exports, Parameter(group="files for other programs")] = Exports()


@_beside
@dataclass(frozen=True, kw_only=True)
class FitOutput(Output):
    """The folder of bodies, the prior's model, and the seed."""

    model: str | None = None
    """a prior over joint rotations: a bundled one's name or a .safetensors file"""
    no_pictures: Annotated[bool, text("write no .png and no .html")] = False


@_beside
@dataclass(frozen=True)
class Sampling:
    """The way to draw poses from a model."""

    steps: Steps = None
    sampler: Annotated[str, metavar("NAME")] = "posterior"
    """posterior samples the posterior (default), probability_flow samples it without noise in the steps, mean_flow
    approaches its mean: one hypothesis is enough"""
    path: Annotated[bool, text("write NAME_path.html too: the denoising, step by step")] = False


@_beside
@dataclass(frozen=True, kw_only=True)
class CalibrationFile:
    """A file of calibrated cameras."""

    calibration: Annotated[Path | None, metavar("FILE")] = None
    """calibrated cameras: TOML of Pose2Sim or Anipose, Qualisys XML, OpenCV YAML or XML (a folder: all in it)"""
    calibration_unit: Annotated[str | None, metavar("UNIT")] = None
    """of its lengths: m, cm or mm (else told by it)"""


@_beside
@dataclass(frozen=True)
class KeypointFile(CalibrationFile):
    """The way to read a file of 2D keypoints, and the camera that saw them."""

    format: Annotated[str | None, text("file format or joint set, where it cannot be told from the file")] = None
    camera: Annotated[Pinhole | None, metavar("FX,FY,CX,CY", "--intrinsics")] = None
    """intrinsics in pixels, the same for all images"""
    camera_name: Annotated[str | None, metavar("NAME"), text("which camera of a file that holds several")] = None
    fov: Annotated[float | None, metavar("DEG"), within(5, 175, "degrees")] = None
    """field of view along the longer side, degrees"""
    image_size: Annotated[Size | None, text("pixels; needed for a field of view if the file has none")] = None
    track: Annotated[bool, text("link people over frames: ids that last through a clip")] = False
    min_confidence: Share = 0.1


@_beside
@dataclass(frozen=True, kw_only=True)
class WorldAxes:
    """The axes of results, and facts about the camera; of one that moves, in its first frame."""

    axes: Literal["camera", "world"] = "camera"
    """axes of the results (camera); world: y up, floor at 0"""
    gravity: Annotated[Direction | None, metavar("X,Y,Z")] = None
    """the way things fall, in camera axes (0,1,0 of a level camera), for the model and for world"""
    root: Literal["smooth", "raw"] = "smooth"
    """of a video: smoothed over time (smooth), or raw, frame by frame"""
    floor: Annotated[float | None, metavar("M"), within(0, 100, "metres", above=True)] = None
    """for world: how high the camera is over the floor (else told by what touches it)"""
    up: Annotated[Axis | None, metavar("AXIS")] = None
    """for world: the axis that points up, z, y or -y: of a calibration (z), or of --camera-path (told by the people)"""
    camera_path: Annotated[Path | None, metavar("FILE")] = None
    """rotation and place of a camera that moves: TUM's text of SLAM tools, COLMAP's images.txt, or .npz"""
    camera_scale: Annotated[float, metavar("M"), within(1e-6, 1e6, "metres", above=True)] = 1.0
    """metres of one unit of --camera-path (1); SLAM of one camera does not know it"""


@_beside
@dataclass(frozen=True)
class VideoFile:
    """The way to find people in a video, and its part; begin and end are of keypoints too."""

    detector: Annotated[str, metavar("NAME")] = "blazepose-full"
    """blazepose-lite, -full (default), -heavy or -full+lite (both together), movenet, or rtmpose with --weights"""
    weights: Annotated[Path | None, metavar("FILE"), text("the network of rtmpose, .onnx")] = None
    people: Annotated[Count | None, metavar("N"), text("the most people in a frame; 1 is fastest (all)")] = None
    every: Annotated[Count, metavar("K"), text("use every K-th frame (1)")] = 1
    begin: Annotated[float, metavar("S"), within(0, 1e6, "seconds")] = 0.0
    """second to begin at (0); of keypoints without a rate, the number of a frame"""
    end: Annotated[float | None, metavar("S"), within(0, 1e6, "seconds", above=True)] = None
    """second, or frame, to end before (that of the last frame); a camera runs until then or until Ctrl-C"""


@_beside
@dataclass(frozen=True)
class Axes:
    """The way to read a file of 3D joints."""

    up: Annotated[Axis | None, text("the file's axis that points up: --up=-y (camera axes, default), y or z")] = None
    unit: Annotated[str | None, text("of the file's coordinates: m (default), cm or mm")] = None


def refuse_for(options: Any, meaning: dict[str, tuple[str, ...]], suffixes: set[str]) -> None:
    """ValueError naming the first option given that means nothing to any file; meaning: suffixes of files by option."""
    for name, legal in meaning.items():
        if not suffixes & set(legal):
            refuse(options, f"means nothing to these files; it is for {', '.join(legal)}", name)


def refuse(group: Any, why: str, *names: str) -> None:
    """ValueError naming the first option of a group (of `names` in it, or of all) that was given; why: its purpose."""
    for entry in fields(group):
        if (not names or entry.name in names) and getattr(group, entry.name) != entry.default:
            raise ValueError(f"--{entry.name.removeprefix('num_').replace('_', '-')}: {why}")
