"""Training of a prior over rotations on a folder of made motion capture: what an example is, and a job of each kind."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.models.prior21 import config as prior21
from experiments.models.prior21.job import PoseRates, Poses, prior_job, rotation_example
from jaxpose.geometry.skeleton import SMPL_22, mirror_rotations
from jaxpose.model import load, save
from jaxpose.spaces import SPACES
from jaxpose.spaces.person import Statistics
from jaxpose.tasks.rotations import to_state

MEAN, STD = 0.3, 0.2  # of every number but the collars, which never move
COLLARS = [12, 13]
SMALL = {"network.hidden": 32, "network.time_width": 16, "network.num_groups": 4}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """100 poses in the format of the shared motion capture; half of them, of the other category, are for validation."""
    root = tmp_path_factory.mktemp("data")
    folder = root / "mocap"
    folder.mkdir()
    splits = {"train": ["a"], "val": ["b"], "files": ["cmu", "hdm05"]}
    (folder / "splits.json").write_text(json.dumps(splits))
    pose = np.random.default_rng(0).normal(MEAN, STD, (100, 21, 3))
    pose[:, COLLARS] = 0
    for name in ("cmu", "hdm05"):
        np.savez(
            folder / f"{name}.npz",
            body_pose=np.round(pose.reshape(100, 63) / 1e-4).astype(np.int16),
            rot_scale=np.float32(1e-4),
            seq_start=[0, 50],
            seq_length=[50, 50],
            seq_subject=["a", "b"],
            seq_category=["walk", "run"],
            seq_name=["a_1", "b_1"],
        )
    return root


def plain(num_joints=21):
    return Statistics(jnp.zeros((num_joints, 3)), jnp.ones((num_joints, 3)), jnp.ones((num_joints, 3)))


def examples(rates, weights=(1.0, 1.0), num=400):
    """The two poses an example may be of, and `num` examples [num, 21, 3]."""
    pair = jnp.asarray(np.random.default_rng(1).normal(size=(2, 21, 3)), jnp.float32)
    poses = Poses(pair, jnp.cumsum(jnp.asarray(weights)))
    draw = lambda key: rotation_example(key, poses, rates, SPACES["axis_angle"], plain()).x0  # noqa: E731
    return np.asarray(pair), np.asarray(jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), num)))


def shares(x, kinds):
    """How many of x are each of the kinds; none may be anything else."""
    same = np.array([[np.array_equal(a, kind) for kind in kinds] for a in x])
    assert (same.sum(1) == 1).all()
    return same.mean(0)


def test_poses_are_drawn_by_weight_and_as_often_in_the_mirror():
    pair, x = examples(PoseRates(mirror=0.5), weights=(3.0, 1.0))
    mirrored = np.asarray(mirror_rotations(jnp.asarray(pair), SMPL_22))
    np.testing.assert_allclose(shares(x, [*pair, *mirrored]), [0.375, 0.125, 0.375, 0.125], atol=0.08)
    # a left knee becomes a right one
    np.testing.assert_allclose(mirrored[:, 4], pair[:, 3] * [1, -1, -1])


def test_spliced_poses_have_the_legs_of_one_and_the_rest_of_another():
    pair, x = examples(PoseRates(mirror=0.0, splice=0.5))
    legs = np.isin(np.arange(21), (0, 1, 3, 4, 6, 7, 9, 10))[:, None]
    crossed = [np.where(legs, pair[1 - i], pair[i]) for i in range(2)]
    np.testing.assert_allclose(shares(x, [*pair, *crossed]), [0.375, 0.375, 0.125, 0.125], atol=0.08)


def test_jitter_has_its_size():
    pair, x = examples(PoseRates(mirror=0.0, jitter=0.05), weights=(1.0, 0.0))
    np.testing.assert_allclose((x - pair[0]).std(), 0.05, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "codec"), [("own", "rot6d"), ("original", "axis_angle")])
def test_a_job_of_each_kind_learns_and_exports(data, tmp_path, monkeypatch, kind, codec):
    """At every noise the loss has a gradient for the last layer; what is exported is what was trained."""
    monkeypatch.setenv("JAXPOSE_DATA", str(data))
    config = prior21.get_config(kind)
    config.update_from_flattened_dict({**SMALL, "codec": codec})
    job = prior_job(config)
    assert len(job.data.rotations) == 100, "50 of each file, of the subjects for training"

    def loss(params, key):
        return job.loss(params, key, job.example(jax.random.fold_in(key, 1), job.data))[0]

    keys = jax.random.split(jax.random.key(0), 16)
    slope = jax.jit(jax.grad(lambda p: jax.vmap(lambda k: loss(p, k))(keys).mean()))(job.params)
    post = np.asarray(slope["params"]["post"]["kernel"])
    assert np.isfinite(post).all()
    moving = np.asarray(job.statistics.spread).ravel() > 0
    assert (np.abs(post).max(0)[moving] > 0).all()
    save(tmp_path / "m.safetensors", job.export(job.params), dtype=jnp.float32)
    model = load(tmp_path / "m.safetensors")
    assert (model.spec.codec, model.spec.target) == (codec, "edm" if kind == "own" else "eps")
    jax.tree.map(np.testing.assert_array_equal, model.params, job.params)
    # the collars never move: of deviation 1 and spread 0, so that nothing is divided by 0
    assert not moving.reshape(21, -1)[COLLARS].any()
    pose = job.data.rotations[:5]
    np.testing.assert_allclose(model.decode(to_state(model, pose)), pose, atol=1e-3)


def test_the_normaliser_is_that_of_poses_and_their_mirror(data, monkeypatch):
    """So the y and z of the axes have mean 0 on both sides together, and left and right are alike."""
    monkeypatch.setenv("JAXPOSE_DATA", str(data))
    config = prior21.get_config()
    config.update_from_flattened_dict(SMALL)
    job = prior_job(config)
    mean, std, _ = (np.asarray(x) for x in job.statistics)
    poses = jnp.asarray(job.data.rotations)
    both = np.concatenate([poses, mirror_rotations(poses, SMPL_22)]).astype(np.float64)
    moving = np.delete(np.arange(21), COLLARS)
    np.testing.assert_allclose(mean[moving], both.mean(0)[moving], atol=1e-6)
    np.testing.assert_allclose(std[moving], both.std(0, ddof=1)[moving], rtol=1e-4)


def test_what_the_config_leaves_out_is_not_drawn(data, monkeypatch):
    monkeypatch.setenv("JAXPOSE_DATA", str(data))
    config = prior21.get_config()
    config.update_from_flattened_dict(SMALL)
    config.data.drop = ("cmu/a",)
    assert len(prior_job(config).data.rotations) == 50, "of hdm05 alone"
    config.data.leave_out = "nobody"
    with pytest.raises(ValueError, match="leave_out"):
        prior_job(config)
