"""MPI-INF-3DHP's protocol against plain loops in 3DHP's own joint order."""

import numpy as np
import pytest

from jaxpose.geometry.joint_sets import joint_map
from jaxpose.geometry.skeleton import H36M_17, MPI3DHP_17
from jaxpose.originals.evaluation import mpi3dhp

# spec/diffpose.md 6.4 and 5.2: where each Human3.6M joint is in 3DHP's order, and the groups of that order
TO_H36M = [14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]
GROUPS = {
    "head": [0],
    "neck": [1],
    "shoulders": [2, 5],
    "elbows": [3, 6],
    "wrists": [4, 7],
    "hips": [8, 11],
    "knees": [9, 12],
    "ankles": [10, 13],
}


@pytest.fixture(scope="module")
def poses():
    """Poses [20, 17, 3] in 3DHP's order, roots at the origin, errors from 10 to 400 mm; three sequences."""
    rng = np.random.default_rng(0)
    truth = rng.normal(0, 0.4, (20, 17, 3))
    pred = truth + rng.normal(0, 1, truth.shape) * rng.uniform(0.01, 0.15, (20, 17, 1))
    pred[:, 14] = truth[:, 14] = 0
    return pred.astype(np.float32), truth.astype(np.float32), np.repeat(["TS1", "TS2", "TS5"], [3, 12, 5])


def row_of(pred, truth, sequence, **kwargs):
    return mpi3dhp.mpi3dhp_row(pred[:, TO_H36M], truth[:, TO_H36M], sequence, **kwargs)


def looped(pred, truth, joints):
    """PCK and AUC of some joints in 3DHP's order, counted one by one in millimetres."""
    pck, auc, count = 0, 0, 0
    for p, g in zip(pred, truth, strict=True):
        for j in joints:
            error = 1000 * np.sqrt(((p[j].astype(float) - g[j]) ** 2).sum())
            pck, count = pck + (error < 150), count + 1
            auc += sum(error < threshold for threshold in range(0, 151, 5)) / 31
    return {"pck": pck / count, "auc": auc / count}


def test_the_groups_are_3dhps_joints():
    weights, known = joint_map(MPI3DHP_17, H36M_17)
    assert known.all()
    np.testing.assert_array_equal(weights.argmax(1), TO_H36M)
    ours = {name: sorted(TO_H36M[j] for j in joints) for name, joints in mpi3dhp.GROUPS.items()}
    assert ours == GROUPS
    assert sorted(TO_H36M[j] for j in mpi3dhp.SCORED) == list(range(14))


def test_figures_equal_plain_loops(poses):
    pred, truth, _ = poses
    row = row_of(*poses)
    assert row["mpjpe_mm"] == pytest.approx(1000 * np.linalg.norm(pred - truth, axis=-1).mean(), rel=1e-5)
    expected = looped(pred, truth, range(14))
    assert 0.2 < expected["auc"] < expected["pck"] < 0.95
    assert {k: row[k] for k in expected} == pytest.approx(expected, abs=1e-6)
    for name, joints in GROUPS.items():
        assert row["per_group"][name] == pytest.approx(looped(pred, truth, joints), abs=1e-6)


def test_groups_weigh_by_joints_and_sequences_by_frames(poses):
    row = row_of(*poses)
    assert {name: s["frames"] for name, s in row["per_sequence"].items()} == {"TS1": 3, "TS2": 12, "TS5": 5}
    for figure in ("pck", "auc"):
        grouped = sum(len(GROUPS[name]) * g[figure] for name, g in row["per_group"].items()) / 14
        assert row[figure] == pytest.approx(grouped, abs=1e-6)
    for figure in ("pck", "auc", "mpjpe_mm"):
        weighted = sum(s["frames"] * s[figure] for s in row["per_sequence"].values()) / 20
        assert row[figure] == pytest.approx(weighted, rel=1e-6)


def test_only_valid_frames_count(poses):
    pred, truth, sequence = poses
    valid = np.arange(20) % 3 > 0
    spoiled = truth.copy()
    spoiled[~valid] = np.nan
    row = row_of(pred, spoiled, sequence, valid=valid.astype(np.float32))
    alone = row_of(pred[valid], truth[valid], sequence[valid])
    assert row["frames"] == valid.sum()
    assert {k: row[k] for k in ("mpjpe_mm", "pck", "auc")} == {k: alone[k] for k in ("mpjpe_mm", "pck", "auc")}
