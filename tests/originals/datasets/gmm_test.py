"""DiffPose's mixture files: the fixture against the original loader's output, numpy's own reading, and bad files."""

import re
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest
import shared
from shared import refuses

from jaxpose.diffusion.mixture import Mixture, check_mixture
from jaxpose.geometry.camera import normalise_screen
from jaxpose.originals.datasets import gmm

GOLDEN = shared.GOLDEN / "diffpose"
FIXTURE = GOLDEN / "fixture"
SIZES = [(1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002)]


def mixtures(frames=3, components=3, seed=0):
    """One array [F, 17, M, 5] with weights that sum to 1 but for rounding."""
    rng = np.random.default_rng(seed)
    weight = rng.dirichlet(np.ones(components), (frames, 17))[..., None]
    return np.concatenate(
        [weight, rng.uniform(0, 1000, (frames, 17, components, 2)), rng.uniform(0.01, 1, (frames, 17, components, 2))],
        -1,
    )


def tree_of(*arrays):
    return {"S9": {"Walking 1": list(arrays)}}


def to_mixture(array, width, height):
    """In normalised units; a std of 0 becomes 1."""
    uv = normalise_screen(jnp.asarray(array[..., 1:3], jnp.float32), width, height)
    return Mixture(jnp.float32(array[..., 0]), uv, jnp.float32(np.where(array[..., 3:] > 0, array[..., 3:], 1)))


def save(path, **trees):
    np.savez(path, **{key: np.array(tree, dtype=object) for key, tree in trees.items()})
    return path


def test_the_fixture_normalised_is_what_the_original_loader_makes_of_it():
    """It cuts the detections to the 3 frames of the motion capture."""
    cameras = gmm.read_gmm(FIXTURE / "data_2d_h36m_cpn_ft_h36m_dbb_gmm.npz")["S9"]["Walking"]
    golden = np.load(GOLDEN / "loader.npz")
    for camera, array in enumerate(cameras):
        mixture = to_mixture(array[:3], *SIZES[camera])
        check_mixture(mixture)
        weight, mean, std = np.split(golden[f"cam{camera}_gmm"], [1, 3], -1)
        np.testing.assert_array_equal(mixture.weight, weight[..., 0])
        np.testing.assert_allclose(mixture.mean, mean, atol=1e-6)
        np.testing.assert_allclose(mixture.std, std, atol=1e-6)


@pytest.mark.parametrize("kind", ["gt", "cpn_ft_h36m_dbb"])
def test_reading_and_writing_the_fixture_changes_nothing(tmp_path, kind):
    path = FIXTURE / f"data_2d_h36m_{kind}_gmm.npz"
    tree = gmm.read_gmm(path)
    gmm.write_gmm(tmp_path / "again.npz", tree, gmm.read_metadata(path))
    with np.load(path, allow_pickle=True) as a, np.load(tmp_path / "again.npz", allow_pickle=True) as b:
        assert a["metadata"].item() == b["metadata"].item()
        wanted, found = a["positions_2d"].item(), b["positions_2d"].item()
    assert {s: list(v) for s, v in found.items()} == {s: list(v) for s, v in wanted.items()}
    for subject, actions in wanted.items():
        for action, cameras in actions.items():
            np.testing.assert_array_equal(found[subject][action], cameras)
            np.testing.assert_array_equal(tree[subject][action], cameras)


def test_what_is_written_is_read_back_by_us_and_by_numpy(tmp_path):
    """float32 weights come out as numpy's draws need them: of float64, summing to 1."""
    arrays = [mixtures(n, seed=n).astype(np.float32) for n in (3, 4, 3, 5)]
    gmm.write_gmm(tmp_path / "a.npz", tree_of(*arrays), {"image_size": [1000, 1002]})
    with np.load(tmp_path / "a.npz", allow_pickle=True) as file:
        by_numpy = file["positions_2d"].item()["S9"]["Walking 1"]
        symmetry = file["metadata"].item()["keypoints_symmetry"]
    ours = gmm.read_gmm(tmp_path / "a.npz")["S9"]["Walking 1"]
    draw = np.random.RandomState(0).choice
    for written, found, read in zip(arrays, by_numpy, ours, strict=True):
        np.testing.assert_array_equal(found, read)
        np.testing.assert_allclose(read, written, rtol=3e-7)
        assert read.dtype == np.float64
        assert abs(read[..., 0].sum(-1) - 1).max() < 1e-15
        assert [draw(3, p=p) for p in found[0, :, :, 0]], "the original loader's draw"
    assert symmetry == [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]]
    assert gmm.read_metadata(tmp_path / "a.npz")["image_size"] == [1000, 1002]


def test_an_old_numpy_finds_the_names_it_knows(tmp_path):
    """numpy 2 writes numpy._core, which numpy 1.19 beside the original's PyTorch 1.7 cannot import."""
    gmm.write_gmm(tmp_path / "a.npz", tree_of(mixtures()))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        for name in ("positions_2d.npy", "metadata.npy"):
            assert b"numpy.core.multiarray\n_reconstruct" in archive.read(name)
            assert b"numpy._core" not in archive.read(name)


def test_units_of_a_mixture():
    """A joint in the middle of a wide image; one image width is 2; and back again."""
    array = np.array([[[[0.25, 960, 540, 0.1, 0.2], [0.75, 1920, 1080, 0.3, 0.4]]]])
    mixture = to_mixture(array, 1920, 1080)
    np.testing.assert_allclose(mixture.mean[0, 0], [[0, 0], [1, 0.5625]], atol=1e-7)
    np.testing.assert_allclose(gmm.from_mixture(mixture, 1920, 1080), array, rtol=1e-6)


def test_a_component_that_is_never_drawn_may_have_no_spread(tmp_path):
    array = mixtures(components=2)
    array[..., 0], array[..., 1, 3:] = (1, 0), 0
    gmm.write_gmm(tmp_path / "a.npz", tree_of(array))
    check_mixture(to_mixture(gmm.read_gmm(tmp_path / "a.npz", num_cameras=None)["S9"]["Walking 1"][0], 9, 9))


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("error", [3e-9, 1e-7, 1e-4, 1e-2, 0.1])
def test_weights_may_miss_1_as_far_as_numpys_choice_lets_them(tmp_path, dtype, error):
    array = mixtures(components=2).astype(dtype)
    array[..., 0] = (0.5, 0.5)
    array[1, 2, 0, 0] += dtype(error)
    path = save(tmp_path / "a.npz", positions_2d=tree_of(array))
    try:
        np.random.RandomState(0).choice(2, p=array[1, 2, :, 0])
    except ValueError:
        refuses(r"frame 1, joint 2 \(right_knee\): weights that do not sum to 1", gmm.read_gmm, path, num_cameras=1)
    else:
        gmm.read_gmm(path, num_cameras=1)


def test_a_clip_comes_in_pixels(tmp_path):
    """A deviation of 0.02 of an image 2 wide is 6.4 px of 640."""
    one, two = mixtures(seed=1), mixtures(frames=2, seed=2)
    two[0, 3, :, 0], two[0, 3, 1:, 3:] = [1, 0, 0], 0
    two[..., 3:][two[..., 3:] > 0] = 0.02
    gmm.write_gmm(tmp_path / "a.npz", tree_of(one, two), {"image_size": [640, 480]})
    mixture, size = gmm.read_clip(tmp_path / "a.npz", "S9/Walking 1/1")
    assert size == (640, 480)
    check_mixture(Mixture(*(x.astype(np.float64) for x in mixture)))
    np.testing.assert_allclose(mixture.mean, two[..., 1:3], rtol=1e-6)
    np.testing.assert_allclose(mixture.std[1], 6.4, rtol=1e-6)
    np.testing.assert_allclose(mixture.std[0, 3, 1:], 1)
    with pytest.raises(
        ValueError, match=re.escape("a.npz: clip None; needed one of its 2: S9/Walking 1/0, S9/Walking 1/1")
    ):
        gmm.read_clip(tmp_path / "a.npz")
    gmm.write_gmm(tmp_path / "b.npz", tree_of(one))
    assert gmm.read_clip(tmp_path / "b.npz")[1] == (1000, 1000)


def test_what_holds_mixtures(tmp_path):
    gmm.write_gmm(tmp_path / "a.npz", tree_of(mixtures()))
    assert gmm.holds_gmm(tmp_path / "a.npz")
    save(tmp_path / "points.npz", positions_2d=tree_of(np.zeros((3, 17, 2))))
    np.savez(tmp_path / "other.npz", keypoints=np.zeros((3, 17, 2)))
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    for name in ("points.npz", "other.npz", "bad.npz", "none.npz"):
        assert not gmm.holds_gmm(tmp_path / name)


def test_the_peak_of_a_mixture_and_how_sure_it_is():
    """Components that are one peak count together; a wide one, or one elsewhere, speaks against it."""
    uv = np.array([100.0, 50])
    cases = {
        "one": ([1, 0], [uv, uv], [5, 5], 1.0),
        "one peak cut in two": ([0.6, 0.4], [uv, uv + 3], [5, 6], 1.0),
        "or anywhere": ([0.3, 0.7], [uv, uv], [5, 60], 0.3),
        "or elsewhere": ([0.8, 0.2], [uv, uv + 80], [5, 5], 0.8),
        "not seen": ([0, 1], [uv, uv], [5, 60], 0.0),
        "anywhere alone": ([1, 0], [uv, uv], [90, 90], 0.0),
        "at the person's other end": ([1, 0], [uv + 300, uv], [5, 60], 1.0),
    }
    weight, mean, std = (np.array([c[i] for c in cases.values()], np.float64)[None] for i in range(3))
    xy, confidence = gmm.first_peak(Mixture(weight, mean, np.repeat(std[..., None], 2, -1)))
    np.testing.assert_array_equal(xy[0], mean[0, :, 0])
    np.testing.assert_allclose(confidence[0], [c[3] for c in cases.values()], rtol=1e-6)
