"""Denoising errors against plain loops over the linear denoisers of Gaussian laws; percentiles against ranks."""

import dataclasses

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
import rotation_oracle
from laws import gaussian, oracle
from scipy import linalg, stats
from shared import refuses

import jaxpose
from jaxpose.model import Spec
from jaxpose.networks.diffpose import DiffPose
from jaxpose.tasks import typicality as task

BASIS = np.kron(linalg.helmert(17), np.eye(3))  # orthonormal rows, of poses about their middle
NUM = 1000
CAMERA = jaxpose.Camera(jnp.array([1000.0, 1000.0, 500.0, 500.0]))


@pytest.fixture(scope="module")
def judge():
    """The law's own denoiser, with the quantiles of 1,000 poses of the law."""
    model = pose_oracle.make()
    joints = pose_oracle.draw(np.random.default_rng(1), NUM)
    error = np.asarray(task.denoising_error(model, jnp.asarray(joints, jnp.float32)), np.float64)
    return model.replace(typicality=jnp.asarray(np.quantile(error, np.linspace(0, 1, 201)), jnp.float32))


def by_loops(states, cov, shape, counts):
    """e of states [N, n] under N(0, cov): levels, draws and poses one by one; `counts` [n] says which numbers do."""
    levels = (0.05, 0.2, 0.8, 3.2)
    z = np.asarray(jax.random.normal(jax.random.key(0), (4, 4, 1, *shape)), np.float64).reshape(4, 4, -1)
    found = []
    for x0 in states:
        total = 0.0
        for level, draws in zip(levels, z, strict=True):
            denoiser = cov @ np.linalg.inv(cov + level**2 * np.eye(len(cov)))
            away = [((denoiser @ (x0 + level * draw) - x0)[counts] ** 2).sum() for draw in draws]
            total += np.log(4) * np.mean(away) / level**2  # the step of -2 log level is 2 log 4
        found.append(total)
    return found


def test_the_error_of_joints_is_that_of_a_plain_loop_wherever_they_stand():
    joints = pose_oracle.draw(np.random.default_rng(0), 5)
    states = (joints - joints.mean(1, keepdims=True) - pose_oracle.MEAN) / pose_oracle.UNIT
    cov = pose_oracle.covariance() / pose_oracle.UNIT**2
    got = task.denoising_error(pose_oracle.make(), jnp.asarray(joints, jnp.float32))
    np.testing.assert_allclose(got, by_loops(states.reshape(5, 51), cov, (17, 3), slice(None)), rtol=2e-3)


def test_the_error_of_rotations_leaves_out_what_never_moved():
    still, law_cov = np.array([5, 40]), rotation_oracle.COVARIANCE.copy()
    law_cov[still] = law_cov[:, still] = 0

    class Partly(rotation_oracle.Oracle):
        def predict_fn(self):
            return oracle(gaussian(np.zeros((21, 3)), law_cov), self.spec.sde())

    statistics = rotation_oracle.statistics()._replace(spread=jnp.ones(63).at[still].set(0).reshape(21, 3))
    model = flax.struct.dataclass(Partly)({}, statistics, rotation_oracle.spec())
    poses = rotation_oracle.draw(0, 3)
    states = ((poses - rotation_oracle.MEAN) / rotation_oracle.STD).reshape(3, 63)
    expected = by_loops(states, law_cov, (21, 3), np.setdiff1d(np.arange(63), still))
    poses[1].ravel()[5] += 0.5
    got = task.denoising_error(model, jnp.asarray(poses, jnp.float32))
    np.testing.assert_allclose(got, expected, rtol=2e-3)


def test_the_error_is_a_negative_log_density_up_to_a_constant():
    """Of the law after noise of 0.025, where the interval of the first level begins: poses differ by as many nats."""
    rng = np.random.default_rng(4)
    joints = pose_oracle.draw(rng, 200) + rng.normal(0, np.linspace(0, 0.1, 200)[:, None, None], (200, 17, 3))
    middle = ((joints - joints.mean(1, keepdims=True)) - pose_oracle.MEAN).reshape(200, 51)
    cov = BASIS @ pose_oracle.covariance() @ BASIS.T + (0.025 * pose_oracle.UNIT) ** 2 * np.eye(48)
    nats = -stats.multivariate_normal(np.zeros(48), cov).logpdf(middle @ BASIS.T)
    error = np.asarray(task.denoising_error(pose_oracle.make(), jnp.asarray(joints, jnp.float32)))
    fit = stats.linregress(nats, error)
    assert fit.rvalue > 0.99
    assert 0.75 < fit.slope < 1.25


def test_fresh_poses_of_the_law_are_uniform_and_corrupted_ones_below(judge):
    """Bounds of five deviations: a decile's count is binomial, and so is the sample that the quantiles are of."""
    rng = np.random.default_rng(2)
    fresh = pose_oracle.draw(rng, NUM)
    got = np.asarray(jaxpose.typicality(judge, jnp.asarray(fresh, jnp.float32)))
    counts = np.histogram(got, np.linspace(0, 100, 11))[0]
    assert counts.sum() == NUM
    assert np.abs(counts - NUM / 10).max() < 5 * np.sqrt(2 * NUM * 0.1 * 0.9)
    assert np.mean(jaxpose.out_of_distribution(got)) < 0.01 + 5 * np.sqrt(2 * 0.01 * 0.99 / NUM)
    noisy = np.asarray(jaxpose.typicality(judge, jnp.asarray(fresh + rng.normal(0, 0.05, fresh.shape), jnp.float32)))
    assert (noisy <= got).all()
    assert np.mean(noisy < got) > 0.99
    assert np.mean(jaxpose.out_of_distribution(noisy)) > 0.99


def test_percentiles_and_flags_of_given_errors(judge, monkeypatch):
    """Against the ranks of the sample; 100 below all of them and 0 above; NaN has no percentile, and is flagged."""
    sample = np.asarray(np.random.default_rng(0).gumbel(20, 9, NUM), np.float32)
    model = judge.replace(typicality=jnp.asarray(np.quantile(sample, np.linspace(0, 1, 201)), jnp.float32))
    monkeypatch.setattr(task, "denoising_error", lambda model, error: error)
    np.testing.assert_allclose(task.typicality(model, sample), 100 - stats.rankdata(sample) / 10, atol=0.5)
    np.testing.assert_array_equal(task.typicality(model, jnp.array([-1e6, 1e6, jnp.nan])), [100, 0, np.nan])
    flagged = task.out_of_distribution(jnp.array([0.0, 0.99, 1.0, 100.0, jnp.nan]))
    np.testing.assert_array_equal(flagged, [True, True, False, False, True])
    np.testing.assert_array_equal(task.out_of_distribution(np.array([3.0, 7.0]), 5.0), [True, False])


@pytest.mark.slow
def test_hypotheses_carry_the_typicality_of_their_mean_where_the_model_can_tell():
    """Of seven rows, which a program of eight serves; not inside another jit, nor without quantiles."""
    model = pose_oracle.tiny()
    joints = pose_oracle.draw(np.random.default_rng(3), 7)
    error = task.denoising_error(model, jnp.asarray(joints, jnp.float32))
    known = model.replace(typicality=jnp.linspace(0.1 * float(error.min()), 2 * float(error.max()), 101))
    uv_px = jnp.asarray(500 + 1000 * joints[..., :2] / joints[..., 2:], jnp.float32)

    def lifted(model):
        return jaxpose.lift(jax.random.key(0), model, uv_px, camera=CAMERA, num_hypotheses=3)

    found = lifted(known)
    np.testing.assert_allclose(found.typicality, task.typicality(known, found.mean), atol=1e-2)
    np.testing.assert_array_equal(found.out_of_distribution, np.asarray(found.typicality) < 1)
    assert ((found.typicality > 0) & (found.typicality < 100)).all(), "quantiles reach around the poses"
    assert jax.jit(lifted)(known).typicality is None
    without = lifted(model)
    assert without.typicality is None
    assert without.out_of_distribution is None


def test_the_error_is_the_same_in_double_precision(judge):
    joints = pose_oracle.draw(np.random.default_rng(6), 4)
    single = np.asarray(task.denoising_error(judge, jnp.asarray(joints, jnp.float32)))
    with jax.enable_x64(True):
        double = np.asarray(task.denoising_error(judge, joints))
    np.testing.assert_allclose(double, single, rtol=1e-4)


def test_a_pose_with_nan_has_no_error_and_others_keep_theirs(judge):
    joints = pose_oracle.draw(np.random.default_rng(5), 3).astype(np.float32)
    broken = joints.copy()
    broken[1, 4] = np.nan
    whole, got = (np.asarray(task.denoising_error(judge, jnp.asarray(x))) for x in (joints, broken))
    np.testing.assert_array_equal(np.isnan(got), [False, True, False])
    np.testing.assert_allclose(got[[0, 2]], whole[[0, 2]], rtol=1e-5)


def test_what_cannot_be_judged_is_refused(judge):
    joints = jnp.zeros((2, 17, 3))
    refuses(r"has no quantiles.*experiments.models.quantiles", task.typicality, pose_oracle.make(), joints)
    with pytest.raises(ValueError, match=r"pose: needed \[N, 17, 3\] in the order of h36m17, got \[2, 16, 3\]"):
        task.typicality(judge, joints[:, :16])
    with pytest.raises(ValueError, match=r"pose: needed \[N, 21, 3\], got \[2, 63\]"):
        task.denoising_error(rotation_oracle.correlated(), jnp.zeros((2, 63)))
    few = judge.replace(spec=dataclasses.replace(judge.spec, times=(0.9, 0.3)))
    other = judge.replace(spec=Spec("d", network=DiffPose()))
    for model, name in ((few, "a few-step model"), (other, "a DiffPose model")):
        assert not task.can_judge(model)
        refuses(f"typicality needs a model that knows the score .*, {name}", task.typicality, model, joints)
