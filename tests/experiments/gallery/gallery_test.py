"""`experiments.gallery`: whom it shows."""

import numpy as np

from experiments.gallery import __main__ as gallery


def test_people_are_of_cmu_and_spread_over_the_benchmark(monkeypatch, tmp_path):
    (tmp_path / "bench").mkdir()
    names = np.array(["cmu06/a"] * 4 + ["hdm_dg/b"] * 10 + ["cmu94/c"] * 4)
    which = np.arange(18.0)
    arrays = {
        "keypoints": which[:, None, None] + np.zeros((18, 17, 2)),
        "confidence": np.ones((18, 17)),
        "name": names,
        "intrinsics": which[:, None] + np.zeros((18, 4)),
        "joints_cam": which[:, None, None] + np.zeros((18, 17, 3)),
    }
    np.savez(tmp_path / "bench" / "val_frames.npz", **arrays)
    monkeypatch.setenv("JAXPOSE_DATA", str(tmp_path / "data"))
    found = gallery.find_people(4)
    for array in found[:4]:
        assert array.reshape(4, -1)[:, 0].tolist() in ([0, 2, 15, 17], [1.0] * 4)
    assert "CMU" in found.source
