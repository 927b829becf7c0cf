"""A folder of shards made of motion capture: the same frames, weights and persons, and trained from as a user does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xla

from experiments.models import shards, stored
from experiments.models.frames import training_frames
from experiments.models.pose17 import config as pose17
from jaxpose.datasets.mocap import load_mocap
from jaxpose.examples.bodies import carriers_of
from jaxpose.examples.rates import ViewRates

ROOT = Path(__file__).parents[3]
FILES = ("cmu", "hdm05")
VIEW = ViewRates(**pose17.get_config().view)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A mocap folder of two files, whose persons overlap."""
    folder = tmp_path_factory.mktemp("data") / "mocap"
    folder.mkdir()
    (folder / "splits.json").write_text(json.dumps({"train": ["a", "b", "c"], "val": ["v"]}))
    rng = np.random.default_rng(0)
    for name, people in zip(FILES, (["b", "a", "v"], ["c", "b", "a"]), strict=True):
        np.savez(
            folder / f"{name}.npz",
            joints17=np.round(rng.normal((0, 1, 0), 0.3, (60, 17, 3)) / 0.0005).astype(np.int16),
            pos_scale=0.0005,
            global_orient=np.round(rng.normal(0, 0.3, (60, 3)) / 0.0001).astype(np.int16),
            body_pose=np.round(rng.normal(0, 0.3, (60, 63)) / 0.0001).astype(np.int16),
            rot_scale=0.0001,
            seq_start=[0, 10, 40],
            seq_length=[10, 30, 20],
            seq_subject=people,
            seq_category=["walk", "run", "walk"],
            seq_name=[f"{name}_{p}" for p in people],
        )
    return folder.parent


def config_of(module, root, **data):
    config = module.get_config()
    config.data.update({"files": FILES, "split": "train", "drop": (), **data})
    return config


@pytest.fixture(scope="module")
def folder(root, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXPOSE_DATA", str(root))
        out = tmp_path_factory.mktemp("out") / "bodies"
        lines = list(shards.write(config_of(pose17, root), str(out)))
    assert lines == [f"wrote {out}: 100 frames of 5 sequences"]
    return out


def test_frames_weights_and_persons_are_those_in_memory(root, folder, monkeypatch):
    monkeypatch.setenv("JAXPOSE_DATA", str(root))
    config = config_of(pose17, root)
    frames, weights = training_frames(config.data, 0, lambda *a, **k: load_mocap(*a, rotations=True, **k))
    found, resident = stored.open_bodies(str(folder), VIEW)
    rows = found.take(np.arange(len(found)))
    np.testing.assert_array_equal(rows["joints"], frames.joints)
    np.testing.assert_array_equal(rows["carriers"], carriers_of(frames.rotations))
    label = frames.subject[frames.sequence]
    assert len({(a, b) for a, b in zip(label, rows["person"], strict=True)}) == 3 == len(set(label))
    of_sequence = np.bincount(frames.sequence, weights)
    np.testing.assert_allclose(np.diff(np.append(0, resident.takes.cumulative)), of_sequence, rtol=1e-5)
    assert resident.takes.length.tolist() == np.bincount(frames.sequence).tolist()
    assert resident.bodies.people.offsets.shape == (3, 17, 3)


def test_only_splits_for_training_are_trained_on():
    config = pose17.get_config()
    config.data.split = "train+val"
    with pytest.raises(ValueError, match=r"config\.data\.split: got 'train\+val', must be splits for training"):
        training_frames(config.data, 0, load_mocap)


@pytest.mark.slow
def test_bodies_are_drawn_anew_only_where_the_config_does(root, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("JAXPOSE_DATA", str(root))
    narrow = pose17.get_config("0.7")
    narrow.data.update({"files": FILES})
    list(shards.write(narrow, str(tmp_path / "narrow")))
    plain = ViewRates(**narrow.view)
    found, resident = stored.open_bodies(str(tmp_path / "narrow"), plain)
    assert set(found.maps) == {"joints"}
    assert resident.bodies.people is None
    assert stored.open_bodies(str(folder), plain)[1].bodies.people is None
    with pytest.raises(ValueError, match="shards without rotations"):
        stored.open_bodies(str(tmp_path / "narrow"), VIEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pose17", "motion17", "prior21"])
def test_a_run_of_rows_on_disk_ends_in_a_model(root, tmp_path, name):
    def command(module, *flags):
        config = f"--config={name}"
        files = ["--config.data.files=('cmu','hdm05')", "--config.data.split=train", "--config.data.drop=()"]
        env = {**os.environ, "JAXPOSE_DATA": str(root), "XLA_FLAGS": xla.FLAGS}
        done = subprocess.run(
            [sys.executable, "-m", module, config, *files, *flags], cwd=ROOT, env=env, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    out, train = tmp_path / "shards", ("steps=2", "batch_size=8", "accumulate=1", "warmup_steps=1")
    assert "100 frames of 5 sequences" in command("experiments.models.shards", f"--out={out}")
    flags = [f"--config.train.{flag}" for flag in train]
    model = tmp_path / "model.safetensors"
    command(
        "experiments.train", f"--config.data.stream={out}", f"--workdir={tmp_path}/run", f"--export={model}", *flags
    )
    assert model.is_file()
