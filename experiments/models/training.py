"""Settings of a training run that all configs share; each config names what is its own."""

from typing import Any


def training(**own: Any) -> dict[str, Any]:
    """The group `train` of a config: steps, batch_size and learning_rate must be among `own`."""
    return {
        "init": "",  # a .safetensors file to go on from, instead of fresh weights
        "accumulate": 0,  # slices of a device's share of a step; 0: as the device is fastest
        "warmup_steps": 500,
        "schedule": "cosine",
        "weight_decay": 0.0,
        "clip_norm": 10.0,
        "ema_decay": 0.999,
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
