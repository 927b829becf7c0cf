"""The options of the commands that make files for others: export, convert and prepare."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Annotated, Literal

from jaxpose.commands.option_groups import Count, Names, Rate, Size, metavar

Poses = Annotated[Path, metavar("NPZ")]
Target = Annotated[Path, metavar("FOLDER")]
ModelFile = Annotated[Path, metavar("FILE.safetensors")]


@dataclass(frozen=True)
class Export:
    """a whole sampler in one file, run by JAX alone.

    Writes a task of a model, from observations to samples, as one file that runs with the packages jax and flatbuffers,
    without this one. What goes in and comes out stands in the file's header and is told. JAX promises to run it in
    releases up to 6 months newer and 3 weeks older than the one that writes it.
    """

    _: KW_ONLY
    task: str
    """lift, complete, denoise, generate or generate_rotations"""
    model: str | None = None
    """a bundled model's name or a .safetensors file"""
    hypotheses: Annotated[Count, metavar("H")] = 200
    """poses per observation; of generation, in all (200)"""
    batch: Annotated[Count | None, metavar("N")] = None
    """observations a call (any number); denoise and DiffPose models need one"""
    steps: Annotated[Count | None, metavar("T")] = None
    """solver steps (what validation chose)"""
    sampler: Annotated[str, metavar("NAME")] = "posterior"
    """as in `jaxpose lift`"""
    platforms: Annotated[Names | None, metavar("A,B")] = None
    """of cpu, cuda, rocm, tpu: where it shall run (where this runs)"""
    out: Annotated[Path, metavar("FILE")]
    """the file to write, such as lift.jaxexport"""


@dataclass(frozen=True)
class ConvertGfpose:
    """GFPose's checkpoint_*.pth"""

    file: Annotated[Path, metavar("FILE")]
    """the checkpoint, as PyTorch saved it"""
    _: KW_ONLY
    out: ModelFile
    """the model file to write"""
    weights: str = "ema"
    """ema, the averaged ones that GFPose evaluates (default), or raw"""


@dataclass(frozen=True)
class ConvertDiffpose:
    """DiffPose's *.pth, GraFormer's of 17 joints, MixSTE's *.bin"""

    files: Annotated[tuple[Path, ...], metavar("FILE")]
    """a denoiser, an encoder of frames or video, or both"""
    _: KW_ONLY
    out: ModelFile
    """the model file to write"""
    weights: str = "raw"
    """raw, which DiffPose evaluates (default), or ema, the averaged ones"""
    schedule: str | None = None
    """released evaluation to follow: cpn (default), gt, or video (default with MixSTE)"""


@dataclass(frozen=True)
class ConvertDposer:
    """DPoser's *.pth, and *.ckpt of its body, DPoser-X's too"""

    file: Annotated[Path, metavar("FILE")]
    """the checkpoint, as PyTorch or Lightning saved it"""
    _: KW_ONLY
    out: ModelFile
    """the model file to write"""
    normalizer: Annotated[Path | None, metavar("FILE.pt")] = None
    """statistics of the training poses, that came with the checkpoint: axis_normalize2.pt or the like"""
    identity_normalizer: bool = False
    """none: states are the normalised numbers themselves"""
    weights: str = "ema"
    """ema, the averaged ones that DPoser evaluates (default), or raw"""


@dataclass(frozen=True)
class PrepareH36m:
    """GFPose's pickles: h36m_train.pkl or h36m_test.pkl"""

    _: KW_ONLY
    poses: Annotated[Path, metavar("PKL")]
    """h36m_train.pkl or h36m_test.pkl"""
    detections: Annotated[Path | None, metavar("PKL")] = None
    """h36m_sh_dt_ft.pkl; else true projections are taken"""
    split: str
    """train or test: the part of the detections it belongs to"""
    out: Target
    """the folder to make"""


@dataclass(frozen=True)
class PrepareVideopose3d:
    """VideoPose3D's archives: data_3d_h36m.npz"""

    _: KW_ONLY
    poses: Poses
    """data_3d_h36m.npz"""
    detections: Poses | None = None
    """data_2d_h36m_*.npz; else true projections are taken"""
    subjects: Annotated[Names, metavar("S9,S11")]
    """which subjects, by commas"""
    out: Target
    """the folder to make"""


@dataclass(frozen=True)
class Prepare3dhp:
    """P-STMO's archives of MPI-INF-3DHP: data_train_3dhp.npz"""

    _: KW_ONLY
    poses: Poses
    """data_train_3dhp.npz or data_test_3dhp.npz"""
    split: str
    """train or test: which of the two it is"""
    out: Target
    """the folder to make"""


@dataclass(frozen=True)
class PrepareGmm:
    """2D detections or heatmaps as DiffPose's *_gmm.npz

    One of --detections, --keypoints and --heatmaps is needed.
    """

    _: KW_ONLY
    detections: Poses | None = None
    """VideoPose3D's data_2d_*.npz"""
    keypoints: Annotated[Path | None, metavar("FILE")] = None
    """a file or folder of keypoints, as `lift` takes"""
    heatmaps: Annotated[Path | None, metavar("FILE")] = None
    """.npz or .npy of heatmaps [N, J, h, w]: fitted by EM"""
    out: Poses
    """the file to write"""
    components: Annotated[Count | None, metavar("M")] = None
    """Gaussians a joint (1, 2 with confidences, 5)"""
    sigma: Annotated[float | None, metavar("S")] = None
    """deviation of a detection; the image is 2 wide (0.01)"""
    samples: Annotated[Count | None, metavar("N")] = None
    """points drawn from each heatmap (1000)"""
    seed: int | None = None
    """of the points drawn from heatmaps (0)"""
    missing: Literal["error", "hide"] | None = None
    """a heatmap of zeros: an error (default), or anywhere"""
    image_size: Size | None = None
    """pixels, where the file does not say"""
    format: str | None = None
    """file format of --keypoints, where it cannot be told from the file"""
    skeleton: str | None = None
    """joint set of the input: h36m17, coco17, body25, halpe26, ..."""


@dataclass(frozen=True)
class PrepareBody:
    """a body model that needs no licence, laid out as SMPL's files"""

    _: KW_ONLY
    kind: Literal["smpl", "smplh", "smplx"]
    """whose joints it has"""
    out: Poses
    """the file to write"""


@dataclass(frozen=True)
class PrepareAmass:
    """AMASS (SMPL-H or SMPL-X) as body rotations to train from"""

    _: KW_ONLY
    root: Annotated[Path, metavar("DIR")]
    """the folder that holds AMASS's subsets"""
    split: str
    """train, valid or test: DPoser's shares of the subsets"""
    subsets: Annotated[Names | None, metavar("A,B")] = None
    """other subsets than the split's, by commas"""
    fps: float | None = None
    """about this many frames a second of motion (30)"""
    seed: int = 0
    """of the frames drawn by --published-selection (0)"""
    published_selection: bool = False
    """24 % of the frames at random, as published: recordings of 120 fps count 4 times those of 30"""
    out: Target
    """<split>.npz and .json go there"""


@dataclass(frozen=True)
class PrepareFragments:
    """motion as pieces of equal length, to denoise"""

    files: Annotated[tuple[Path, ...], metavar("FILE")]
    """.npz, .npy, .bvh, .amc, or a folder of them"""
    _: KW_ONLY
    length: Annotated[Count, metavar("F")] = 60
    """frames each (60)"""
    out: Target
    """the folder to make"""


@dataclass(frozen=True)
class PrepareMotion:
    """BVH, ASF/AMC or AMASS files as SMPL's joint rotations (.npz)"""

    files: Annotated[tuple[Path, ...], metavar("FILE")]
    """.bvh, .amc, .npz or .npy"""
    _: KW_ONLY
    out: Target
    """the folder to write to; made where absent"""
    asf: Annotated[Path | None, metavar("FILE")] = None
    """the skeleton of .amc files (the .asf beside each)"""
    unit_m: Annotated[float | None, metavar("M")] = None
    """metres of one unit of length of .bvh and .amc (from the legs)"""
    fps: Rate | None = None
    """frames per second of files that do not say (.amc 120, others 30)"""
    joint_map: Annotated[Path | None, metavar("JSON")] = None
    """for other skeletons: {"LeftLeg": "left_knee", ...}, theirs to SMPL's"""


COMMANDS: dict[str, tuple[type, str]] = {
    "export": (Export, "export:export"),
    "convert gfpose": (ConvertGfpose, "convert:gfpose"),
    "convert diffpose": (ConvertDiffpose, "convert:diffpose"),
    "convert dposer": (ConvertDposer, "convert:dposer"),
    "prepare h36m": (PrepareH36m, "prepare:h36m"),
    "prepare videopose3d": (PrepareVideopose3d, "prepare:videopose3d"),
    "prepare 3dhp": (Prepare3dhp, "prepare:mpi3dhp"),
    "prepare gmm": (PrepareGmm, "prepare:gmm"),
    "prepare body": (PrepareBody, "prepare:body"),
    "prepare amass": (PrepareAmass, "prepare:amass"),
    "prepare fragments": (PrepareFragments, "prepare:fragments"),
    "prepare motion": (PrepareMotion, "prepare:motion"),
}
GROUPS = {
    "convert": "a checkpoint of an original system in, a model file out",
    "prepare": "published files of Human3.6M or MPI-INF-3DHP in, a folder to train from out",
}
