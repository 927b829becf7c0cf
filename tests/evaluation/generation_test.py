"""Sets against sets: the original's numbers, brute force in numpy and scipy, closed forms and invariances."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist, pdist
from scipy.spatial.transform import Rotation
from shared import BENCH, DATA, GOLDEN, needs

from jaxpose.datasets.mocap import load_mocap
from jaxpose.evaluation import generation as g
from jaxpose.evaluation.protocols import load_lifting_bench
from jaxpose.geometry.skeleton import H36M_17

FRAMES = BENCH / "val_frames.npz"


def features(seed, num, width=6, shift=0.0):
    return (np.random.default_rng(seed).normal(size=(num, width)) + shift).astype(np.float32)


def brute(real, fake, k):
    """The four figures from full distance matrices in float64."""
    between = cdist(real.astype(np.float64), fake.astype(np.float64))
    real_radius, fake_radius = (
        np.sort(cdist(x.astype(np.float64), x.astype(np.float64)), 1)[:, k] for x in (real, fake)
    )
    inside = between < real_radius[:, None]
    recall = (between < fake_radius[None]).any(1).mean()
    return inside.any(0).mean(), recall, inside.sum(0).mean() / k, (between.min(1) < real_radius).mean()


def test_figures_of_the_original():
    with np.load(GOLDEN / "dposer/io.npz") as z:
        golden = {k.removeprefix("metric/"): z[k] for k in z.files if k.startswith("metric/")}
    np.testing.assert_allclose(g.apd(golden["joints"]), golden["apd"], rtol=2e-6)
    np.testing.assert_allclose(g.neighbour_metrics(golden["real"], golden["fake"]), golden["prdc"], atol=1e-6)
    # 60 and 80 points in 63 dimensions: the original takes the root of a singular product
    np.testing.assert_allclose(g.frechet_distance(golden["real"], golden["fake"]), golden["fid"], rtol=1e-5)


def test_apd_equals_all_pairs_one_by_one():
    poses = np.random.default_rng(0).normal(size=(40, 5, 3)).astype(np.float32)
    pairs = np.mean([pdist(poses[:, j].astype(np.float64)).mean() for j in range(5)])
    np.testing.assert_allclose(g.apd(poses), pairs, rtol=1e-6)


def test_frechet_distance_equals_scipy():
    rng = np.random.default_rng(1)
    a, b = (
        rng.normal(size=(300, 8)) @ rng.normal(size=(8, 8)) + 1,
        rng.normal(size=(200, 8)) @ rng.normal(size=(8, 8)),
    )
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    np.testing.assert_allclose(g.frechet_distance(a, b), expected, rtol=1e-9)
    np.testing.assert_allclose(g.frechet_distance(b, a), expected, rtol=1e-9)
    turn = Rotation.random(random_state=1).as_matrix()
    np.testing.assert_allclose(
        g.frechet_distance(a[:, :3] @ turn, b[:, :3] @ turn), g.frechet_distance(a[:, :3], b[:, :3]), rtol=1e-9
    )


@pytest.mark.parametrize("num", [500, 12])  # 12 points in 20 dimensions: singular
def test_frechet_distance_of_a_moved_and_enlarged_set(num):
    """N(m, S) against N(c m + d, c^2 S): |(1 - c) m - d|^2 + (1 - c)^2 tr S."""
    a = np.random.default_rng(2).normal(size=(num, 20)) + 3
    moved = 1.7 * a + np.arange(20)
    expected = ((0.7 * a.mean(0) + np.arange(20)) ** 2).sum() + 0.7**2 * np.cov(a, rowvar=False).trace()
    np.testing.assert_allclose(g.frechet_distance(a, moved), expected, rtol=1e-7)  # sqrt of 0 +- rounding
    np.testing.assert_allclose(g.frechet_distance(a, a[::-1]), 0, atol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 10])
def test_neighbours_equal_brute_force(k):
    real, fake = features(3, 150), 1.2 * features(4, 90, shift=0.7)
    fake[7], real[20:26] = fake[8], real[20]  # copies: balls that are small or empty
    ours = g.neighbour_metrics(real, fake, k)
    np.testing.assert_allclose(ours, brute(real, fake, k), atol=1e-6)
    assert 0 < min(ours) <= max(ours[:2]) < 1


def test_a_set_in_another_order_is_perfect_and_one_elsewhere_worthless():
    real = features(5, 150)
    np.testing.assert_allclose(g.neighbour_metrics(real, real[::-1]), 1, atol=1e-6)
    np.testing.assert_array_equal(g.neighbour_metrics(real, real[::-1] + 1000), 0)


def test_swapping_the_sets_swaps_precision_and_recall_and_turning_them_changes_nothing():
    real, fake = features(6, 150), features(7, 90, shift=0.5)
    there, back = g.neighbour_metrics(real, fake), g.neighbour_metrics(fake, real)
    assert (there.precision, there.recall) == (back.recall, back.precision)
    turn = np.linalg.qr(features(8, 6))[0]
    np.testing.assert_allclose(g.neighbour_metrics(3 * real @ turn + 1, 3 * fake @ turn + 1), there, atol=1e-6)


def test_a_generator_of_one_mode_of_two_is_precise_and_covers_half():
    real = np.concatenate([features(9, 150), features(10, 150, shift=50.0)])
    ours = g.neighbour_metrics(real, features(11, 300))
    assert ours.precision > 0.7
    assert 0.35 < ours.recall <= 0.5
    assert 0.35 < ours.coverage <= 0.5


@pytest.mark.parametrize("k", [1, 2, 4, 9])
def test_the_kth_smallest_counts_repeats(k):
    values = np.random.default_rng(k).integers(0, 6, size=(50, 9)).astype(np.float32)
    ours = [g._kth_smallest(jnp.asarray(row), k) for row in values[:10]]
    np.testing.assert_array_equal(ours, np.sort(values[:10], 1)[:, k - 1])


def test_the_nearest_pose_equals_brute_force():
    rng = np.random.default_rng(12)
    samples, reference = (rng.normal(size=(n, 17, 3)).astype(np.float32) for n in (37, 60))
    between = np.linalg.norm(samples[:, None].astype(np.float64) - reference[None], axis=-1).mean(-1)
    np.testing.assert_allclose(g.nearest_distance(samples, reference), between.min(1), rtol=1e-6)


def test_a_copy_is_at_its_distance_even_when_that_is_a_tenth_of_a_millimetre():
    """Where a matrix product in float32 would say about a millimetre."""
    reference = np.random.default_rng(13).normal(size=(60, 17, 3)).astype(np.float32)
    samples = reference[:37].copy()
    samples[:, 4, 0] += 1e-4
    np.testing.assert_allclose(g.nearest_distance(samples, reference), 1e-4 / 17, rtol=5e-3)
    np.testing.assert_array_equal(g.nearest_distance(reference[:37], reference), 0)


def turned(poses, angle):
    return np.einsum("nij,nkj->nki", Rotation.from_rotvec(angle[:, None] * [0, 1, 0]).as_matrix(), poses)


def test_heading_is_the_turn_that_scipy_undoes():
    rng = np.random.default_rng(14)
    poses = rng.normal(size=(37, 17, 3))
    left, right = (H36M_17.joints.index(f"{side}_hip") for side in ("left", "right"))
    poses[:, left, 2] = poses[:, right, 2]
    poses[:, left, 0] = poses[:, right, 0] + 0.3  # these head the right way already
    angle = rng.uniform(-np.pi, np.pi, 37)
    aligned = g.align_heading(turned(poses, angle).astype(np.float32))
    np.testing.assert_allclose(aligned, poses, atol=3e-6)


def test_a_vertical_hip_line_has_no_heading():
    pose = np.random.default_rng(15).normal(size=(17, 3)).astype(np.float32)
    pose[4] = pose[1] + np.array([0, 0.3, 0], np.float32)
    np.testing.assert_array_equal(g.align_heading(pose), pose)


@pytest.fixture(scope="module")
def people():
    """180 bodies of one size, in poses of their own: noise on a standing figure, roots anywhere."""
    rng = np.random.default_rng(16)
    figure = rng.normal(size=(1, 17, 3)) * 0.3
    figure[0, [1, 4]] = [[-0.1, 0.0, 0.0], [0.1, 0.0, 0.0]]
    poses = figure + 0.05 * rng.normal(size=(180, 17, 3)) + rng.normal(size=(180, 1, 3))
    return poses.astype(np.float32)


def test_held_out_poses_in_place_of_samples_reach_their_own_yardstick(people):
    val, train = people[:60], people[60:120]
    row = g.generation_row(val[::-1], val, train)
    ones = [prefix + name for prefix in ("", "heading_") for name in g.Neighbours._fields]
    np.testing.assert_allclose([row[name] for name in ones], 1, atol=1e-6)
    np.testing.assert_allclose([row["frechet_cm2"], row["heading_frechet_cm2"]], 0, atol=1e-3)
    yardsticks = [name for name in row if name.startswith("val_")]
    assert len(yardsticks) > 20
    for name in yardsticks:
        np.testing.assert_allclose(row[name], row[name.removeprefix("val_")], rtol=1e-4, atol=1e-9, err_msg=name)
    relative = val - val[:, :1]
    direct = np.linalg.norm(relative[:, None] - relative[None], axis=-1).mean(-1).sum() / (60 * 59)
    np.testing.assert_allclose(row["apd_mm"], 1000 * direct, rtol=1e-5)
    assert row["num_samples"] == 60
    assert all(type(value) is float for value in row.values())


def test_turned_samples_change_only_what_reads_the_heading(people):
    val, train, samples = np.split(people, 3)
    there = g.generation_row(samples, val, train)
    angle = np.random.default_rng(17).uniform(-np.pi, np.pi, 60)
    row = g.generation_row(turned(samples, angle), val, train)
    assert row["precision"] < 0.5
    assert row["frechet_cm2"] > 100
    free = [name for name in row if name not in ("apd_mm", "frechet_cm2", *g.Neighbours._fields)]
    for name in free:
        np.testing.assert_allclose(row[name], there[name], rtol=1e-3, atol=0.02, err_msg=name)
    copies = g.generation_row(turned(train, angle), val, train)
    assert copies["nearest_mm_p95"] < 0.01 < there["nearest_mm_p05"]


@needs(FRAMES, DATA / "mocap/cmu.npz")
def test_real_people_are_plausible_and_their_reflections_are_not():
    """Subjects that are not in the reference; reflected with their labels as they were, their knees are backwards."""
    train = load_mocap(DATA, "train").joints[::40]
    val = load_lifting_bench(FRAMES).joints_cam
    real = g.bone_plausibility(val, train), g.angle_plausibility(val, train)
    assert real[0].plausible > 0.9
    assert real[1].plausible > 0.8
    assert g.angle_plausibility(val * np.array([-1, 1, 1], np.float32), train).plausible < 0.2
    assert g.bone_plausibility(1.25 * val, train).plausible < 0.1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x, y: g.apd(x), r"samples: needed \[N, J, D\] with N >= 2, got \[20, 6\]"),
        (lambda x, y: g.apd(y[:1]), r"samples: needed .* got \[1, 5, 3\]"),
        (lambda x, y: g.frechet_distance(x, x[:, :5]), "a and b must agree in all axes but the first"),
        (lambda x, y: g.neighbour_metrics(x, x[:3]), r"k must be in 1\.\.2, .* got 3"),
        (lambda x, y: g.neighbour_metrics(x, x, 0), r"k must be in 1\.\.19, .* got 0"),
        (lambda x, y: g.neighbour_metrics(x, x * np.nan), "fake: needed finite numbers, got 20 of 20 rows"),
        (lambda x, y: g.nearest_distance(y, y[:, :4]), "samples and reference must agree"),
        (lambda x, y: g.generation_row(y, y, y * np.nan), "reference_train: needed finite numbers, got 20 of 20"),
    ],
)
def test_what_is_not_a_set_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(features(18, 20), np.ones((20, 5, 3), np.float32))
