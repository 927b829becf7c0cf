"""Going on from a trained model: nothing changes before the first step, and some steps on a new person help them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from experiments.models.diffpose17 import config as diffpose17
from experiments.models.initial import keeps_statistics, with_calibration
from experiments.models.pose17 import config as pose17
from experiments.models.pose17_fast import config as pose17_fast
from experiments.models.prior21 import config as prior21
from experiments.train import make_job, train
from jaxpose.base import Camera
from jaxpose.model import load, save
from jaxpose.tasks.lift import lift
from jaxpose.tasks.rotations import generate_rotations
from jaxpose.tasks.samplers import stochastic


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as of `jaxpose prepare mocap`, of 40 random poses of a giant: statistics unlike any model's."""
    root = tmp_path_factory.mktemp("mine")
    rng = np.random.default_rng(0)
    (root / "mocap").mkdir()
    np.savez(
        root / "mocap" / "mine.npz",
        joints17=np.round(rng.normal((0, 2, 0), 0.8, (40, 17, 3)) / 0.0005).astype(np.int16),
        body_pose=np.round(rng.normal(1, 0.5, (40, 63)) / 1e-4).astype(np.int16),
        global_orient=np.round(rng.normal(0, 0.5, (40, 3)) / 1e-4).astype(np.int16),
        **{"pos_scale": 0.0005, "rot_scale": 1e-4, "seq_start": [0], "seq_length": [40]},
        **{"seq_subject": ["a"], "seq_category": ["walk"], "seq_name": ["a/1"]},
    )
    (root / "mocap" / "splits.json").write_text(json.dumps({"train": ["a"], "val": [], "files": ["mine"]}))
    return root


def tuned(config, folder, tmp_path, **settings):
    """The model that a run of the config on a folder ends with, as a user reads it."""
    config.data.folder = str(folder)
    config.train.update(settings)
    save(tmp_path / "model.safetensors", train(config, tmp_path / "run"))
    return load(tmp_path / "model.safetensors")


def same(found, wanted):
    jax.tree.map(np.testing.assert_array_equal, found, wanted)


@pytest.mark.slow
def test_no_step_on_other_data_leaves_lifting_as_it_was(folder, tmp_path):
    before, after = load("pose17"), tuned(pose17.get_config(), folder, tmp_path, init="pose17", steps=0)
    rng = np.random.default_rng(1)
    keypoints, camera = (
        rng.uniform(300, 700, (1, 17, 2)).astype(np.float32),
        Camera(jnp.array([1000.0, 1000, 500, 500])),
    )
    found, wanted = (lift(jax.random.key(0), m, keypoints, camera=camera, num_hypotheses=3) for m in (after, before))
    same((found.samples, found.radius_90), (wanted.samples, wanted.radius_90))
    same((after.typicality, after.recalibration), (before.typicality, before.recalibration))


def test_no_step_on_other_data_leaves_a_prior_as_it_was(folder, tmp_path):
    before, after = load("prior21"), tuned(prior21.get_config(), folder, tmp_path, init="prior21", steps=0)
    found, wanted = (generate_rotations(jax.random.key(0), m, 2, sampler=stochastic(3)) for m in (after, before))
    same(found, wanted)
    same(after.statistics, before.statistics)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "name"), [(pose17_fast.get_config(), "pose17_fast"), (diffpose17.get_config("diffusion"), "diffpose17")]
)
def test_no_step_leaves_the_other_models_as_they_were(folder, config, name):
    """Also their samplers: validation chose others than the configs'."""
    config.data.folder, config.train.init = str(folder), name
    job, before = make_job(config), load(name)
    after = with_calibration(job.export(job.params), job.initial, 0)
    assert after.spec == before.spec
    same(after, before)
    assert job.data is not None
    statistics = getattr(job.data, "bodies", job.data).statistics
    same(statistics, before.statistics)  # of the examples' states


def test_what_was_measured_on_other_weights_is_left_out_after_a_step():
    before = load("pose17")
    after = with_calibration(before.replace(recalibration={}, typicality=jnp.zeros(0)), before, steps=1)
    assert not after.recalibration
    assert not after.typicality.size


@pytest.mark.parametrize(
    ("given", "expected"), [({}, True), ({"statistics": "init"}, True), ({"statistics": "data"}, False)]
)
def test_statistics_stay_unless_the_data_s_are_asked_for(given, expected):
    assert keeps_statistics(ConfigDict({"train": given})) is expected


def test_another_word_for_statistics_is_refused():
    with pytest.raises(ValueError, match=r"config\.train\.statistics: got 'Init', must be one of 'init', 'data'"):
        keeps_statistics(ConfigDict({"train": {"statistics": "Init"}}))
