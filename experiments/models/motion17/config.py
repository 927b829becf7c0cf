"""The released model `motion17`: a posterior over motions; one hypothesis is one motion.

    python -m experiments.train --config=motion17 --workdir=runs/motion1 \
        --export=runs/motion1.safetensors
    python -m experiments.train --config=motion17 --workdir=runs/motion2 \
        --config.train.init=runs/motion1.safetensors --config.train.steps=6000 --export=runs/motion17.safetensors

The network of `pose17` stays as it is. What is trained is how frames tell each other what they hold (`only`).
"""

from ml_collections import ConfigDict

from experiments.models.pose17 import config as pose17


def get_config() -> ConfigDict:
    """Every number of the run; override any with --config.group.name=value."""
    config = pose17.get_config()
    with config.unlocked():
        config.name, config.context, config.gap = "motion17", 40, 0.3
        config.train.only = "frames"
        config.network.update({"num_frames": 32, "frame_width": 256, "frame_layers": 6, "num_heads": 8})
        config.sampler.eta = 0.0  # the flow: fresh noise of each step makes motions worse, and too much alike
    config.train.update(
        {
            "init": "pose17",
            "batch_size": 32,
            "steps": 3_000,
            "learning_rate": 1e-3,
            "warmup_steps": 300,
            "eval_every": 500,
        }
    )
    return config
