"""Small random models in files: quick, and of any quality."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pose_oracle
from random_params import random_params

from jaxpose.model import ASSETS, Model, Spec, save
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import fit_statistics
from jaxpose.spaces.rotations import z_score


def clip_poses() -> np.ndarray:
    """[3, 17, 3] float32 metres, camera axes, 4 m away."""
    with np.load(ASSETS / "demo_clip.npz") as clip:
        poses: np.ndarray = clip["joints_cam"][::30].astype(np.float32)
    return poses


def write_joint_model(folder: Path) -> Path:
    """A model of 17 joints."""
    poses = clip_poses()
    network = ScoreMLP(hidden=32, time_width=16, num_groups=4, encoder_blocks=1)
    spec = Spec(name="tiny", network=network, target="edm", num_steps=2)
    statistics = fit_statistics(jnp.asarray(poses - poses.mean(1, keepdims=True)))
    path = folder / "tiny.safetensors"
    save(path, Model(random_params(spec), statistics, spec))
    return path


def write_prior(folder: Path) -> Path:
    """A prior over joint rotations about the rest pose."""
    network = ScoreMLP(hidden=32, time_width=16, num_groups=4, encoder_blocks=0)
    spec = Spec("tinyrot", network, skeleton="smpl22", context=0, codec="axis_angle", target="edm", num_steps=2)
    poses = np.random.default_rng(0).normal(0, 0.3, (50, 21, 3))
    path = folder / "tinyrot.safetensors"
    save(path, Model(random_params(spec), z_score(poses), spec))
    return path


def write_motion_model(folder: Path) -> Path:
    """A model of motions, of 8 frames."""
    sizes = {"hidden": 16, "time_width": 8, "num_blocks": 1, "num_groups": 4, "dropout": 0.0}
    network = ScoreMLP(**sizes, num_frames=8, frame_width=8, frame_layers=1, num_heads=2)
    spec = Spec(name="tinymotion", network=network, target="edm", num_steps=2, context=23)
    path = folder / "tinymotion.safetensors"
    save(path, Model(random_params(spec), pose_oracle.statistics(), spec), dtype=jnp.float32)
    return path
