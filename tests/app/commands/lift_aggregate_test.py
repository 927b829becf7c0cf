"""The one pose that `jaxpose lift --aggregate` writes, against the hypotheses in the same file."""

import json
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest

from jaxpose.app.commands import lift
from jaxpose.app.commands.options import Aggregate
from jaxpose.base import Camera
from jaxpose.evaluation import aggregate
from jaxpose.model import ASSETS

CLIP = ASSETS / "demo_clip.npz"


def lifted(run, folder, *flags):
    run("lift", CLIP, "--out", folder, *flags)
    with np.load(folder / "demo_clip.npz") as z:
        return {name: z[name] for name in z.files}, json.loads((folder / "demo_clip.json").read_text())


@pytest.mark.slow
def test_the_default_weights_the_hypotheses_by_their_agreement_with_the_keypoints(run, tmp_path):
    found, summary = lifted(run, tmp_path)
    assert summary["aggregate"] == "reprojection"
    rows = slice(60, 70)  # of two blocks
    weights = aggregate.reprojection_weights(
        found["samples"][:, rows], *(found[k][rows] for k in ("keypoints", "confidence", "intrinsics"))
    )
    for name, of in (("pose", "samples"), ("pose_root", "root")):
        values = np.moveaxis(found[of][:, rows], 0, -1)
        shares = np.asarray(weights).T.reshape(10, *[1] * (values.ndim - 2), 4)
        expected = (values * shares).sum(-1)
        np.testing.assert_allclose(found[name][rows], expected, rtol=1e-4, atol=1e-4)
        assert np.abs(expected - values.mean(-1)).max() > 1e-4


def test_every_name_is_an_aggregate_and_likelihood_is_refused_where_it_has_no_meaning(refused, tmp_path):
    assert all(hasattr(aggregate, name) for name in get_args(Aggregate)[2:])
    message = refused("lift", CLIP, "--out", tmp_path / "o", "--aggregate", "likelihood", "--height", 1.8)
    assert "--aggregate: likelihood" in message
    assert not (tmp_path / "o").exists()


def test_detections_are_worked_on_in_blocks_of_one_size(monkeypatch):
    sizes, num = [], 70
    monkeypatch.setattr(lift, "_aggregate", lambda key, model, x, *_, how: sizes.append(x.shape[1]) or {"pose": x[0]})
    data = SimpleNamespace(xy=np.zeros(num), seen=SimpleNamespace(observed=lambda rows: (rows, rows, Camera(rows))))
    samples, root = np.zeros((2, num, 17, 3)), np.zeros((2, num, 3))
    pose = lift.one_pose(None, data, {"samples": samples, "root": root}, "mean", 0)["pose"]
    assert (sizes, pose.shape) == ([64, 64], (num, 17, 3))
