"""DiffPose of 243 frames as its authors trained it on Human3.6M: networks, losses, optimiser of the original.

    jaxpose prepare videopose3d --poses data_3d_h36m.npz --detections data_2d_h36m_cpn_ft_h36m_dbb_gmm.npz \
        --subjects S1,S5,S6,S7,S8 --out data/h36m_train
    python -m experiments.train --config=diffpose_h36m:encoder --workdir=runs/video1 \
        --config.data.folder=data/h36m_train --export=runs/mixste.safetensors
    python -m experiments.train --config=diffpose_h36m:diffusion --workdir=runs/video2 \
        --config.data.folder=data/h36m_train --config.train.init=runs/mixste.safetensors \
        --export=runs/diffpose.safetensors
    python -m experiments.evaluate h36m --model=runs/diffpose.safetensors --data=data/h36m_test

Source: spec/diffpose.md, sections 1.4, 1.6 and 3. What is other here stands in job.py. The numbers of
steps are the original's epochs over its 1.56 million frames: 120 and 80.
"""

from ml_collections import ConfigDict

from experiments.models.training import training

STAGES = ("encoder", "diffusion")


def get_config(stage: str = "") -> ConfigDict:
    """Every number of a stage's run; override any with --config.group.name=value."""
    if stage not in STAGES:
        raise ValueError(f"--config=...py:STAGE: got stage {stage!r}, must be one of {', '.join(map(repr, STAGES))}")
    is_encoder = stage == "encoder"
    encoder = {"num_frames": 243, "width": 512, "depth": 8, "num_heads": 8, "drop_path": 0.1}
    denoiser = {"width": 96, "depth": 5, "num_heads": 4, "dropout": 0.25, "time_units": 51.0, "time_shift": -1.0}
    return ConfigDict(
        {
            "kind": "diffpose_h36m",
            "name": "mixste_h36m" if is_encoder else "diffpose_h36m",
            "stage": stage,
            "seed": 0,
            "network": encoder if is_encoder else denoiser,
            "loss": {"sigma": 0.5},  # of keypoints without mixtures, normalised units: that of the video repository
            "data": {"folder": "data/h36m_train"},
            "train": training(  # init, of stage "diffusion": the export of stage "encoder"
                steps=192_600 if is_encoder else 121_900,
                batch_size=4 if is_encoder else 512,  # clips of 243 frames; pairs of frames
                learning_rate=4e-5 if is_encoder else 1e-3,
                warmup_steps=0,
                schedule="steps",  # of the original's epochs: after each, and after the 61st
                decay=0.99 if is_encoder else 0.9,
                decay_every=1_605 if is_encoder else 92_950,
                ema_warmup=False,
                weight_decay=0.1 if is_encoder else 0.0,
                clip_norm=1.0,
                export_dtype="float32",
                eval_every=0,
            ),
        }
    )
