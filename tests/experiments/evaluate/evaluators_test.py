"""What evaluators give to the library and print of it, where the library's part is one of known answers."""

import inspect
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
from shared import DATA, needs

from experiments.evaluate import bench, body, lifting, motions, prior, score, tasks, verdict, world
from experiments.evaluate.diffpose import Clips
from experiments.evaluate.harness import Row
from jaxpose.base import Hypotheses
from jaxpose.evaluation.generation import frechet_distance
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.anny_body import anny_body
from jaxpose.tasks.complete_rotations import PARTS

RNG = np.random.default_rng(0)


def rows(items):
    """Figures by the rows' names, without what is in brackets."""
    return {item.name.partition(" [")[0]: item.values for item in items if isinstance(item, Row)}


def test_a_prior_completes_what_is_hidden_beside_poses_that_are_near_in_the_rest(monkeypatch):
    legs = list(PARTS["legs"])
    assert np.flatnonzero(prior._known("legs") == 0).tolist() == sorted(legs)
    train = RNG.normal(size=(500, 21, 3))
    pose = train[7].copy()
    pose[legs] = 9  # far from all that was trained on
    np.testing.assert_array_equal(prior._nearest(train, pose[None], "legs")[0, 0, legs], train[7, legs])
    monkeypatch.setattr(prior, "_MESHES", 2)
    x, val, reference = (RNG.normal(0, 0.2, (30, 21, 3)).astype(np.float32) + mean for mean in (0, 0.5, 1))
    row = prior._generation_row(x, val, reference, x, anny_body())
    for name, real in (("fid_val", val), ("fid_train", reference)):
        assert row[name] == pytest.approx(frechet_distance(x.reshape(30, -1), real.reshape(30, -1)))


def test_standing_knees_are_those_of_straight_legs():
    """Of one who stands, with knees bent by 2 atan 0.1; nothing of one whose straight legs slant by 27 degrees."""
    heights, joints = {"pelvis": 1, "neck": 1.5}, np.zeros((2, 22, 3))
    for side in ("left", "right"):
        heights |= {f"{side}_hip": 0.9, f"{side}_knee": 0.5, f"{side}_ankle": 0.1}
    joints[:, [SMPL_22.joints.index(joint) for joint in heights], 1] = list(heights.values())
    joints[0, 4:6, 2], joints[1, 4:6, 2], joints[1, 7:9, 2] = 0.04, 0.2, 0.4
    assert prior._standing_knee(joints) == pytest.approx(2 * np.degrees(np.arctan(0.1)), abs=0.01)


def test_scores_of_poses_less_likely_than_clean_ones(monkeypatch):
    poses = RNG.uniform(0, 1, (60, 17, 3)).astype(np.float32)
    monkeypatch.setattr(score, "joint_sets", lambda *_: ({"clean": poses, "far": poses + 9}, {}))
    monkeypatch.setattr(score, "training_poses", lambda *_: poses)
    monkeypatch.setattr(score, "denoising_error", lambda _, x: x[:, 0, 0])
    spec = SimpleNamespace(space=SimpleNamespace(representation=None), name="none")
    model = SimpleNamespace(spec=spec, typicality=np.linspace(0, 1, 101))
    far = rows(score.score(model, score.Options(density=False)))["far (60)"]
    assert (far["auroc_denoising"], far["below_1"], far["above_99"]) == (1, 1, 0)


def test_a_verdict_counts_doubtful_results_of_right_and_of_wrong_input(monkeypatch):
    """Doubtful is what is low in the image: the third clip of three, and two of them turned over."""
    xy = np.repeat([[100.0, 100], [600, 120], [100, 900]], 2, 0)[:, None] * np.ones((17, 1))
    source = verdict.Source("a", xy, np.ones((6, 17)), np.tile([1, 1, 500.0, 500], (6, 1)), np.repeat(range(3), 2))
    monkeypatch.setattr(verdict, "_sources", lambda _: [source])
    lifted = Hypotheses(**{name: np.zeros((6,) * (axis + 1)) for name, axis in verdict._AXES.items()})
    monkeypatch.setattr(verdict, "lift", lambda *_, **__: lifted)

    def judged(_, *, keypoints, **how):
        low = keypoints[:, 0, 1] > 500
        return SimpleNamespace(doubtful=low, reliable=not low.any(), doubts={"low": low})

    monkeypatch.setattr(verdict, "summary", judged)
    found = rows(verdict.verdict(SimpleNamespace(spec=SimpleNamespace(name="none")), verdict.Options()))
    for name, share in (("a: right", 1 / 3), ("a: upside down", 2 / 3), ("all that is right", 1 / 3)):
        assert (found[name]["in_doubt"], found[name]["doubtful"]) == (pytest.approx(share), pytest.approx(share))


def test_a_filmed_clip_has_its_true_vertical_and_height_and_errors_of_its_share(monkeypatch):
    noise, joints = [], np.array([0, 1, 0]) + RNG.normal(0, 0.3, (600, 17, 3))
    monkeypatch.setattr(bench, "detector_errors", lambda *given: noise.append(given[2]) or 0 * given[2])
    clip = world._film(RNG, "a", joints, moving=False)
    np.testing.assert_allclose(clip.root @ clip.up + clip.height, joints[:, 0, 1], atol=1e-4)
    assert noise[0].std() == pytest.approx(1, abs=0.05)
    assert np.mean(noise[0][1:] * noise[0][:-1]) == pytest.approx(world._SHARE * world._LASTS, abs=0.05)


def test_tasks_are_given_what_their_settings_say(monkeypatch):
    truth, given = jnp.asarray(pose_oracle.draw(RNG, 4), jnp.float32), {"complete": [], "denoise": [], "lift": []}
    data = SimpleNamespace(key=jax.random.key(0), num=4, truth=truth, category=np.array(["a"] * 4))
    data.keypoints, data.confidence, data.intrinsics = truth[..., :2], jnp.ones((4, 17)), jnp.ones((4, 4))
    lifted = Hypotheses(jnp.stack([2 * truth] * 2), truth, None, None, None, noise=jnp.ones((4, 17)))
    for name, calls in given.items():
        monkeypatch.setattr(tasks, name, lambda *given, calls=calls, **how: calls.append((*given, how)) or lifted)
    monkeypatch.setattr(tasks, "generate", lambda *_, **__: truth)
    monkeypatch.setattr(tasks, "training_views", lambda *_: "training")
    monkeypatch.setattr(tasks, "generation_row", lambda *sets: {"sets": sets})
    monkeypatch.setattr(tasks, "timed", lambda run, *inputs: (run(*inputs), 1.0))
    options, makers = (
        tasks.Options(hypotheses=2, generated=100),
        (tasks.complete_3d, tasks.denoising, tasks.lifting, tasks.generation),
    )
    for make in makers:
        last = rows(make(pose_oracle.tiny(), data, options, "posterior"))
    assert last["generate, 100 poses, temperature 1"]["sets"] == (truth, truth, "training")
    for part, (_, _, poses, _) in zip(tasks.HIDDEN_PARTS, given["complete"], strict=True):
        shown = np.where(tasks.hidden_joints(part, 4)[..., None], np.nan, truth)
        np.testing.assert_array_equal(poses, shown)
    levels = [(how["num_hypotheses"], how["noise"]) for *_, how in given["denoise"]]
    assert levels == [(num, n) for level in tasks._NOISE for num, n in ((1, level), (50, level), (50, None))]
    assert [(calls[3] == 0).sum(1).tolist() for calls in given["lift"]][:2] == [[0] * 4, [2] * 4]


@needs(DATA)
def test_a_camera_of_the_walker_is_told_its_vertical_and_the_best_is_the_best(monkeypatch):
    film, told = bench.load_walker(), []
    view = bench.walker_view(film, film.name[0])

    def lifted(*_, up=None):
        told.append(up)
        poses = np.zeros((2, len(view.truth[::40]), 17, 3))
        poses[:, :, view.joints] = np.nan_to_num(view.truth[::40])
        return Hypotheses(jnp.asarray(poses).at[1].add(RNG.normal(size=poses[0].shape)), *[np.zeros(4)] * 4), 1.0

    monkeypatch.setattr(lifting, "lift_all", lambda *given: lifted(up=given[5]))
    monkeypatch.setattr(lifting, "about_hips", lambda *_: {})
    found = rows(lifting.walker(SimpleNamespace(capabilities={"vertical"}), lifting.Options(stride=40, hypotheses=2)))
    for up, R in zip(told[1::2], film.R_cam_world, strict=True):
        np.testing.assert_allclose(up, R @ [0, 0, 1])
    assert all(row["p_best_of_2_mm"] < 1 < row["p_mean_mm"] for row in found.values())


def test_a_detector_errs_alike_in_an_image_of_any_size_and_a_ratio_is_to_no_prior():
    exact = RNG.uniform(300, 700, (3, 1, 1, 25, 2))
    once, twice = (body.as_detected(np.random.default_rng(1), x)[0] for x in (exact, 2 * exact))
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-5)
    errors = {"none": np.full(4, 10.0), "dposer": np.full(4, 5.0)}
    assert body._against_none(0, errors, "dposer", np.arange(4))["ratio"] == [0.5] * 3


def test_live_motions_are_in_the_order_of_their_frames_and_a_gap_is_hidden(monkeypatch):
    def step(_, stream, xy, sure, camera):
        samples = 100 * jnp.arange(2)[:, None, None, None] + xy[:, :1, :1] + jnp.zeros((2, 5, 17, 3))
        return Hypotheses(samples, None, None, jnp.ones((5, 17)), None), stream

    def drawn(_, clips, *__):
        away = np.where(clips.confidence[..., :1] > 0, 0.1, 0.3) * (np.arange(17) > 0)
        return motions.Drawn(jnp.asarray(away[None, ..., None] + clips.truth), None)

    monkeypatch.setattr(motions, "step_stream", step)
    monkeypatch.setattr(motions, "start_stream", lambda *_, **__: 0)
    xy = jnp.arange(12.0)[:, None, None] * jnp.ones((17, 2))
    found = motions.live(2, None, None, xy, jnp.ones((12, 17)), jnp.ones((12, 4)))
    np.testing.assert_array_equal(found.samples[:, :, 3, 0], [np.arange(12), 100 + np.arange(12)])
    clips = Clips(None, np.ones((1, 60, 17)), None, np.zeros((1, 60, 17, 3)), None)
    monkeypatch.setattr(motions, "video_clips", lambda *_: clips)
    monkeypatch.setattr(motions, "released", SimpleNamespace(load=lambda _: None))
    monkeypatch.setattr(motions, "row_of", lambda *_: {})
    monkeypatch.setattr(motions, "drawn", drawn)
    model = SimpleNamespace(spec=SimpleNamespace(name="none"))
    assert rows(inspect.unwrap(motions.motions)(model, motions.Options()))["gap"]["ratio"] == pytest.approx(3)
