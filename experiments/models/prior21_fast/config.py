"""The released model `prior21_fast`: `prior21` in three network calls instead of 51, and told of known rotations.

    python -m experiments.train --config=prior21_fast --workdir=runs/prior21_fast
        [--config.data.folder=FOLDER]         your own motion capture, of `jaxpose prepare mocap`

Hardware, hours and the figures reached stand in `jaxpose/assets/prior21_fast.md`.
"""

from ml_collections import ConfigDict

from experiments.models.prior21 import config as prior21


def get_config() -> ConfigDict:
    """Every number of a run; override any with --config.group.name=value."""
    config = prior21.get_config()
    own = ConfigDict(
        {
            "name": "prior21_fast",
            "kind": "distill",
            "base": "prior21",
            "refine": 0.15,  # sigma / alpha of the base's call at the end of generation
            # where the network is called: at the end of the process, and at sigma / alpha = 1.0 and 0.3
            "times": (1.0, 0.306, 0.168),
            "condition_width": 256,
            "loss": {"num_draws": 4, "early": 0.3},
            "data": config.data,
            "poses": config.poses,
            # shares of poses of which nothing is told, and of parts and joints that are not
            "masks": {"pose": 0.3, "part": 0.3, "joint": 0.1, "depth": 1.0},
            "seed": 0,
            "train": config.train,
        }
    )
    own.train.update(
        {
            "init": "prior21",
            "steps": 3000,
            "batch_size": 256,
            "accumulate": 4,
            "learning_rate": 5e-4,
            "warmup_steps": 200,
        }
    )
    return own
