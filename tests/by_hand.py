"""Pose errors and calibration by plain loops in float64 numpy and scipy, to compare the tables' numbers with.

Nothing of jaxpose is used. Poses are [J, 3] metres, hypotheses [H, N, J, 3] of truths [N, J, 3]; results as given.
"""

import itertools

import numpy as np
from scipy.optimize import minimize


def moments(mixture):
    """(mean, std), each [..., D], of the one Gaussian that shares a mixture's first two moments of each number."""
    weight, mean, std = (np.asarray(x, np.float64) for x in mixture)
    middle = (weight[..., None] * mean).sum(-2)
    variance = (weight[..., None] * (std**2 + (mean - middle[..., None, :]) ** 2)).sum(-2)
    return middle, np.sqrt(variance)


def relative(poses):
    poses = np.asarray(poses, np.float64)
    return poses - poses[..., :1, :]


def distance(a, b):
    """Mean over joints of the distance of two poses."""
    return sum(float(np.sqrt(((p - q) ** 2).sum())) for p, q in zip(a, b, strict=True)) / len(a)


def similar(pose, truth, reflection=False):
    """The pose after the rotation, scale and translation that bring it closest to the truth (Umeyama 1991)."""
    p, g = pose - pose.mean(0), truth - truth.mean(0)
    u, s, vt = np.linalg.svd(p.T @ g)
    keep = np.diag([1, 1, 1 if reflection or np.linalg.det(u @ vt) > 0 else -1])
    return np.trace(np.diag(s) @ keep) / (p**2).sum() * p @ u @ keep @ vt + truth.mean(0)


def scaled(pose, truth):
    """The pose after the best scale about the origin."""
    return pose * (pose * truth).sum() / (pose**2).sum()


def middle(points):
    """The point with the least mean distance to points [H, 3]."""
    total = lambda m: np.sqrt(((points - m) ** 2).sum(-1)).mean()  # noqa: E731
    return minimize(total, points.mean(0), method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}).x


def score(points, truth):
    """Mean distance to the truth less half the mean distance of two different points; of numbers or vectors."""
    points = np.reshape(points, (len(points), -1))
    off = np.mean([np.linalg.norm(p - truth) for p in points])
    return off - np.mean([np.linalg.norm(p - q) for p, q in itertools.combinations(points, 2)]) / 2


def lifting(samples, truth, category):
    """The figures of `protocols.lifting_row`, millimetres and shares."""
    samples, truth = relative(samples), relative(truth)
    H, N, J, _ = samples.shape
    mean, table = samples.mean(0), {}
    central = np.array([[middle(samples[:, n, j]) for j in range(J)] for n in range(N)])

    def over_poses(figure):
        return 1000 * np.mean([figure(n) for n in range(N)])

    errors = [[distance(samples[h, n], truth[n]) for h in range(H)] for n in range(N)]
    aligned = [[distance(similar(samples[h, n], truth[n]), truth[n]) for h in range(H)] for n in range(N)]
    of_mean = np.array([1000 * distance(mean[n], truth[n]) for n in range(N)])
    table["mean_mm"] = of_mean.mean()
    table["geometric_median_mm"] = over_poses(lambda n: distance(central[n], truth[n]))
    table["single_mm"] = over_poses(lambda n: sum(errors[n]) / H)
    table["p_mean_mm"] = over_poses(lambda n: distance(similar(mean[n], truth[n]), truth[n]))
    table["p_geometric_median_mm"] = over_poses(lambda n: distance(similar(central[n], truth[n]), truth[n]))
    table["n_mean_mm"] = over_poses(lambda n: distance(scaled(mean[n], truth[n]), truth[n]))
    for prefix, found in (("", errors), ("p_", aligned)):
        table[f"{prefix}best_of_10_mm"] = over_poses(lambda n, e=found: min(e[n][:10]))
        table[f"{prefix}best_of_{H}_mm"] = over_poses(lambda n, e=found: min(e[n]))
    coordinates = list(itertools.product(range(1, J), range(3)))
    table["crps_mm"] = over_poses(
        lambda n: np.mean([score(samples[:, n, j, d], truth[n, j, d]) for j, d in coordinates])
    )
    table["energy_score_mm"] = over_poses(lambda n: np.mean([score(samples[:, n, j], truth[n, j]) for j in range(J)]))
    names = sorted(set(category))
    table["category_mean_mm"] = {c: of_mean[[k == c for k in category]].mean() for c in names}
    table["macro_mean_mm"] = np.mean(list(table["category_mean_mm"].values()))
    return table | calibration(samples, truth)


def calibration(samples, truth, radius_90=None):
    """Shares over all joints but the root, of root-relative poses."""
    _, N, J, _ = samples.shape
    mean, joints = samples.mean(0), range(1, J)
    gaps, within = [], []
    for j in joints:
        for level in np.arange(21) / 20:
            inside = 0
            for n in range(N):
                centre = np.median(samples[:, n, j], axis=0)
                reach = np.quantile(np.linalg.norm(samples[:, n, j] - centre, axis=-1), level)
                inside += np.linalg.norm(truth[n, j] - centre) <= reach
            gaps.append(abs(inside / N - level))
        for n in range(N):
            reach = np.quantile(np.linalg.norm(samples[:, n, j] - mean[n, j], axis=-1), 0.9)
            reach = reach if radius_90 is None else radius_90[n][j]
            within.append(np.linalg.norm(truth[n, j] - mean[n, j]) <= reach)

    def covered(level):
        shares = []
        for n, j, d in itertools.product(range(N), joints, range(3)):
            low, high = np.quantile(samples[:, n, j, d], [(1 - level) / 2, (1 + level) / 2])
            shares.append(low <= truth[n, j, d] <= high)
        return np.mean(shares)

    variations = []
    for j, d in itertools.product(joints, range(3)):
        ranks = [np.mean(samples[:, n, j, d] < truth[n, j, d]) for n in range(N)]
        shares = np.histogram(ranks, bins=np.arange(11) / 10)[0] / N
        variations.append(abs(shares - 0.1).sum() / 2)
    return {
        "ece": np.mean(gaps),
        "coverage_50": covered(0.5),
        "coverage_90": covered(0.9),
        "radius_coverage_90": np.mean(within),
        "pit_gap": np.mean(variations),
    }
