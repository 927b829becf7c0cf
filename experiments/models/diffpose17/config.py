"""The released model `diffpose17`: DiffPose of single frames, in two stages.

    export XLA_FLAGS=--xla_force_host_platform_device_count=2
    python -m experiments.train --config=diffpose17:encoder --workdir=runs/frame1 \
        --export=runs/encoder.safetensors
    python -m experiments.train --config=diffpose17:diffusion --workdir=runs/frame2 \
        --config.train.init=runs/encoder.safetensors --export=jaxpose/assets/diffpose17.safetensors

On a machine of 2 cores the first line is 1.5 times the speed, and `accumulate`, by which a slice stays in the cache,
another 2 times. In either stage, on your own motion capture (`jaxpose prepare mocap`), and on a folder of another
`jaxpose prepare` (videopose3d, h36m, 3dhp):

    --config.data.folder=FOLDER
    --config.data.kind=frames --config.data.folder=FOLDER

Hardware, hours and the rows reached stand in `jaxpose/assets/diffpose17.md`.
"""

from ml_collections import ConfigDict

from experiments.models.pose17 import config as pose17
from experiments.models.training import training
from jaxpose.conditioning import MaskRates
from jaxpose.examples.heatmaps import HeatmapRates

STAGES = ("encoder", "diffusion")


def get_config(stage: str = "") -> ConfigDict:
    """Every number of a stage's run; override any with --config.group.name=value."""
    if stage not in STAGES:
        raise ValueError(f"--config=...py:STAGE: got stage {stage!r}, must be one of {', '.join(map(repr, STAGES))}")
    graph = {"width": 64, "depth": 4, "num_heads": 4, "dropout": 0.0}
    is_encoder = stage == "encoder"
    return ConfigDict(
        {
            "name": "diffpose17_encoder" if is_encoder else "diffpose17",
            "stage": stage,
            "seed": 0,
            "network": {
                "frame": graph,
                "video": None,
                "denoiser": None if is_encoder else dict(graph),
                "symmetric": True,
            },
            "process": {"name": "vp", "args": (0.1, 20.0)},
            "loss": {"velocity_weight": 0.0}
            if is_encoder
            else {
                "num_draws": 2,
                "num_shown": 16,
                "no_features": 0.1,
                "start_poses": 20_000,
                "start": {"components": 0, "depth": "encoder", "samples": 128},  # 0: jittered, else of a mixture
                "next_of": 0,
                "times": "all",
            },
            "sampler": {"num_steps": 8, "spacing": "log_snr", "eta": 1.0},
            # folder: of kind "frames" that of another `jaxpose prepare`; flip: share of its mirrored examples
            "data": {"kind": "mocap", **pose17.DATA, "flip": 0.5},
            "view": pose17.VIEW._replace(told=0.0)._asdict(),
            "heatmaps": HeatmapRates()._asdict(),  # shares swap, occlude, truncate: none
            "masks": MaskRates(pose=0.0, part=0.03, joint=0.02, depth=0.0)._asdict(),
            "train": training(  # init, of stage "diffusion": the export of stage "encoder"
                steps=11_500 if is_encoder else 10_850,
                batch_size=256 if is_encoder else 128,
                denoiser="",  # a whole model whose denoiser goes on
                accumulate=4,
                learning_rate=1e-3,
                warmup_steps=300,
                export_dtype="float32",
                steps_per_dispatch=50,
                checkpoint_every=500,
            ),
        }
    )
