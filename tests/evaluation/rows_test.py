"""Every number of the rows against plain loops: lifting, hidden parts, denoising, GFPose, generated sets."""

import by_hand
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from jaxpose.evaluation import protocols
from jaxpose.evaluation.generation import generation_row
from jaxpose.evaluation.protocols import denoising_row, hidden_row
from jaxpose.geometry.measures import ANGLES, joint_angles
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.originals.evaluation.h36m import gfpose_row

HYPOTHESES, CATEGORY = 13, ["walk", "dance", "walk", "walk"]  # 13: the first 10 are not all of them


@pytest.fixture(scope="module")
def drawn():
    """Hypotheses [13, 4, 17, 3] of truths [4, 17, 3]: 5 m away, off by 5 to 15 cm, the last ones nearest."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.3, (4, 17, 3)) + np.array([0.5, 0, 5])
    common = rng.normal(0, 0.05, truth.shape)
    width = np.linspace(0.15, 0.05, HYPOTHESES)[:, None, None, None]
    return (truth + common + width * rng.normal(size=(HYPOTHESES, 4, 17, 3))).astype(np.float32), truth.astype(
        np.float32
    )


def test_lifting_row_equals_plain_loops(drawn):
    samples, truth = drawn
    row = protocols.lifting_row(samples, truth, np.array(CATEGORY))
    expected = by_hand.lifting(samples, truth, CATEGORY)
    assert set(row) == set(expected)
    assert expected["best_of_10_mm"] > 1.05 * expected["best_of_13_mm"], "or the two could be mixed up"
    assert row.pop("category_mean_mm") == pytest.approx(expected.pop("category_mean_mm"), rel=1e-5)
    assert row == pytest.approx(expected, rel=1e-4)


def test_lifting_row_with_the_radius_that_a_result_tells(drawn):
    samples, truth = drawn
    radius = np.random.default_rng(1).uniform(0.02, 0.2, (4, 17)).astype(np.float32)
    row = protocols.lifting_row(samples, truth, np.array(CATEGORY), radius_90=radius)
    expected = by_hand.calibration(by_hand.relative(samples), by_hand.relative(truth), radius)
    assert 0.1 < expected["radius_coverage_90"] < 0.9
    assert {k: row[k] for k in expected} == pytest.approx(expected, rel=1e-5)


def test_hidden_row_equals_plain_loops(drawn):
    """Over the hidden joints as they stand, no root aligned; each pose hides joints of its own."""
    samples, truth = drawn
    hidden = np.random.default_rng(2).random((4, 17)) < 0.4
    row = hidden_row(samples, truth, hidden)
    error = lambda pose, n: by_hand.distance(pose[hidden[n]], truth[n][hidden[n]])  # noqa: E731
    each = np.array([[1000 * error(samples[h, n], n) for n in range(4)] for h in range(HYPOTHESES)])
    mean = samples.astype(np.float64).mean(0)
    assert row == pytest.approx(
        {
            "mean_mm": np.mean([1000 * error(mean[n], n) for n in range(4)]),
            "single_mm": each.mean(),
            "best_of_10_mm": each[:10].min(0).mean(),
            "best_of_13_mm": each.min(0).mean(),
        },
        rel=1e-4,
    )


def test_denoising_row_equals_plain_loops(drawn):
    samples, truth = drawn
    noisy = truth + np.random.default_rng(3).normal(0, 0.1, truth.shape).astype(np.float32)
    row = denoising_row(noisy, samples, truth)
    expected, mean = {}, samples.astype(np.float64).mean(0)
    for when, poses in (("before", noisy), ("after", mean)):
        for name, change in (("", by_hand.relative), ("_as_given", np.asarray)):
            errors = [by_hand.distance(p, g) for p, g in zip(change(poses), change(truth), strict=True)]
            expected[f"{when}{name}_mm"] = 1000 * np.mean(errors)
    for name in ("", "_as_given"):
        expected[f"ratio{name}"] = expected[f"after{name}_mm"] / expected[f"before{name}_mm"]
    expected["ece"] = by_hand.calibration(samples.astype(np.float64), truth.astype(np.float64))["ece"]
    assert row == pytest.approx(expected, rel=1e-4)


def test_gfpose_row_equals_plain_loops(drawn):
    samples, truth = (np.asarray(x, np.float64) for x in drawn)
    action = np.array([2, 5, 2, 2])
    row = gfpose_row(*drawn, action)
    rooted, rooted_truth = by_hand.relative(samples), by_hand.relative(truth)
    mean = rooted.mean(0)

    def each(error):
        return np.array([[error(h, n) for n in range(4)] for h in range(HYPOTHESES)])

    turned, mirrored = (
        each(lambda h, n, m=m: by_hand.distance(by_hand.similar(samples[h, n], truth[n], m), truth[n]))
        for m in (False, True)
    )
    absolute = each(lambda h, n: by_hand.distance(samples[h, n], truth[n]))
    honest = each(lambda h, n: by_hand.distance(rooted[h, n], rooted_truth[n]))
    per_pose = {
        "mpjpe_gfpose_mm": absolute.min(0),
        "p_mpjpe_gfpose_mm": mirrored.min(0),
        "mpjpe_best_mm": honest.min(0),
        "mpjpe_single_mm": honest.mean(0),
        "mpjpe_mean_mm": [by_hand.distance(mean[n], rooted_truth[n]) for n in range(4)],
        "p_mpjpe_best_mm": turned.min(0),
        "p_mpjpe_single_mm": turned.mean(0),
        "p_mpjpe_mean_mm": [by_hand.distance(by_hand.similar(mean[n], truth[n]), truth[n]) for n in range(4)],
    }
    for name, values in per_pose.items():
        values = 1000 * np.asarray(values)
        assert row[name] == pytest.approx((values[[0, 2, 3]].mean() + values[1]) / 2, rel=1e-4), name
    spread = 1000 * rooted[:, :, 1:].std(0).mean((0, 1))
    np.testing.assert_allclose([row["diversity_mm"][axis] for axis in "xyz"], spread, rtol=1e-4)
    assert (row["hypotheses"], row["poses"]) == (HYPOTHESES, 4)


def headed(poses):
    """Turned about y until left hip minus right hip points to +x, z apart from y: by angles."""
    result = []
    for pose in poses:
        line = pose[H36M_17.joints.index("left_hip")] - pose[H36M_17.joints.index("right_hip")]
        a = np.arctan2(line[2], line[0])
        turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        result.append(pose @ turn.T)
    return np.array(result)


def frechet(a, b):
    s, t = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    return ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)


def bones_of(poses):
    """Lengths of every bone, those of the left and of the right side in equal order."""
    length = {
        H36M_17.joints[j]: np.linalg.norm(poses[:, j] - poses[:, parent], axis=-1)
        for j, parent in enumerate(H36M_17.parents)
        if parent >= 0
    }
    sides = [
        [length[f"{side}_{name}"] for name in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")]
        for side in ("left", "right")
    ]
    return np.array([length[name] for name in ("spine", "thorax", "neck_nose", "head")]), *map(np.array, sides)


def test_generation_row_equals_full_matrices_and_counting():
    """80 bodies each, so that covariances of 48 numbers are regular; the samples' forearms and noise differ."""
    rng = np.random.default_rng(4)
    figure = rng.normal(size=(1, 17, 3)) * 0.3
    sets = [figure + w * rng.normal(size=(80, 17, 3)) + rng.normal(size=(80, 1, 3)) for w in (0.06, 0.05, 0.05)]
    sets[0][:, H36M_17.joints.index("left_wrist"), 0] += 0.1
    sets = [x.astype(np.float32) for x in sets]
    row = generation_row(*sets)
    samples, val, train = (by_hand.relative(x) for x in sets)
    expected = {"num_samples": 80, "apd_mm": apd_mm(samples), "val_apd_mm": apd_mm(val)}
    for prefix, fake, real in (("", samples, val), ("heading_", headed(samples), headed(val))):
        fake, real = fake[:, 1:].reshape(80, -1), real[:, 1:].reshape(80, -1)
        expected[f"{prefix}frechet_cm2"] = 1e4 * frechet(fake, real)
        between, radii = cdist(real, fake), [np.sort(cdist(x, x), 1)[:, 3] for x in (real, fake)]
        inside = between < radii[0][:, None]
        expected[f"{prefix}precision"] = inside.any(0).mean()
        expected[f"{prefix}recall"] = (between < radii[1]).any(1).mean()
        expected[f"{prefix}density"] = inside.sum(0).mean() / 3
        expected[f"{prefix}coverage"] = (between.min(1) < radii[0]).mean()
    for prefix, poses in (("", samples), ("val_", val)):
        nearest = [1000 * min(by_hand.distance(p, q) for q in headed(train)) for p in headed(poses)]
        expected |= {f"{prefix}nearest_mm_p{p:02d}": np.percentile(nearest, p) for p in (5, 50, 95)}
        expected |= {f"{prefix}{name}": value for name, value in plausible(poses, train).items()}
    assert set(row) == set(expected)
    assert 0 < row["precision"] < 1
    assert row["bone_excess_mm"] > 1.1 * row["val_bone_excess_mm"] > 0
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=2e-3, abs=1e-6), name


def apd_mm(poses):
    pairs = [by_hand.distance(poses[a], poses[b]) for a in range(len(poses)) for b in range(a)]
    return 1000 * np.mean(pairs)


def plausible(poses, train):
    """Bones and angles in range; the angles themselves are held to trigonometry in plausibility_test."""
    trunk, left, right = bones_of(poses)
    known_trunk, known_left, known_right = bones_of(train)
    known_side = np.concatenate([known_left, known_right], 1)
    known_trunk = np.concatenate([known_trunk, known_trunk], 1)  # a mirror image has the same trunk
    lengths, known = np.concatenate([trunk, left, right]), [*known_trunk, *known_side, *known_side]
    ranges = [np.percentile(x, [0.5, 99.5]) + np.array([-0.01, 0.01]) for x in known]
    excess = np.array([np.maximum(np.maximum(lo - x, x - hi), 0) for x, (lo, hi) in zip(lengths, ranges, strict=True)])
    uneven, known_uneven = abs(left - right), abs(known_left - known_right)
    even = [d <= np.percentile(k, 99.5) + 0.01 for d, k in zip(uneven, known_uneven, strict=True)]
    mirrored = train * [-1, 1, 1]
    swap = [H36M_17.joints.index(swapped(name)) for name in H36M_17.joints]
    angles, reference = (
        np.asarray(joint_angles(x.astype(np.float32)), float)
        for x in (poses, np.concatenate([train, mirrored[:, swap]]))
    )
    low, high = np.percentile(reference, [0.1, 99.9], axis=0)
    outside = (angles < low) | (angles > high)
    figures = {
        "bones_plausible": np.mean((excess <= 0).all(0) & np.all(even, 0)),
        "bone_excess_mm": 1000 * excess.mean(),
        "asymmetry_mm": 1000 * uneven.mean(),
        "angles_plausible": 1 - outside.any(1).mean(),
    }
    for name in {name.removeprefix("left_").removeprefix("right_") for name in ANGLES}:
        columns = [i for i, angle in enumerate(ANGLES) if angle.removeprefix("left_").removeprefix("right_") == name]
        figures[f"{name}_outside"] = outside[:, columns].mean()
    return figures


def swapped(name):
    side, _, rest = name.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, name)
