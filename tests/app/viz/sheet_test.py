"""The contact sheet: a picture with a row per pose, up is up, the truth in its own colour, gaps left out."""

import numpy as np
from drawn import random_pose_set
from PIL import Image

from jaxpose.app.viz import contact_sheet
from jaxpose.geometry.skeleton import H36M_17, Skeleton


def _ink(path, box=None):
    """Share of pixels that are not near white, in a box given as fractions (left, top, right, bottom)."""
    with Image.open(path) as image:
        image.verify()
    pixels = np.asarray(Image.open(path).convert("RGB"), float)
    height, width = pixels.shape[:2]
    left, top, right, bottom = box or (0, 0, 1, 1)
    part = pixels[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    return float((part.min(-1) < 200).mean())


def test_contact_sheet_is_a_picture_with_a_row_per_pose(tmp_path):
    samples, keypoints, confidence, truth = random_pose_set()
    layers = {"keypoints": keypoints, "confidence": confidence, "truth": truth}
    words = {"titles": ["$x_{1", "<b>", "long " * 50, "\udcff\n"], "note": "scale: height 1.75 m"}
    full = contact_sheet(tmp_path / "a.png", samples, H36M_17, **layers, **words)
    small = contact_sheet(tmp_path / "b.png", samples, H36M_17, max_rows=2)
    with Image.open(full) as a, Image.open(small) as b:
        assert a.format == "PNG"
        assert a.height > b.height + 400
        assert a.width > b.width + 200
    for column in range(4):
        left = 0.06 + 0.235 * column
        assert 0.01 < _ink(full, (left, 0.1, left + 0.2, 0.85)) < 0.7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_contact_sheet_draws_up_as_up_and_the_truth_in_its_own_colour(tmp_path):
    """A T: the arms are at the upper end of the trunk, the joint at +x on the right."""
    skeleton = Skeleton("stick", ("root", "head", "l", "r"), (-1, 0, 1, 1), (2,), (3,), ())
    pose = np.array([[0, 0, 0], [0, -1.0, 0], [0.5, -1.0, 0], [-0.5, -1.0, 0]])[None]
    path = contact_sheet(tmp_path / "a.png", pose[None], skeleton)
    pixels = np.asarray(Image.open(path).convert("RGB"), int)
    front = pixels[: int(pixels.shape[0] * 0.7), : pixels.shape[1] // 3]
    blue = np.argwhere(np.abs(front - [0, 114, 178]).sum(-1) < 30)
    red = np.argwhere(np.abs(front - [213, 94, 0]).sum(-1) < 30)
    trunk = np.argwhere(np.abs(front - [138, 145, 158]).sum(-1) < 30)
    assert max(blue[:, 0].mean(), red[:, 0].mean()) < trunk[:, 0].mean() - 20
    assert blue[:, 1].min() > trunk[:, 1].mean() - 5 > red[:, 1].mean()
    with_truth = contact_sheet(tmp_path / "b.png", pose[None], skeleton, truth=pose + 0.05)
    dark = [(np.asarray(Image.open(p).convert("RGB")).max(-1) < 50).sum() for p in (path, with_truth)]
    assert dark[1] > dark[0] + 100


def test_gaps_a_single_hypothesis_and_a_diverged_one_are_drawn(tmp_path):
    samples, keypoints, _, truth = random_pose_set()
    far = samples[:, :1].copy()
    far[0] *= 1e9
    assert _ink(contact_sheet(tmp_path / "b.png", far, H36M_17)) > 0.001
    samples, keypoints, truth = samples[:1].copy(), keypoints.copy(), truth.copy()
    samples[0, 0, 2:] = np.inf
    keypoints[0], truth[1] = np.nan, np.nan
    path = contact_sheet(tmp_path / "a.png", samples, H36M_17, keypoints=keypoints, truth=truth)
    assert _ink(path) > 0.005


def test_given_joints_and_hidden_bones_have_their_colours(tmp_path):
    """A T whose left arm is hidden: its colour is full, that of the right arm pale, the given joints are green."""
    skeleton = Skeleton("stick", ("root", "head", "l", "r"), (-1, 0, 1, 1), (2,), (3,), ())
    pose = np.array([[0, 0, 0], [0, -1.0, 0], [0.5, -1.0, 0], [-0.5, -1.0, 0]])[None]
    mean = np.full_like(pose, np.nan)
    mean[0, 0] = 0
    given = np.where([[[True], [True], [False], [True]]], pose + 0.3, np.nan)
    path = contact_sheet(tmp_path / "a.png", pose[None], skeleton, mean=mean, given=given)
    pixels = np.asarray(Image.open(path).convert("RGB"), int)[:250]
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert (blue - red).max() > 60  # "#0072b2"
    assert 15 < (red - blue).max() < 75  # "#f1c6a8", never "#d55e00"
    assert ((green - red > 100) & (green - blue > 20)).sum() > 20  # "#009e73"
