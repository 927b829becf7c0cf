"""`jaxpose prepare gmm`: mixtures of known heatmaps and detections return; bad input leaves with code 2."""

import numpy as np
import shared

from jaxpose.app import cli
from jaxpose.geometry.skeleton import COCO_17
from jaxpose.io import heatmap_files
from jaxpose.originals.datasets.gmm import read_gmm, read_metadata

FIXTURE = shared.GOLDEN / "diffpose/fixture"
WIDTH, HEIGHT = 640, 480
HEIGHT_CELLS, WIDTH_CELLS = 48, 36


def run(*arguments):
    cli.main(["prepare", "gmm", *map(str, arguments)])


def blob(middle, sigma):
    """A Gaussian that sums to 1, about middle [..., 2] cells with deviations sigma [..., 2]: [..., h, w]."""
    grid = np.stack(np.meshgrid(np.arange(WIDTH_CELLS) + 0.5, np.arange(HEIGHT_CELLS) + 0.5), -1)
    z = (grid - middle[..., None, None, :]) / sigma[..., None, None, :]
    maps = np.exp(-(z**2).sum(-1) / 2)
    return maps / maps.sum((-1, -2), keepdims=True)


def two_peaks(frames, joints, seed=0):
    """(weight of the heavier, its middle and sigma, the lighter's): peaks some 15 cells apart, away from the edge."""
    rng = np.random.default_rng(seed)
    weight = rng.uniform(0.6, 0.8, (frames, joints))
    middle = np.stack([rng.uniform((8, 10), (28, 16)), rng.uniform((8, 32), (28, 38))])
    middle = middle[:, None, None] + rng.uniform(-0.5, 0.5, (2, frames, joints, 2))
    return weight, middle, rng.uniform(1, 2, (2, frames, joints, 2))


def test_heatmaps_of_coco_joints_become_human36ms(tmp_path, monkeypatch, capsys):
    """The hip is the mean of both hips, of half their variance; the spine, which COCO lacks, is anywhere on the map.

    Three frames in blocks of two, so that blocks meet.
    """
    monkeypatch.setattr(heatmap_files, "BLOCK", 2)
    _, middle, sigma = two_peaks(3, 17, seed=1)
    maps = blob(middle[0], sigma[0])
    maps = (255 * maps / maps.max((-1, -2), keepdims=True)).round().astype(np.uint8)
    np.save(tmp_path / "a.npy", maps)
    run(
        *("--heatmaps", tmp_path / "a.npy", "--out", tmp_path / "out.npz", "--skeleton", "coco17"),
        *("--image-size", f"{WIDTH},{HEIGHT}", "--components", 1, "--samples", 8000),
    )
    assert "needs four cameras" in capsys.readouterr().out
    array = read_gmm(tmp_path / "out.npz", num_cameras=None)["S0"]["a"][0][:, :, 0]
    cell = np.array([WIDTH / WIDTH_CELLS, HEIGHT / HEIGHT_CELLS])
    both = [COCO_17.joints.index("left_hip"), COCO_17.joints.index("right_hip")]
    variance = (sigma[0][:, both] ** 2 + 1 / 12).sum(1) / 4
    np.testing.assert_allclose(array[:, 0, 1:3] / cell, middle[0][:, both].mean(1), atol=0.1)
    np.testing.assert_allclose(array[:, 0, 3:], (np.sqrt(variance) * cell * 2 / WIDTH), rtol=0.05)
    wrist = COCO_17.joints.index("left_wrist")
    np.testing.assert_allclose(array[:, 13, 1:3] / cell, middle[0][:, wrist], atol=0.1)
    spine = np.tile([WIDTH / 2, HEIGHT / 2], (3, 1))
    np.testing.assert_allclose(array[:, 7, 1:3], spine, atol=5 * WIDTH / np.sqrt(12 * 8000))
    np.testing.assert_allclose(array[:, 7, 3:], spine * 4 / WIDTH / np.sqrt(12), rtol=0.05)


def test_detections_become_what_the_published_files_have(tmp_path, capsys):
    """Weights (1, 0, 0) and the detection, as in the fixture's own mixture file of fewer actions; sigma is ours."""
    detections = FIXTURE / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    run("--detections", detections, "--components", 3, "--sigma", 0.5, "--out", tmp_path / "gmm.npz")
    found = read_gmm(tmp_path / "gmm.npz")
    published = read_gmm(FIXTURE / "data_2d_h36m_cpn_ft_h36m_dbb_gmm.npz")
    for subject, actions in published.items():
        for action, cameras in actions.items():
            for mine, wanted in zip(found[subject][action], cameras, strict=True):
                np.testing.assert_array_equal(mine[..., 0], wanted[..., 0])
                np.testing.assert_array_equal(mine[..., 0, 1:3], wanted[..., 0, 1:3])
                assert (mine[..., 0, 3:] == 0.5).all()
    assert "four cameras" not in capsys.readouterr().out


def test_a_confidence_weighs_the_detection_against_the_person(tmp_path):
    """Written out in numpy, person by person."""
    rng = np.random.default_rng(0)
    xy, c = rng.uniform(100, 900, (3, 17, 2)), rng.uniform(0.2, 1, (3, 17))
    c[1, :4], c[2] = 0, 0
    xy[c == 0] = 0
    tree = {"S9": {"Sitting": [np.concatenate([xy, c[..., None]], -1)] * 4}}
    np.savez(tmp_path / "a.npz", positions_2d=np.array(tree, dtype=object))
    run("--detections", tmp_path / "a.npz", "--out", tmp_path / "gmm.npz")
    array = read_gmm(tmp_path / "gmm.npz")["S9"]["Sitting"][2]
    np.testing.assert_allclose(array[..., 0], np.stack([c, 1 - c], -1), atol=1e-15)
    for frame in range(2):
        seen = c[frame] > 0
        np.testing.assert_array_equal(array[frame, seen, 0, 1:3], xy[frame, seen])
        np.testing.assert_array_equal(array[frame, :, 0, 3:], np.full((17, 2), 0.01))
        for joint in range(17):
            np.testing.assert_allclose(array[frame, joint, 1, 1:3], xy[frame, seen].mean(0))
            np.testing.assert_allclose(array[frame, joint, 1, 3:], xy[frame, seen].std(0) * 2 / 1000)
    np.testing.assert_array_equal(array[2, :, 1, 1:3], np.full((17, 2), 500))
    np.testing.assert_allclose(array[2, :, 1, 3:], 2 / np.sqrt(12))


def test_keypoints_of_two_people(tmp_path):
    """Rows in any order, of two people who come and go."""
    rng = np.random.default_rng(1)
    xy, frame, person = rng.uniform(50, 400, (5, 17, 2)), [3, 1, 2, 2, 1], [7, 7, 7, 8, 8]
    size = {"image_size": [WIDTH, HEIGHT], "skeleton": "h36m17"}
    np.savez(tmp_path / "clip.npz", keypoints=xy, frame=frame, person=person, **size)
    run("--keypoints", tmp_path / "clip.npz", "--out", tmp_path / "gmm.npz")
    tree = read_gmm(tmp_path / "gmm.npz", num_cameras=None)
    assert list(tree) == ["S0"]
    assert list(tree["S0"]) == ["clip 7", "clip 8"]
    for name, rows in {"clip 7": [1, 2, 0], "clip 8": [4, 3]}.items():
        (array,) = tree["S0"][name]
        np.testing.assert_allclose(array[..., 0, 1:3], xy[rows], rtol=1e-6)
        assert array.shape[2:] == (1, 5)
    assert read_metadata(tmp_path / "gmm.npz")["frames"] == {"clip 7": [1, 2, 3], "clip 8": [1, 2]}


def detections(folder, cameras, *flags):
    tree = {"S9": {"Sitting": cameras}}
    np.savez(folder / "in.npz", positions_2d=np.array(tree, dtype=object))
    return ["--detections", folder / "in.npz", *flags]


PLAIN, HALF = [np.ones((3, 17, 2))] * 4, [np.full((3, 17, 3), 0.5)] * 4
