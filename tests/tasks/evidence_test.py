"""Evidence on joints as an input of lifting: what the network is told, and that nothing told is 0."""

import jax
import jax.numpy as jnp
import numpy as np
from random_params import random_params
from shared import refuses

from experiments.models.initial import widened
from jaxpose.base import Camera, Condition
from jaxpose.model import Model, Spec
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics, encode_track, tell_evidence, tell_vertical
from jaxpose.tasks.lift import lift, problem
from jaxpose.tasks.lift_video import lift_video

CAMERA = Camera(jnp.array([1000.0, 1000.0, 500.0, 500.0]))
PIXELS = jnp.asarray(np.random.default_rng(0).uniform(300, 700, (3, 17, 2)), jnp.float32)
APART = jnp.asarray(np.random.default_rng(1).uniform(0, 30, (3, 17, 1)), jnp.float32)
STATISTICS = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25))
UP = jnp.array([0.0, -1.0, 0.0])
SIZES = {"hidden": 32, "time_width": 8, "num_blocks": 1, "num_groups": 4, "dropout": 0.0}


def make(context, **network):
    spec = Spec(name="tiny", network=ScoreMLP(**SIZES, **network), context=context, target="edm", num_steps=2)
    return Model(random_params(spec), STATISTICS, spec)


def wide(model, more=17):
    spec = Spec(**{**vars(model.spec), "context": model.spec.context + more})
    return model.replace(spec=spec, params=widened(model.params, spec))


def drawn(model, **told):
    return lift(jax.random.key(1), model, PIXELS, camera=CAMERA, num_hypotheses=3, **told).samples


def told(model, pixels=PIXELS, camera=CAMERA, evidence=APART, confidence=None, **more):
    found = problem(jax.random.key(0), model, pixels, confidence, camera, evidence=evidence, **more)
    return np.asarray(found.cond.context)


def test_rows_of_zeros_change_no_draw_and_what_is_not_told_is_zero():
    """Nor does a narrow model take what it was not trained on."""
    narrow = make(20)
    before = drawn(narrow)
    np.testing.assert_allclose(drawn(wide(narrow), evidence=APART), before, atol=1e-6)
    np.testing.assert_allclose(drawn(narrow, evidence=APART), before, atol=1e-6)
    model = make(37)
    silent = drawn(model)
    np.testing.assert_allclose(drawn(model, evidence=APART * jnp.nan), silent, atol=1e-6)
    assert np.abs(drawn(model, evidence=APART) - silent).max() > 1e-4


def test_a_half_is_told_of_a_twentieth_of_the_person_s_extent():
    """Root mean square distance of the keypoints from their middle, in a camera that looks at them."""
    centred = PIXELS - PIXELS.mean(1, keepdims=True) + 500
    extent = np.sqrt(((np.asarray(centred) - 500) ** 2).sum((1, 2)) / 17)
    evidence = jnp.asarray(0.05 * extent)[:, None, None] * jnp.array([0.0, 1, 3] + [1] * 14)[:, None]
    found = told(make(37), centred, evidence=evidence)[:, 20:]
    np.testing.assert_allclose(found[:, :3], np.tile([1, 0.5, 0.25], (3, 1)), atol=1e-3)


def test_what_is_told_does_not_depend_on_the_size_of_the_image():
    twice = Camera(CAMERA.intrinsics * 2)
    np.testing.assert_allclose(told(make(37), PIXELS * 2, twice, APART * 2), told(make(37)), atol=1e-5)


def test_a_hidden_joint_and_an_unknown_number_are_0_beside_the_vertical():
    sure = jnp.ones((3, 17)).at[0, 4].set(0)
    found = told(make(37), evidence=APART.at[1, 5].set(jnp.nan), confidence=sure, up=UP)
    zero = np.argwhere(found[:, 20:] == 0).tolist()
    assert zero == [[0, 4], [1, 5]]
    np.testing.assert_array_equal(found[:, :20], told(make(20), evidence=None, confidence=sure, up=UP))


def test_evidence_of_another_number_of_joints_is_refused():
    refuses(r"evidence: needed \[3, 17, E\] as keypoints, got \[3, 16, 1\]", drawn, make(37), evidence=APART[:, :16])


def test_a_wider_network_of_windows_puts_out_the_same():
    """Its path stands before the evidence, which rows of zeros leave without effect."""
    sizes = {"num_frames": 3, "frame_width": 8, "frame_layers": 1, "num_heads": 2}
    narrow = make(23, **sizes)
    cond, view = encode_track(CAMERA.intrinsics, PIXELS, jnp.ones((3, 17)))
    both = tell_evidence(tell_vertical(cond, view, UP), view, CAMERA.intrinsics, APART)
    cond = tell_vertical(cond, view, UP)
    x = jax.random.normal(jax.random.key(0), (3, 17, 3))

    def out(model, cond: Condition):
        return np.asarray(model.predict_fn()(x, jnp.float32(0.5), cond).x0)

    np.testing.assert_allclose(out(wide(narrow), both), out(narrow, cond), atol=1e-5)
    model = make(40, **sizes)
    assert np.abs(out(model, both) - out(model, cond)).max() > 1e-4


def test_evidence_of_a_person_changes_that_person_s_motion_alone():
    """Rows of two people in turn: a track takes the evidence of its own rows."""
    model = make(40, num_frames=4, frame_width=8, frame_layers=1, num_heads=2)
    pixels, apart = (np.concatenate([np.asarray(x)] * 4) for x in (PIXELS, APART))
    frame, person = np.arange(12) // 2, np.arange(12) % 2

    def samples(evidence):
        clip = {"camera": CAMERA, "frame": frame, "person": person, "fps": 30.0, "evidence": evidence}
        return np.asarray(lift_video(jax.random.key(0), model, pixels, num_hypotheses=2, **clip).samples)

    moved = np.abs(samples(apart) - samples(np.where(person[:, None, None] == 1, 0, apart))).max((0, 2, 3))
    assert (moved[person == 1] > 1e-5).all()
    np.testing.assert_array_equal(moved[person == 0], 0)
