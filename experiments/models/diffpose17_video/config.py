"""The released model `diffpose17_video`: DiffPose of 81 frames, on top of the frame encoder of `diffpose17.py`.

    export XLA_FLAGS=--xla_force_host_platform_device_count=2
    python -m experiments.train --config=diffpose17_video:encoder --workdir=runs/video1 \
        --config.train.init=runs/encoder.safetensors --export=runs/video_encoder.safetensors
    python -m experiments.train --config=diffpose17_video:diffusion --workdir=runs/video2 \
        --config.train.init=runs/video_encoder.safetensors --config.data.detections=runs/rendered \
        --export=jaxpose/assets/diffpose17_video.safetensors

The encoder of video corrects that of single frames, which stays fixed, and starts at a tenth of its first weights, so
near no correction. The folder of `data.detections` is made by experiments.rendered: in a share `data.detected` of its
clips the denoiser sees what BlazePose read there. Limbs are not exchanged: those of two clips do not move together.
What is said of speed and of other data in `diffpose17.py` holds here too.
"""

from ml_collections import ConfigDict

from experiments.models.diffpose17 import config as diffpose17


def get_config(stage: str = "") -> ConfigDict:
    """Every number of a stage's run; override any with --config.group.name=value."""
    config = diffpose17.get_config(stage)
    config.name = f"diffpose17_video{'_encoder' if stage == 'encoder' else ''}"
    config.network.video = ConfigDict({"num_frames": 81, "width": 64, "depth": 3, "num_heads": 4})
    config.sampler.update({"num_steps": 5, "eta": 0.0})
    config.view.recombine = 0.0
    if stage == "encoder":
        config.loss.velocity_weight = 5.0
        config.train.update({"steps": 4000, "batch_size": 8, "accumulate": 4, "head_scale": 0.1})
        config.train.update({"steps_per_dispatch": 25, "log_every": 25, "checkpoint_every": 500})
    else:
        config.train.update({"steps": 2500, "batch_size": 8, "accumulate": 4})
    config.train.eval_every = 0  # at the end
    return config
