"""Motion capture in the format of the shared data, of random joints."""

import json
from pathlib import Path

import numpy as np


def random_mocap(root: Path) -> Path:
    """`root`, with 40 random poses in mocap/{cmu,hdm05}.npz: 30 of a person to train on, 10 of one to validate on."""
    folder = root / "mocap"
    folder.mkdir()
    (folder / "splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"]}), encoding="utf-8")
    joints = np.random.default_rng(0).normal((0, 1, 0), 0.3, (40, 17, 3))
    for name in ("cmu", "hdm05"):
        np.savez(
            folder / f"{name}.npz",
            joints17=np.round(joints / 0.0005).astype(np.int16),
            pos_scale=0.0005,
            seq_start=[0, 30],
            seq_length=[30, 10],
            seq_subject=["a", "b"],
            seq_category=["walk", "run"],
            seq_name=["a_1", "b_1"],
        )
    return root
