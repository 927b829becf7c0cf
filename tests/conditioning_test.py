"""Hierarchical masks: rates within binomial bounds, levels, and that nothing hidden is kept."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose.base import Condition
from jaxpose.conditioning import MaskRates, draw_joints, mask_condition
from jaxpose.geometry.skeleton import H36M_17

NUM = 20_000
FULL = Condition(jnp.ones((17, 3)), jnp.ones((17, 3)), jnp.ones(17))


def draws(rates, num=NUM):
    keys = jax.random.split(jax.random.key(0), num)
    return np.asarray(jax.jit(jax.vmap(lambda k: draw_joints(k, rates, H36M_17)))(keys))


def within_binomial(share, probability, num=NUM):
    return abs(share - probability) < 5 * np.sqrt(probability * (1 - probability) / num) + 1e-9


def test_joint_rates_of_the_three_levels_together():
    visible = draws(MaskRates(0.1, 0.1, 0.1, 0))
    assert within_binomial(visible[:, 5].mean(), 0.9**3)  # spec/gfpose.md, 4.1
    assert within_binomial(visible.all(-1).mean(), 0.9**23)


def test_pose_level_hides_all_or_nothing():
    visible = draws(MaskRates(0.3, 0, 0, 0))
    assert set(visible.sum(-1)) == {0.0, 17.0}
    assert within_binomial((visible.sum(-1) == 0).mean(), 0.3)


def test_part_level_hides_whole_parts_independently():
    visible = draws(MaskRates(0, 0.4, 0, 0))
    parts = np.stack([visible[:, list(p)] for p in H36M_17.parts[:4]])
    assert np.all(parts == parts[..., :1]), "a part is hidden as a whole"
    hidden = 1 - parts[..., 0]
    assert all(within_binomial(h.mean(), 0.4) for h in hidden)
    assert within_binomial((hidden[0] * hidden[1]).mean(), 0.16)


def test_joint_level_is_independent():
    visible = draws(MaskRates(0, 0, 0.2, 0))
    assert all(within_binomial(v, 0.8) for v in visible.mean(0))
    assert within_binomial((visible[:, 1] * visible[:, 2]).mean(), 0.64)


def test_depth_is_shown_at_its_rate_and_only_with_its_joint():
    keys = jax.random.split(jax.random.key(1), NUM)
    out = jax.vmap(lambda k: mask_condition(k, FULL, MaskRates(0, 0, 0.2, 0.3), H36M_17))(keys)
    shows_depth = np.asarray(out.mask[..., 2].max(-1))
    assert within_binomial(shows_depth.mean(), 0.3)
    assert np.all(np.asarray(out.mask[..., 2]) <= np.asarray(out.mask[..., 0]))


def test_nothing_hidden_keeps_its_value_and_nothing_hidden_returns():
    cond = Condition(jnp.full((17, 3), jnp.nan).at[:9].set(2.0), jnp.zeros((17, 3)).at[:9].set(1))
    for seed in range(20):
        out = mask_condition(jax.random.key(seed), cond, MaskRates(0.1, 0.2, 0.2, 0.5), H36M_17)
        assert np.all((np.asarray(out.value) != 0) == (np.asarray(out.mask) > 0))
        assert np.all(np.asarray(out.mask) <= np.asarray(cond.mask))


def test_bad_rate_is_named():
    with pytest.raises(ValueError, match=r"MaskRates.part must be in \[0, 1\], got 1.5"):
        draw_joints(jax.random.key(0), MaskRates(part=1.5), H36M_17)
