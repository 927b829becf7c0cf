"""The released model `pose17`: lifts, completes, denoises and generates 3D poses in metres.

    python -m experiments.train --config=experiments/configs/pose17.py --workdir=runs/pose17
        [--config.data.folder=FOLDER]         your own motion capture, of `jaxpose prepare mocap`

Hardware, hours and the validation row reached stand in `jaxpose/assets/pose17.md`.
"""

from ml_collections import ConfigDict

from experiments.configs.training import training
from jaxpose.conditioning import MaskRates
from jaxpose.examples.views import ViewRates


def get_config() -> ConfigDict:
    """Every number of a run; override any with --config.group.name=value."""
    return ConfigDict(
        {
            "name": "pose17",
            "seed": 0,
            "network": {
                "hidden": 512,
                "time_width": 128,
                "num_blocks": 2,
                "encoder_blocks": 1,
                "dropout": 0.0,
                "num_groups": 32,
                "difference": False,
            },
            "process": {"name": "vp", "args": (0.1, 20.0)},
            "loss": {"target": "edm", "weighting": "edm", "num_draws": 2},
            "sampler": {"num_steps": 8, "spacing": "log_snr", "eta": 1.0},
            # folder, rehearsal: experiments/jobs/frames.py
            "data": {"folder": "", "files": ("cmu", "hdm05"), "rehearsal": 0.0, "category_power": 0.5, "share": 1.0},
            "view": ViewRates(splice=0.25, bone=0.03, size=0.03, coco=0.15)._asdict(),
            "masks": MaskRates(pose=0.08, part=0.04, joint=0.02, depth=0.2)._asdict(),
            "train": training(steps=20_000, batch_size=768, learning_rate=1e-3, eval_every=2500),
        }
    )
