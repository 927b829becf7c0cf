"""MPI-INF-3DHP's protocol (spec/diffpose.md, 5.2; Mehta et al. 2017 and the data set's own evaluation).

    MPJPE   over all 17 joints, roots (the pelvis) aligned
    PCK     share of 14 joints nearer than 150 mm (strictly): all but the pelvis, the spine and the lower head
    AUC     mean of the PCK over the 31 thresholds 0, 5, ..., 150 mm

PCK and AUC weigh each of the 8 groups by its joints (head 1, neck 1, the others 2): they are plain means over joints.
A figure of all sequences weighs each by its frames: it is a plain mean over frames.

Poses are in our Human3.6M order (`skeleton.H36M_17`), where 3DHP's neck is "thorax" and its top of the head "head".
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array
from jaxpose.compiled import check_shape
from jaxpose.evaluation import metrics
from jaxpose.geometry.skeleton import H36M_17

_NAMES = {"head": ("head",), "neck": ("thorax",)} | {
    f"{joint}s": (f"left_{joint}", f"right_{joint}") for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
}
GROUPS = {group: tuple(H36M_17.joints.index(name) for name in names) for group, names in _NAMES.items()}
SCORED = tuple(sorted(joint for joints in GROUPS.values() for joint in joints))


def mpi3dhp_row(
    pred: Array | np.ndarray, truth: Array | np.ndarray, sequence: np.ndarray, *, valid: np.ndarray | None = None
) -> dict[str, Any]:
    """All figures of poses [N, 17, 3] against truth [N, 17, 3], metres, joints of H36M_17; sequence [N] its name.

    valid [N]: frames that count, the test set's own marks; all by default. `pck` and `auc` are shares 0..1 of the 14
    joints, `per_group` has them for each group, `per_sequence` all three figures. ValueError names the argument that
    does not fit.
    """
    pred, truth, sequence = jnp.asarray(pred), jnp.asarray(truth), np.asarray(sequence)
    keep = np.ones(len(truth), bool) if valid is None else np.asarray(valid).astype(bool)
    check_shape("truth", truth, ("N", 17, 3))
    check_shape("pred", pred, truth.shape)
    for name, value in (("sequence", sequence), ("valid", keep)):
        if value.shape != truth.shape[:1]:
            raise ValueError(f"{name}: needed [{len(truth)}], one for each pose, got {list(value.shape)}")
    if not keep.any():
        raise ValueError(f"valid: needed at least one frame that counts, got none of {len(keep)}")
    pred, truth, sequence = pred[keep], truth[keep], sequence[keep]
    pred, truth = metrics.align_root(pred), metrics.align_root(truth)
    figures = {"mpjpe_mm": np.asarray(1000 * metrics.mpjpe(pred, truth), np.float64)}
    figures |= _shares(pred, truth, SCORED)
    groups = {name: _means(_shares(pred, truth, joints)) for name, joints in GROUPS.items()}
    sequences = {
        str(name): {**_means({k: v[sequence == name] for k, v in figures.items()}), "frames": int(count)}
        for name, count in zip(*np.unique(sequence, return_counts=True), strict=True)
    }
    return {**_means(figures), "frames": len(truth), "per_group": groups, "per_sequence": sequences}


def _shares(pred: Array, truth: Array, joints: tuple[int, ...]) -> dict[str, np.ndarray]:
    """PCK and AUC of each pose [N] over some joints."""
    weights = np.isin(np.arange(len(H36M_17.joints)), joints)
    pck, auc = _pck_and_auc(pred, truth, jnp.asarray(weights, jnp.float32))
    return {"pck": np.asarray(pck, np.float64), "auc": np.asarray(auc, np.float64)}


_pck_and_auc = jax.jit(lambda *given: (metrics.pck(*given), metrics.auc(*given)))


def _means(figures: dict[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in figures.items()}
