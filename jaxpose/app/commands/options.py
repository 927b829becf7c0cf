"""The options of every command: a frozen dataclass each, of which `parser.py` makes the parser.

A field's help is its `text`, or the docstring below it; a class's docstring is the command's. Options that several
commands share are dataclasses too (`values.py`); a command holds them as fields, and functions take the group
that they need. These modules load neither JAX nor numpy, so that help is quick.

A new command: its dataclass and a line of COMMANDS here, and a module in this folder with the function.
"""

from dataclasses import KW_ONLY, dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from jaxpose.app.commands import file_options
from jaxpose.app.commands import values as v
from jaxpose.app.commands.values import metavar, text, whole, within

Aggregate = Literal["reprojection", "likelihood", "mean", "median", "geometric_median", "medoid", "mode", "pose_mode"]
Points = Annotated[
    str | None,
    metavar("SET", "--points"),
    Parameter(
        help="joint set of the input: smpl22, smpl24, coco17, openpose25, h36m17, ... (default: by its names or number)"
    ),
]
Prior = Annotated[
    Literal["dposer", "l2", "none"], text("what makes poses likely: dposer, the diffusion model (default), l2 or none")
]
FitMethod = Annotated[
    Literal["second_order", "adam"] | None,
    text("steps of the fit under the prior dposer: second_order (default of 3D points), or adam (of keypoints)"),
]
Shape = Annotated[bool, text("fit the body's shape too, for people of other sizes")]
Of2D = Parameter(group="2D keypoints")
OfVideos = Parameter(group="videos")
OfRotations = Parameter(group="models of joint rotations")


@dataclass(frozen=True)
class Lift:
    """a video, or 2D keypoints, in; many 3D poses in metres out.

    Reads videos, folders of images and cameras (by number), in which people are found first; COCO, OpenPose,
    MMPose/RTMPose and AlphaPose JSON (a file or a folder), .npz, .npy and .csv of keypoints, .npz and .npy of heatmaps.
    Writes samples (.npz), a summary (.json), a contact sheet (.png) and an interactive scene
    (.html).
    """

    input: Annotated[Path, text("video, folder of images, camera's number; or file of 2D keypoints or heatmaps")]
    _: KW_ONLY
    video: Annotated[v.VideoFile, OfVideos] = v.VideoFile()
    skeleton: v.Joints = None
    keypoints: v.KeypointFile = v.KeypointFile()
    fps: v.Fps = None
    height: v.Height = None
    world: v.WorldAxes = v.WorldAxes()
    num_hypotheses: Annotated[v.Hypotheses, text("3D poses per observation (200)")] = 200
    components: Annotated[v.Components | None, metavar("M")] = None
    """DiffPose: Gaussians a joint that its samples start from (1, of heatmaps 5)"""
    depth: Literal["encoder", "ensemble", "histogram"] | None = None
    """DiffPose: where the start's x, y, z come from, its encoder (default), the encoder on many draws of the keypoints,
    or statistics of the training poses"""
    cutoff: v.Cutoff = None
    smooth: bool = False
    """deprecated, without an effect: see --cutoff"""
    aggregate: Aggregate = "reprojection"
    """the one pose that pictures show of many hypotheses, written as `pose` and `pose_root`: the mean weighted by
    agreement with the keypoints (default) or by likelihood (slow), or an aggregate without weights"""
    calibrated: v.Calibrated = None
    output: v.Output
    sampling: v.Sampling = v.Sampling()


@dataclass(frozen=True)
class Live:
    """frames as they come in; their 3D poses out at once, as JSON lines on stdout.

    Reads lines of JSON, a frame each, in the formats that `jaxpose lift` reads ({"frame": 7, "people": [...]} of
    OpenPose, ...), a folder that gets such files, or a camera or video in which people are found. The first line says
    what holds for all frames, the latency too; every other line is a frame: mean, 90 % radius and root of each person.
    """

    input: Annotated[
        Path,
        Parameter(allow_leading_hyphen=True),
        text("- (stdin), .jsonl file or folder of JSON that grow, video, or camera's number"),
    ]
    _: KW_ONLY
    model: str = "diffpose17_video"
    """a model that lifts, or a .safetensors file (diffpose17_video)"""
    dtype: v.DType = "float32"
    precision: v.Precision = "default"
    latency: Annotated[int | None, metavar("F"), whole(0, 1000, "a number of frames")] = None
    """frames that one waits for; of models of motions (4)"""
    num_hypotheses: Annotated[v.Hypotheses, text("3D poses of a person (20)")] = 20
    samples: Annotated[bool, text("write all of them, not the mean alone")] = False
    seed: v.Seed = 0
    idle: Annotated[float, metavar("S"), within(0, 1e6, "seconds", above=True)] = 10.0
    """seconds without a frame after which a folder or file has ended (10)"""
    video: Annotated[v.VideoFile, OfVideos] = v.VideoFile()
    skeleton: v.Joints = None
    keypoints: v.KeypointFile = v.KeypointFile()
    fps: Annotated[v.Rate | None, text("frames per second of the input (30)")] = None
    height: v.Height = None
    gravity: Annotated[v.Direction | None, metavar("X,Y,Z")] = None
    """the way things fall, in camera axes (0,1,0 of a level camera), for models that can be told it"""


@dataclass(frozen=True)
class OfCameras:
    """The files of several calibrated cameras, and the way to read them."""

    input: Annotated[
        tuple[Path, ...], metavar("FILE"), text("keypoints of calibrated cameras; or keypoints or a video of one each")
    ]
    _: KW_ONLY
    video: Annotated[v.VideoFile, OfVideos] = v.VideoFile()
    skeleton: Points = None
    cameras: Annotated[v.Names | None, metavar("0,1")] = None
    """which cameras of a file of several; by number or name (all)"""
    up: Annotated[v.Axis | None, text("the world's vertical of several cameras: z (default), y or -y")] = None
    fps: v.Fps = None


@dataclass(frozen=True, kw_only=True)
class Fuse(OfCameras):
    """2D keypoints of several calibrated cameras in, many 3D poses in their world out.

    Reads .npz of one person in calibrated cameras (keypoints [F, C, K, 3], K, R, t, dist), one file of all cameras or
    a file for each; or, with --calibration, the videos or keypoints that `jaxpose lift` reads, a file for each camera.
    Writes samples (.npz), a summary (.json), a contact sheet (.png) and an interactive scene (.html).
    """

    file: v.CalibrationFile = v.CalibrationFile()
    min_confidence: v.Share = 0.1
    noise_px: v.NoisePx | None = None
    """of a sure keypoint's coordinates; unsure ones have more (0.8 in 100 of the person's size in each image; more
    where cameras disagree by more)"""
    offset: Annotated[float | None, metavar("M"), within(0, 0.2, "metres")] = None
    """by which keypoints of all cameras miss a joint alike, on each axis (0.013 to 0.021 by joint); 0 for markers"""
    num_hypotheses: Annotated[v.Hypotheses, text("3D poses per observation (100)")] = 100
    method: Annotated[Literal["pseudo_inverse"], text("method of sampling the posterior")] = "pseudo_inverse"
    robust: bool | None = None
    """expect keypoints that are sure and far off, such as swapped sides (of videos: yes; of keypoints: no)"""
    steps: Annotated[v.Steps, text("solver steps (25)")] = None
    output: v.Output


@dataclass(frozen=True)
class Complete:
    """3D joints or 2D keypoints, some missing, in; many whole 3D poses out.

    Reads 3D joints (.npz, .npy, .csv, .json; NaN, null or confidence 0 where missing) or the 2D keypoints that `jaxpose
    lift` reads, and writes whole poses as it does. With a prior over joint rotations (prior21) the input is of
    rotations: AMASS .npz, .bvh, .amc, or arrays [F, 63, 66, 69, 72, 156 or 165], NaN where missing.
    """

    input: Annotated[Path, text("file of 3D joints or of rotations, or file or folder of 2D keypoints")]
    _: KW_ONLY
    hide: Annotated[str | None, metavar("WHAT")] = None
    """hide more: joints (left_knee), parts (left_leg, right_leg, left_arm, right_arm, trunk) and random:K, K of knees,
    ankles, elbows and wrists drawn for each pose; separated by commas. Of rotations: joints, parts, legs, arms, hands,
    left_body, right_body"""
    noise: Annotated[float | None, metavar("M"), within(0, 0.5, "metres")] = None
    """of the 3D joints, metres per coordinate (0: exact)"""
    skeleton: v.Joints = None
    axes: v.Axes = v.Axes()
    fps: v.Fps = None
    num_hypotheses: Annotated[v.Hypotheses | None, text("3D poses per observation (200; of rotations 10)")] = None
    output: v.Output
    sampling: v.Sampling = v.Sampling()
    keypoints: Annotated[v.KeypointFile, Of2D] = v.KeypointFile()
    height: Annotated[v.Height, Of2D] = None
    method: Annotated[str | None, metavar("NAME"), OfRotations] = None
    """few_steps (of a few-step model, its default), dposer (default of others), replace, dps or mcg"""


@dataclass(frozen=True)
class Denoise:
    """noisy 3D joints in, clean poses out.

    Reads 3D joints (.npz, .npy, .csv, .json), none of them missing, and writes samples of the clean poses (.npz), a
    summary (.json), a contact sheet (.png) and an interactive scene (.html). With a prior over joint rotations
    (prior21) the poses are the frames of a motion, joints may be missing, a file of rotations will do, and the result
    is one moving body for each person, y up.
    """

    input: Annotated[Path, text("file of 3D joints, or of joint rotations")]
    _: KW_ONLY
    noise: Annotated[float | None, metavar("METRES"), within(0, 0.5, "metres", above=True)] = None
    """per coordinate; else estimated for each pose, and said"""
    skeleton: Points = None
    axes: v.Axes = v.Axes()
    fps: v.Fps = None
    num_hypotheses: Annotated[v.Hypotheses | None, text("3D poses per observation (50)")] = None
    output: v.Output
    sampling: v.Sampling = v.Sampling()
    shape: Annotated[Shape, OfRotations] = False
    method: Annotated[FitMethod, OfRotations] = None


@dataclass(frozen=True)
class Generate:
    """unconditional samples: 3D poses without any input.

    Draws poses of the kind the model was trained on and writes them (generated.npz, `samples` [N, J, 3] metres relative
    to the root, as a level camera sees them), a summary and pictures. With a prior over joint rotations (prior21):
    `body_pose` [N, 21, 3] radians, and the bodies they are, y up.
    """

    _: KW_ONLY
    num: Annotated[v.NumPoses, text("how many poses")]
    temperature: Annotated[float, metavar("T"), within(0, 2, "a number")] = 1.0
    """1 samples the model's distribution of poses (default); below 1, more probable and less varied poses"""
    output: v.Output
    sampling: v.Sampling = v.Sampling()


@dataclass(frozen=True)
class Score:
    """3D poses in, log density and typicality of each out.

    Reads 3D joints (.npz, .npy, .csv, .json), none of them missing, or joint rotations (AMASS .npz, .bvh, .amc,
    arrays), and writes the exact log density of each pose under the model, its typicality (percentile among training
    poses), and whether it lies out of distribution (.npz, .json).
    """

    input: Annotated[Path, text("file of 3D joints, or of joint rotations")]
    _: KW_ONLY
    out: v.Out
    name: v.Name = None
    model: str | None = None
    """a bundled model's name or a .safetensors file (pose17; of rotations prior21)"""
    dtype: v.DType = "float32"
    precision: v.Precision = "default"
    keypoints: Annotated[Path | None, metavar("FILE")] = None
    """2D keypoints of the same frames and people: the log density given them is written too"""
    least: Annotated[float | None, metavar("P"), within(0, 100, "a percentile")] = None
    """typicality below which a pose is called out of distribution (1)"""
    steps: Annotated[v.Steps, text("intervals of the noise level")] = None
    views: Annotated[v.Count | None, metavar("V")] = None
    """sides from which poses without a camera are seen; the mean density counts (4; of camera axes 1)"""
    fps: Annotated[v.Rate | None, text("frames per second of rotations that do not say")] = None
    skeleton: v.Joints = None
    axes: v.Axes = v.Axes()
    camera: Annotated[v.KeypointFile, Of2D] = v.KeypointFile()


@dataclass(frozen=True)
class Ik:
    """3D markers or end effectors in, bodies out (inverse kinematics).

    Reads 3D points (.npz, .npy, .csv, .json; NaN where missing) and writes bodies whose points agree with them and
    whose other joints are likely under the prior, each frame for itself. World axes, y up.
    """

    input: Annotated[Path, text("file of 3D points")]
    _: KW_ONLY
    skeleton: Points = None
    only: Annotated[v.Names | None, metavar("NAMES")] = None
    """points to use, by commas: left_wrist,right_wrist,nose; or all"""
    noise: Annotated[float, metavar("M"), within(0, 0.5, "metres")] = 0.01
    """of the points, metres per coordinate (0.01)"""
    axes: v.Axes = v.Axes()
    prior: Prior = "dposer"
    method: FitMethod = None
    shape: Shape = False
    num_hypotheses: Annotated[v.Hypotheses, text("3D poses per observation (1)")] = 1
    output: v.FitOutput


@dataclass(frozen=True, kw_only=True)
class Fit(OfCameras):
    """2D keypoints in, bodies out (pose, shape and place by optimisation).

    Reads the videos and keypoints that `jaxpose lift` reads, with --calibration a file for each camera, or an .npz of
    several calibrated cameras (keypoints [F, C, K, 3], K, R, t, dist), and fits body models: each detection for itself,
    or with --as-clip each person as one moving body of one shape.
    """

    input: Annotated[
        tuple[Path, ...], metavar("FILE"), text("video, or file or folder of 2D keypoints; several: cameras")
    ] = field(kw_only=False)
    keypoints: v.KeypointFile = v.KeypointFile()
    noise_px: Annotated[v.NoisePx | None, text("of a keypoint's coordinates (1 in 100 of the person's size)")] = None
    as_clip: Annotated[bool, text("the frames of a person are one motion")] = False
    smooth: Annotated[float | None, metavar("W"), within(0, 1e9, "a weight")] = None
    """of clips: weight of smoothness at 30 frames/s, 1/m^2 (600)"""
    start: Annotated[Path | None, metavar("NPZ")] = None
    """go on from body_pose, global_orient, transl, betas, row by row, in the axes of the result"""
    prior: Prior = "dposer"
    method: FitMethod = None
    output: v.FitOutput


@dataclass(frozen=True)
class Interpolate:
    """two body poses in, a motion between them through the prior's latent space out.

    Reads a frame of each of two files of joint rotations (AMASS .npz, .bvh, .amc, arrays) and writes the motion between
    them. The root's rotation goes the shorter way, its position along a line.
    """

    first: Annotated[Path, metavar("A"), text("file of the first pose")]
    second: Annotated[Path, metavar("B"), text("file of the last pose; may be the same")]
    _: KW_ONLY
    frame_a: Annotated[v.Frame, text("which frame of A (0); -1 is the last")] = 0
    frame_b: Annotated[v.Frame, text("which frame of B (0)")] = 0
    num: Annotated[int, metavar("N"), whole(2, 100_000, "a number of poses"), text("both ends included (60)")] = 60
    fps: Annotated[float, metavar("N"), within(0, 1000, "frames per second", above=True)] = 30.0
    """frames per second of the result (30)"""
    output: v.FitOutput


@dataclass(frozen=True)
class View:
    """a result in the browser, served live, where joints can be dragged.

    Reads the .npz that lift, fuse, complete or denoise wrote. Dragged joints are exact, the rest of their limb is open,
    and the model draws poses that fit them and the rest of the result.
    """

    input: Annotated[Path, metavar("RESULT"), text(".npz of a result")]
    _: KW_ONLY
    model: Annotated[str, text("a bundled model's name or a .safetensors file (pose17_fast)")] = "pose17_fast"
    dtype: v.DType = "float32"
    precision: v.Precision = "default"
    num_hypotheses: Annotated[v.Hypotheses, text("3D poses of an answer (40)")] = 40
    host: Annotated[str, text("where to listen (127.0.0.1, this machine alone)")] = "127.0.0.1"
    port: Annotated[int, metavar("N"), whole(1, 65535, "a port"), text("(8080)")] = 8080
    seed: v.Seed = 0


# Command -> its options, and "module:function" below jaxpose that is imported when it runs: of this folder with the
# options, of another with their fields as its arguments. Order: of the help.
COMMANDS: dict[str, tuple[type, str]] = {
    "lift": (Lift, "app.commands.lift:lift"),
    "live": (Live, "app.commands.live:live"),
    "fuse": (Fuse, "app.commands.fuse:fuse"),
    "complete": (Complete, "app.commands.complete:complete"),
    "denoise": (Denoise, "app.commands.denoise:denoise"),
    "generate": (Generate, "app.commands.generate:generate"),
    "score": (Score, "app.commands.score:score"),
    "ik": (Ik, "app.commands.fit:ik"),
    "fit": (Fit, "app.commands.fit:fit"),
    "interpolate": (Interpolate, "app.commands.generate:interpolate"),
    "view": (View, "app.commands.view:view"),
    **file_options.COMMANDS,
}
GROUPS = file_options.GROUPS
DATA = ("live",)  # whose lines are data for other programs
