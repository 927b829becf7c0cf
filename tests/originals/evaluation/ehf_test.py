"""The figures of EHF: what each forgives and what it does not, on meshes moved by known amounts."""

import numpy as np
import pytest
from scipy.spatial import procrustes

from jaxpose.originals.evaluation.ehf import ehf_errors, ehf_row

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(0, 0.4, (3, 60, 3))
REGRESSOR = RNG.dirichlet(np.full(60, 0.1), 30)


def test_against_scipy_and_by_hand():
    pred = TRUTH + RNG.normal(0, 0.05, TRUTH.shape)
    errors = ehf_errors(pred, TRUTH, REGRESSOR)
    joints, true_joints = REGRESSOR[:22] @ pred, REGRESSOR[:22] @ TRUTH
    aligned = (joints - joints[:, :1]) - (true_joints - true_joints[:, :1])
    np.testing.assert_allclose(errors["mpjpe_mm"], 1000 * np.linalg.norm(aligned, axis=-1).mean(-1), rtol=1e-4)
    for name, p, g in (("pa_mpjpe_mm", joints, true_joints), ("pa_mpvpe_mm", pred, TRUTH)):
        for i in range(3):
            # scipy's standardises both: its second is ours over the truth's size
            first, second, _ = procrustes(g[i], p[i])
            size = np.linalg.norm(g[i] - g[i].mean(0))
            wanted = 1000 * size * np.linalg.norm(first - second, axis=-1).mean()
            np.testing.assert_allclose(errors[name][i], wanted, rtol=1e-4)


def test_the_best_of_hypotheses_is_taken_for_each_mesh():
    near, far = TRUTH + RNG.normal(0, 0.01, TRUTH.shape), TRUTH + RNG.normal(0, 0.1, TRUTH.shape)
    mixed = np.stack([near, far])
    mixed[:, 1] = mixed[::-1, 1]
    assert ehf_row(mixed, TRUTH, REGRESSOR) == pytest.approx(ehf_row(near, TRUTH, REGRESSOR), rel=1e-4)
