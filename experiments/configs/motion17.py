"""The released model `motion17`: a posterior over motions; one hypothesis is one motion.

    python -m experiments.train --config=experiments/configs/motion17.py --workdir=runs/motion17

It starts from `pose17`, whose frames then learn to attend to each other.
"""

from ml_collections import ConfigDict

from experiments.configs import pose17


def get_config() -> ConfigDict:
    """Every number of the run; override any with --config.group.name=value."""
    config = pose17.get_config()
    with config.unlocked():
        config.name, config.context, config.gap, config.past = "motion17", 23, 0.3, 0.25
        config.train.others = ("_frames", 0.3)
        config.network.update({"num_frames": 32, "frame_width": 128, "num_heads": 4})
    config.view.recombine = 0.0  # limbs of two clips do not move together
    config.train.update(
        {
            "init": "pose17",
            "batch_size": 24,
            "steps": 25_000,
            "learning_rate": 3e-4,
            "warmup_steps": 1000,
            "eval_every": 500,
        }
    )
    return config
