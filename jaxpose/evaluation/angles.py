"""Joint angles of hypotheses against the true ones: what their intervals hold, and whether straight knees look so.

    interval    between the 5 % and 95 % quantiles of the hypotheses' angles, of each pose and side
    coverage    share of true angles in their interval: 0.9 where the hypotheses are calibrated
    bias        mean over hypotheses minus truth, of knees whose true flexion is below 15 degrees

Angles are those of plausibility.py: of knee and elbow the flexion (`bend`, 0 straight), of hip and shoulder the
elevation from the trunk (0 hanging). Both sides count alike. Flexion has no sign: hypotheses about a straight knee have
a positive mean, and so has the bias, unless they are as straight as the truth.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.evaluation.plausibility import ANGLES, joint_angles

_NAMES = {"knee": "knee_bend", "elbow": "elbow_bend", "hip": "hip_elevation", "shoulder": "shoulder_elevation"}
_WHICH = {name: [ANGLES.index(f"{side}_{of}") for side in ("left", "right")] for name, of in _NAMES.items()}
STRAIGHT = 15.0  # degrees of flexion, below which a knee counts as straight
_LEVEL = 0.9


class _Angles(NamedTuple):
    """Interval, middle and truth of each pose and angle of ANGLES [N, A]: radians of `_angles`, degrees of the rest."""

    low: Array
    high: Array
    median: Array
    mean: Array
    of_mean_pose: Array
    truth: Array


def angle_row(samples: Array | np.ndarray, truth: Array | np.ndarray) -> dict[str, float]:
    """Figures of hypotheses [H, N, 17, 3] of truths [N, 17, 3] (H36M_17), any axes and unit: shares and degrees.

    `<joint>_coverage_90`, `<joint>_width_90_deg` (mean of the intervals), `<joint>_error_deg` (mean, of the median);
    of knees below `STRAIGHT` degrees `straight_knees` (their number), `straight_knee_coverage_90`,
    `straight_knee_bias_deg` and `straight_knee_mean_pose_bias_deg` (of the mean of the hypotheses' joints), NaN where
    there are none.
    """
    angles: _Angles = jax.tree.map(np.degrees, jax.device_get(_angles(jnp.asarray(samples), jnp.asarray(truth))))
    row: dict[str, float] = {}
    for name, which in _WHICH.items():
        low, high, median, _, _, true = (x[:, which] for x in angles)
        row[f"{name}_coverage_90"] = float(((low <= true) & (true <= high)).mean())
        row[f"{name}_width_90_deg"] = float((high - low).mean())
        row[f"{name}_error_deg"] = float(np.abs(median - true).mean())
    knee = _Angles(*(x[:, _WHICH["knee"]] for x in angles))
    straight = knee.truth < STRAIGHT
    figures = {
        "straight_knee_coverage_90": (knee.low <= knee.truth) & (knee.truth <= knee.high),
        "straight_knee_bias_deg": knee.mean - knee.truth,
        "straight_knee_mean_pose_bias_deg": knee.of_mean_pose - knee.truth,
    }
    row |= {name: float(x[straight].mean()) if straight.any() else np.nan for name, x in figures.items()}
    return row | {"straight_knees": int(straight.sum())}


@jax.jit
def _angles(samples: Array, truth: Array) -> _Angles:
    angles = joint_angles(samples)
    low, median, high = jnp.quantile(angles, jnp.array([(1 - _LEVEL) / 2, 0.5, (1 + _LEVEL) / 2]), axis=0)
    return _Angles(low, high, median, angles.mean(0), joint_angles(samples.mean(0)), joint_angles(truth))
