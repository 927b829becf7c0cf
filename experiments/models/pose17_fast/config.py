"""The released model `pose17_fast`: `pose17` in two network calls instead of nine.

    python -m experiments.train --config=pose17_fast --workdir=runs/pose17_fast
        [--config.data.folder=FOLDER]         your own motion capture, of `jaxpose prepare mocap`

Hardware, hours and the validation row reached stand in `jaxpose/assets/pose17_fast.md`.
"""

from ml_collections import ConfigDict

from experiments.models.pose17 import config as pose17


def get_config() -> ConfigDict:
    """Every number of a run; override any with --config.group.name=value."""
    config = pose17.get_config()
    own = ConfigDict(
        {
            "name": "pose17_fast",
            "kind": "distill",
            "base": "pose17",
            "refine": 0.06,  # sigma / alpha of the base's call at the end of generation
            # where the network is called: at the end of the process, and at sigma / alpha = 0.5 (12 cm of noise)
            "times": (1.0, 0.15),
            "loss": {"num_draws": 4, "early": 0.3},  # of the energy score
            "data": config.data,
            "view": config.view,
            "masks": config.masks,
            "seed": 0,
            "train": config.train,
        }
    )
    own.train.update({"init": "pose17", "steps": 12_000, "batch_size": 256, "learning_rate": 5e-4, "warmup_steps": 200})
    return own
