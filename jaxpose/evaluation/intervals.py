"""Coverage and proper scores of the intervals of one quantity: N values with H hypotheses each, and their truth.

    interval    between the (1 - q) / 2 and (1 + q) / 2 quantiles of the hypotheses
    coverage    share of truths within: q where the hypotheses are calibrated
    Winkler     width + 2 / (1 - q) times what the truth lies outside by: proper, smaller is better  (Winkler 1972)
    CRPS        proper for the whole distribution (calibration.py)
    factor      on both ends' distances from the median, so that 90 % of these truths would be within

Frames of one person err alike, so that shares are sure by people, not by frames. `interval_of_share` is Clopper and
Pearson's (1934) with the effective number of truths of Korn and Graubard (1998): with s^2 the variance of the shares of
m people, n* = p (1 - p) m / s^2, times (t_{n-1} / t_{m-1})^2 for that s is estimated, at most n; where all people have
the same share, m.

A factor that is fitted to U units (people, or blocks of time) holds for another unit like these where each has the
weight 1 / (U + 1), shared by its truths, and the unit to come the same at infinity (Lee, Barber and Willett 2023,
Distribution-free inference with hierarchical data). So U units promise at most U / (U + 1), whatever is fitted to them.
"""

import jax.numpy as jnp
import numpy as np

from jaxpose.evaluation.calibration import crps

LEVELS = (0.5, 0.8, 0.9, 0.95)
_LEVEL = 0.9
_TINY = 1e-9


def interval_row(
    values: np.ndarray, truth: np.ndarray, person: np.ndarray | None = None, level: float = _LEVEL
) -> dict[str, float]:
    """Figures of hypotheses [H, N] about truths [N], in their unit; person: [N] names or numbers, of whom shares are.

    `coverage_50` to `coverage_95`, `width`, `winkler`, `factor` and the rest at `level`; `error`: mean distance of the
    median. `lowest` and `highest`: of the people's coverages; `low` and `high`: `interval_of_share`; `people`.
    ValueError where there is no truth, or a number is not finite.
    """
    values, truth = np.asarray(values, np.float64), np.asarray(truth, np.float64)
    if values.shape[1:] != truth.shape or truth.ndim != 1 or not truth.size or len(values) < 2:
        raise ValueError(f"values: needed [H, N] of truth [N], H >= 2, got {values.shape} and {truth.shape}")
    if not (np.isfinite(values).all() and np.isfinite(truth).all()):
        raise ValueError("values and truth: needed finite numbers")
    row: dict[str, float] = {}
    for share in LEVELS:
        low, high = np.quantile(values, ((1 - share) / 2, (1 + share) / 2), axis=0)
        row[f"coverage_{round(100 * share)}"] = float(((low <= truth) & (truth <= high)).mean())
    low, middle, high = np.quantile(values, ((1 - level) / 2, 0.5, (1 + level) / 2), axis=0)
    outside = np.maximum(low - truth, 0) + np.maximum(truth - high, 0)
    row |= {"width": float((high - low).mean()), "error": float(abs(middle - truth).mean())}
    row |= {"winkler": float((high - low + 2 / (1 - level) * outside).mean())}
    apart = jnp.asarray((values - truth)[..., None, None])
    row |= {"crps": float(crps(apart, jnp.zeros(apart.shape[1:])).mean())}
    row |= {"factor": float(np.quantile(needed_factor(values, truth, level), level))}
    return row | by_people(outside == 0, person)


def needed_factor(values: np.ndarray, truth: np.ndarray, level: float = _LEVEL) -> np.ndarray:
    """The factor [N] on the distance of each interval's end from the median, of hypotheses [H, N], that puts the truth
    [N] on it; inf where the hypotheses are equal and wrong, NaN where the truth is."""
    low, middle, high = np.quantile(values, ((1 - level) / 2, 0.5, (1 + level) / 2), axis=0)
    away, end = truth - middle, np.where(truth > middle, high - middle, middle - low)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(abs(away) <= _TINY, 0.0, abs(away) / end)


def by_people(inside: np.ndarray, person: np.ndarray | None = None) -> dict[str, float]:
    """Lowest and highest share of `inside` [N] over people, `low` and `high` of all, `people`; person None: each."""
    person = np.arange(len(inside)) if person is None else np.asarray(person)
    names, of = np.unique(person, return_inverse=True)
    shares = np.bincount(of, inside) / np.bincount(of)
    low, high = interval_of_share(inside, person)
    lowest, highest = float(shares.min()), float(shares.max())
    return {"lowest": lowest, "highest": highest, "low": low, "high": high, "people": len(names)}


def interval_of_share(inside: np.ndarray, person: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the share of `inside` [N] (bool) for other people than `person` [N] (see the module)."""
    from scipy import special

    _, of = np.unique(person, return_inverse=True)
    counts = np.bincount(of)
    share, n, m = float(np.mean(inside)), len(inside), len(counts)
    tail = (1 - level) / 2
    # of shares by the linearised mean, so that people of many frames weigh as they do in the whole
    deviation = (np.bincount(of, inside) - share * counts) / n
    variance = m / (m - 1) * float(np.square(deviation).sum()) if m > 1 else 0.0
    size = float(m)
    if variance > _TINY:
        loss = (special.stdtrit(n - 1, tail) / special.stdtrit(m - 1, tail)) ** 2
        size = min(n, share * (1 - share) / variance * loss)
    hits = share * size
    low = special.betaincinv(hits, size - hits + 1, tail) if hits > 0 else 0.0
    high = special.betaincinv(hits + 1, size - hits, 1 - tail) if hits < size else 1.0
    return float(low), float(high)


def promise(units: int) -> float:
    """The highest coverage that any method can promise for one more unit by the truths of `units`."""
    return units / (units + 1)


def least_units(level: float = _LEVEL) -> int:
    """Units that are needed to promise a level: 9 for 90 %."""
    return int(np.ceil(level / (1 - level) - _TINY))


def conformal_factor(needed: np.ndarray, unit: np.ndarray, level: float = _LEVEL) -> float:
    """Factor with which intervals hold `level` for another unit: a quantile of `needed_factor` [N] of units [N].

    ValueError where there are fewer units than `least_units`.
    """
    names, of = np.unique(unit, return_inverse=True)
    if len(names) < least_units(level):
        raise ValueError(f"needed {least_units(level)} units to promise {level:.0%}, got {len(names)}")
    weight = 1 / ((len(names) + 1) * np.bincount(of)[of])
    order = np.argsort(needed)
    place = int(np.searchsorted(weight[order].cumsum(), level - _TINY))
    return float(needed[order][min(place, len(order) - 1)])


def held_by_calibration(units: int, level: float = _LEVEL) -> tuple[float, float]:
    """The 5 % and 95 % quantiles of what a factor by `units` holds in truth: it is fitted to few (Vovk 2012)."""
    from scipy import special

    above = max(int(np.floor((units + 1) * (1 - level) + _TINY)), 1)
    low, high = special.betaincinv(units + 1 - above, above, (0.05, 0.95))
    return float(low), float(high)
