"""Settings of a training run that all configs share, each of which names what is its own; rows of validation."""

from collections.abc import Mapping
from typing import Any

_LEGEND = {
    "mean_mm": "error of the mean of the hypotheses",
    "best_of_50_mm": "error of the hypothesis nearest to the truth",
    "p_mean_mm": "error of the mean after similarity alignment",
    "n_mean_mm": "error of the mean after scaling",
    "single_mm": "mean error of one hypothesis",
    "energy_score_mm": "proper score of the distribution of a joint",
    "ece": "calibration error",
    "radius_coverage_90": "share of truths within the 90 % radius",
    "encoder_mm": "error of the encoder's pose",
    "mean_of_20_mm": "error of the mean of 20 hypotheses",
    "ratio": "of the last two",
    "gap_mm": "error in frames without keypoints",
    "seen_mm": "error in the same frames with keypoints",
    "noisy_mm": "error of one call from a little noise",
    "fid": "distance of generated from validation poses",
    "eps_mse": "squared error of the predicted noise, of unit variance",
}
_shown: set[str] = set()


def show(row: Mapping[str, float]) -> None:
    """Print a row of validation and, once, what its values are."""
    print("validation:", ", ".join(f"{name} {value:.4g}" for name, value in row.items()), flush=True)
    if legend := [f"{name}: {_LEGEND[name]}" for name in row if name in _LEGEND and name not in _shown]:
        print(f"    ({'; '.join(legend)})", flush=True)
    _shown.update(row)


def training(**own: Any) -> dict[str, Any]:
    """The group `train` of a config: steps, batch_size and learning_rate must be among `own`."""
    return {
        "init": "",  # a .safetensors file to go on from, instead of fresh weights
        "accumulate": 0,  # slices of a device's share of a step; 0: as the device is fastest
        "warmup_steps": 500,
        "schedule": "cosine",  # "constant"; "steps": times `decay` after each `decay_every` steps
        "decay": 1.0,
        "decay_every": 1,
        "weight_decay": 0.0,
        "clip_norm": 10.0,
        "ema_decay": 0.999,
        "ema_warmup": True,
        "dtype": "float32",
        "mode": "sharding",
        "num_devices": 0,  # all, of all processes
        "shard_state": False,  # weights, average and optimiser state divided over the devices
        "steps_per_dispatch": 100,  # at most; a dispatch takes about a second
        "log_every": 100,
        "checkpoint_every": 1000,
        "eval_every": 1000,
        **own,
    }
