"""The released model `pose17`: lifts, completes, denoises and generates 3D poses in metres.

    python -m experiments.train --config=pose17 --workdir=runs/pose17
        [--config.data.folder=FOLDER]         your own motion capture, of `jaxpose prepare mocap`

`pose17.py:0.7` is the recipe of the versions up to 0.7, whose bodies, cameras and detector were those of the benchmark.
What chose the numbers of each stands in docs/generalisation.md; hardware, hours and the validation row reached stand in
`jaxpose/assets/pose17.md`.
"""

from typing import Any

from ml_collections import ConfigDict

from experiments.models.training import training
from jaxpose.conditioning import MaskRates
from jaxpose.examples.rates import ViewRates

_NARROW = ViewRates(splice=0.25, bone=0.03, size=0.03, coco=0.15)
VIEW = ViewRates(
    people=0.7,
    recombine=0.5,
    bone=0.02,
    turn=0.25,
    free=0.25,
    told=0.5,
    evidence=0.7,
    coco=0.32,
    blazepose=0.2,
    rough=0.25,
    swap=0.04,
    occlude=0.1,
    truncate=0.08,
    vague=0.15,
)
DATA: dict[str, Any] = {
    "files": ("cmu", "hdm05", "cmu_more", "cmu_takes_more", "reactidle", "accad", "holosoma"),
    "split": "train+train_more+train_accad",
    "drop": ("cmu/cmu09", "cmu/cmu14", "cmu/cmu135"),  # in cmu_takes_more as recorded
    "straight": True,  # knees and elbows corrected (jaxpose/datasets/straight.py); False: as captured
    "category_power": 0.5,
    "subject_power": 0.5,
    "category_factors": {},
    # on the weight of frames with a knee or an elbow flexed by less than 15 degrees: a person before a camera stands
    # with hanging arms more often than one who is captured
    "straight_knee_factor": 6.0,
    "straight_elbow_factor": 3.0,
    "leave_out": "",
    "share": 1.0,
    "num_people": 0,  # all
    "folder": "",  # of `jaxpose prepare mocap`; rehearsal: experiments/models/frames.py
    "rehearsal": 0.0,
    # a folder of experiments.rendered, of whose frames a share of the examples is, as real detectors read them
    "detections": "",
    "detectors": ("full", "lite", "heavy", "mean"),
    "detected": 0.3,
    "stream": "",  # a folder of experiments/models/shards.py, read while training goes on; the above then has no effect
}
_NARROW_FILES = DATA | {
    "files": ("cmu", "hdm05"),
    "split": "train",
    "drop": (),
    "straight": False,
    "straight_knee_factor": 1.0,
    "straight_elbow_factor": 1.0,
    "subject_power": 1.0,
}


def get_config(recipe: str = "") -> ConfigDict:
    """Every number of a run; override any with --config.group.name=value."""
    if recipe not in ("", "0.7"):
        raise ValueError(f"--config=...py:RECIPE: got {recipe!r}, must be '0.7' or none")
    wide = not recipe
    return ConfigDict(
        {
            "name": "pose17",
            "seed": 0,
            "context": 37 if wide else 17,  # with the vertical and evidence on joints, or without
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
            "data": DATA if wide else _NARROW_FILES,
            "view": (VIEW if wide else _NARROW)._asdict(),
            "masks": MaskRates(pose=0.08, part=0.04, joint=0.02, depth=0.2)._asdict(),
            # statistics: those of "init" stay, which fine-tuning needs; those of the "data" are for a warm start
            "train": training(steps=20_000, batch_size=768, learning_rate=1e-3, eval_every=2500, statistics="init"),
        }
    )
