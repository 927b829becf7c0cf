"""Log densities of poses against scipy's Gaussians on models whose law is known."""

import flax.struct
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
import rotation_oracle
from laws import gaussian, oracle
from scipy import linalg, special, stats
from scipy.spatial.transform import Rotation
from shared import refuses

from jaxpose.base import Condition
from jaxpose.spaces.person import View
from jaxpose.tasks import score

# orthonormal rows about the middle, in coordinates that are not ours
BASIS = np.kron(linalg.helmert(17), np.eye(3))
R = stats.special_ortho_group(3, seed=1).rvs()


class Shifted(pose_oracle.Oracle):
    """The law moved by what the condition says, in units of state."""

    def predict_fn(self):
        predict, sde = super().predict_fn(), self.spec.sde()

        def moved(x, t, cond):
            opinion = predict(x - sde.alpha(t) * cond.value, t)
            return opinion._replace(x0=opinion.x0 + cond.value)

        return moved


def density_in_metres(joints, mean=pose_oracle.MEAN):
    """Of the pose law after the noise of LEVEL, in 48 coordinates about the middle."""
    noise = (score.LEVEL * pose_oracle.UNIT) ** 2
    cov = BASIS @ pose_oracle.covariance() @ BASIS.T + noise * np.eye(48)
    return stats.multivariate_normal(np.zeros(48), cov).logpdf((joints - mean).reshape(-1, 51) @ BASIS.T)


def test_joints_have_the_density_of_their_law_in_metres_wherever_they_stand():
    """With 30 steps, in blocks of which the last is not full; the law's poses stand 3 m away."""
    joints = pose_oracle.draw(np.random.default_rng(0), 35)
    model = pose_oracle.make()
    got = score.log_density(model, jnp.asarray(joints, jnp.float32), num_steps=30)
    assert got.shape == (35,)
    np.testing.assert_allclose(got, density_in_metres(joints), atol=0.05)


@pytest.mark.slow
def test_given_keypoints_it_is_the_density_of_that_condition_in_camera_axes():
    """A view turns the axes, which changes no volume."""
    plain = pose_oracle.make()
    model = flax.struct.dataclass(Shifted)({}, plain.statistics, plain.spec)
    rng = np.random.default_rng(3)
    plain_joints = pose_oracle.draw(rng, 3)
    shift = rng.normal(0, 0.2, (3, 17, 3))
    shift -= shift.mean(1, keepdims=True)
    cond = Condition(jnp.asarray(shift, jnp.float32), jnp.ones((3, 17, 3)), jnp.ones((3, 17)))
    joints = plain_joints + pose_oracle.UNIT * shift  # likely given the condition alone
    view = View(jnp.broadcast_to(jnp.asarray(R, jnp.float32), (3, 3, 3)), jnp.zeros((3, 2)), jnp.ones(3))
    # camera axes: R turns them into view axes
    got = score.log_density(model, jnp.asarray(joints @ R, jnp.float32), cond, view, num_steps=30)
    np.testing.assert_allclose(got, density_in_metres(plain_joints), atol=0.05)


def test_all_round_is_the_mean_density_over_turns_about_the_vertical(monkeypatch):
    """Turns of 120 degrees by scipy; the density itself stands in for the flow's."""
    joints = pose_oracle.draw(np.random.default_rng(1), 2)
    model = pose_oracle.make()
    monkeypatch.setattr(score, "log_density", lambda model, x, **_: jnp.asarray(density_in_metres(np.asarray(x))))
    each = [density_in_metres(joints @ Rotation.from_euler("y", a, degrees=True).as_matrix().T) for a in (0, 120, 240)]
    got = score.log_density_all_round(model, jnp.asarray(joints, jnp.float32), num_views=3)
    np.testing.assert_allclose(got, special.logsumexp(each, 0) - np.log(3), rtol=1e-4)


def test_rotations_have_the_density_of_their_law_in_radians_without_what_never_moves():
    """Deviations of 0.1 to 0.3 rad, two numbers that stand still in training, one of them elsewhere here."""
    still = np.array([5, 40])
    moving = np.setdiff1d(np.arange(63), still)
    law_cov = rotation_oracle.COVARIANCE.copy()
    law_cov[still] = law_cov[:, still] = 0

    class Partly(rotation_oracle.Oracle):
        def predict_fn(self):
            return oracle(gaussian(np.zeros((21, 3)), law_cov), self.spec.sde())

    spread = jnp.ones(63).at[still].set(0).reshape(21, 3)
    statistics = rotation_oracle.statistics()._replace(spread=spread)
    model = flax.struct.dataclass(Partly)({}, statistics, rotation_oracle.spec())
    poses = rotation_oracle.draw(0, 4)
    std = rotation_oracle.STD.ravel()[moving]
    cov = std[:, None] * (law_cov[np.ix_(moving, moving)] + score.LEVEL**2 * np.eye(61)) * std
    away = (poses - rotation_oracle.MEAN).reshape(4, 63)[:, moving]
    poses[2].ravel()[5] += 0.5
    got = score.log_density(model, jnp.asarray(poses, jnp.float32), num_steps=30)
    np.testing.assert_allclose(got, stats.multivariate_normal(np.zeros(61), cov).logpdf(away), atol=0.05)


def test_what_has_no_density_is_refused():
    model = pose_oracle.make()
    joints = jnp.zeros((2, 17, 3))
    refuses("pose 1 of 2 has a missing", score.log_density, model, joints.at[1, 3].set(jnp.nan))
    refuses(r"needed \[N, 17, 3\]", score.log_density, model, joints[:, :16])
    refuses("cond, view: needed both, of 2 detections", score.log_density, model, joints, Condition(joints, joints))
    refuses("num_views: needed at least 1, got 0", score.log_density_all_round, model, joints, num_views=0)
    refuses("turns by more than 2 pi", score.log_density, rotation_oracle.correlated(), jnp.full((1, 21, 3), 90.0))
    with pytest.raises(ValueError, match="takes none"):
        score.log_density(rotation_oracle.correlated(), jnp.zeros((1, 21, 3)), Condition(joints, joints))
    uneven = model.replace(statistics=model.statistics._replace(std=jnp.ones((17, 3)).at[0].set(2.0)))
    refuses("one unit for all coordinates", score.log_density, uneven, joints)
