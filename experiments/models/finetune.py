"""Fine-tuning of a released model on the user's own motion capture.

    jaxpose prepare mocap takes --out data/mine --val anna/walk_03,anna/walk_04
    python -m experiments.train --config=finetune:pose17 --config.data.folder=data/mine \
        --workdir=runs/mine --export=runs/mine.safetensors

After the colon: pose17, pose17_fast, diffpose17, diffpose17_video or prior21. The run keeps the model's own state space
(initial.py) and prints the error on the folder's validation takes before and after. DiffPose's encoder stays; only its
denoiser is tuned.

`data.rehearsal` is the share of examples from the data of JAXPOSE_DATA that the model was trained on. Without it
(`--config.data.rehearsal=0`, for users who lack that data) the model forgets other people: figures in docs/training.md.
"""

from typing import Any

from ml_collections import ConfigDict

from experiments.models.diffpose17 import config as diffpose17
from experiments.models.diffpose17_video import config as diffpose17_video
from experiments.models.pose17 import config as pose17
from experiments.models.pose17_fast import config as pose17_fast
from experiments.models.prior21 import config as prior21

# Model -> the config that trained it, and what of the run is other than there.
_MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "pose17": (pose17.get_config, {"batch_size": 256}),
    "pose17_fast": (pose17_fast.get_config, {}),
    "diffpose17": (lambda: diffpose17.get_config("diffusion"), {}),
    "diffpose17_video": (lambda: diffpose17_video.get_config("diffusion"), {}),
    "prior21": (prior21.get_config, {"batch_size": 256, "accumulate": 1}),
}


def get_config(model: str = "") -> ConfigDict:
    """Every number of a run; override any with --config.group.name=value."""
    if model not in _MODELS:
        raise ValueError(f"--config=...py:MODEL: got model {model!r}, must be one of {', '.join(_MODELS)}")
    make, own = _MODELS[model]
    config = make()
    config.name = f"{model}_tuned"
    config.data.rehearsal = 0.3
    config.train.update({"init": model, "steps": 200, "learning_rate": 3e-4, "warmup_steps": 20, "eval_every": 0})
    if "view" in config:
        config.view.people = 0.0  # the person's own proportions are what is to be learned
    config.train.update({"steps_per_dispatch": 20, "log_every": 20, "checkpoint_every": 100, **own})
    return config
