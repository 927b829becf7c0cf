"""GFPose as it was trained on Human3.6M: network, process, loss, optimiser and masks of the original.

    jaxpose prepare h36m ...                                   once, from the published files
    python -m experiments.train --config=gfpose_h36m --workdir=runs/gfpose \
        --config.data.folder=data/h36m_train

Source: spec/gfpose.md, sections 1 to 4. Not the original's: mirroring is paired (and off, as there), and the steps of
the sampler, which no validation has chosen. The original never ends; 950,000 steps are the number its configuration
names, about 600 times each frame.
"""

from ml_collections import ConfigDict

from experiments.models.training import training
from jaxpose.conditioning import MaskRates


def get_config() -> ConfigDict:
    """Every number of a run; override any with --config.group.name=value."""
    return ConfigDict(
        {
            "name": "gfpose_h36m",
            "seed": 0,
            "codec": "image_depth",
            "context": 0,
            "network": {
                "hidden": 1024,
                "time_width": 512,
                "num_blocks": 2,
                "encoder_blocks": 0,
                "dropout": 0.25,
                "num_groups": 32,
                "difference": True,
                "explicit": False,
                "time_units": 999.0,
            },
            "process": {"name": "sub_vp", "args": (0.1, 20.0)},
            "loss": {"target": "eps", "weighting": "eps", "num_draws": 1, "times": "uniform", "t_min": 1e-5},
            "sampler": {"num_steps": 50, "spacing": "log_snr", "eta": 1.0},
            "data": {"kind": "h36m", "folder": "data/h36m_train", "flip": 0.0, "use_truth": False},
            "masks": MaskRates(pose=0.1, part=0.1, joint=0.1, depth=0.1)._asdict(),
            "train": training(
                steps=950_000,
                batch_size=1000,
                learning_rate=2e-4,
                warmup_steps=5000,
                schedule="constant",
                clip_norm=1.0,
                ema_decay=0.9999,
                checkpoint_every=5000,
                eval_every=8000,
            ),
        }
    )
