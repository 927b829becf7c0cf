"""Groups of options that several commands share."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from jaxpose.app.commands.values import (
    Axis,
    Count,
    Direction,
    DType,
    ModelName,
    Name,
    Out,
    Pinhole,
    Seed,
    Share,
    Size,
    Steps,
    metavar,
    text,
    within,
)

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
    calibration_unit: Annotated[str | None, metavar("UNIT"), text("of its lengths: m, cm or mm (else told by it)")] = (
        None
    )


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
    """The axes of results, and facts about a camera that does not move."""

    axes: Annotated[Literal["camera", "world"], text("axes of the results (camera); world: y up, floor at 0")] = (
        "camera"
    )
    gravity: Annotated[Direction | None, metavar("X,Y,Z")] = None
    """the way things fall, in camera axes (0,1,0 of a level camera), for the model and for world"""
    floor: Annotated[float | None, metavar("M"), within(0, 100, "metres", above=True)] = None
    """for world: how high the camera is over the floor (else told by the feet)"""
    up: Annotated[Axis | None, text("for world: the calibration's axis that points up: z (default), y or -y")] = None


@_beside
@dataclass(frozen=True)
class VideoFile:
    """The way to find people in a video."""

    detector: Annotated[str, metavar("NAME")] = "blazepose-full"
    """blazepose-lite, blazepose-full (default), blazepose-heavy, or rtmpose with --weights"""
    weights: Annotated[Path | None, metavar("FILE"), text("the network of rtmpose, .onnx")] = None
    people: Annotated[Count | None, metavar("N"), text("the most people in a frame; 1 is fastest (all)")] = None
    every: Annotated[Count, metavar("K"), text("use every K-th frame (1)")] = 1
    begin: Annotated[float, metavar("S"), within(0, 1e6, "seconds"), text("second to begin at (0)")] = 0.0
    end: Annotated[float | None, metavar("S"), within(0, 1e6, "seconds", above=True)] = None
    """second to end before (that of the last frame); a camera runs until then or until Ctrl-C"""


@_beside
@dataclass(frozen=True)
class Axes:
    """The way to read a file of 3D joints."""

    up: Annotated[Axis | None, text("the file's axis that points up: --up=-y (camera axes, default), y or z")] = None
    unit: Annotated[str | None, text("of the file's coordinates: m (default), cm or mm")] = None


def refuse(group: Any, why: str, *names: str) -> None:
    """ValueError naming the first option of a group (of `names` in it, or of all) that was given; why: its purpose."""
    for entry in fields(group):
        if (not names or entry.name in names) and getattr(group, entry.name) != entry.default:
            raise ValueError(f"--{entry.name.removeprefix('num_').replace('_', '-')}: {why}")
