"""Files of heatmaps: what a detector would save, read back; and what is wrong with a file by name."""

import re

import numpy as np
import pytest
from shared import refuses

from jaxpose.geometry.skeleton import COCO_17, H36M_17
from jaxpose.io.heatmap_files import intensities, read_heatmaps

MAPS = np.random.default_rng(0).uniform(0.01, 1, (3, 17, 6, 5)).astype(np.float32)
WHOLE = {"heatmaps": MAPS, "image_size": [640, 480], "skeleton": "h36m17"}


def save(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_everything_a_file_may_say(tmp_path):
    box = np.array([[10, 20, 150, 200], [11.5, 21, 150, 200], [-5, 0, 150, 200]])
    path = save(
        tmp_path / "a.npz",
        **WHOLE,
        box=box,
        intrinsics=[[500, 0, 320], [0, 510, 240], [0, 0, 1]],
        frame=[4, 5, 9],
        fps=25,
    )
    data = read_heatmaps(path)
    np.testing.assert_array_equal(intensities(data, slice(1, 3)), MAPS[1:])
    np.testing.assert_array_equal(data.box, box)
    np.testing.assert_array_equal(data.intrinsics, np.tile([500, 510, 320, 240], (3, 1)))
    np.testing.assert_array_equal(data.frame, [4, 5, 9])
    assert (data.skeleton, data.image_size, data.fps) == (H36M_17, (640, 480), 25.0)


def test_without_a_box_the_maps_cover_the_image(tmp_path):
    data = read_heatmaps(save(tmp_path / "a.npz", **WHOLE))
    np.testing.assert_array_equal(data.box, [[0, 0, 640, 480]] * 3)
    np.testing.assert_array_equal(data.frame, [0, 1, 2])
    assert (data.intrinsics, data.fps) == (None, None)


def test_an_array_alone_needs_to_be_told_the_rest(tmp_path):
    np.save(tmp_path / "a.npy", MAPS)
    data = read_heatmaps(tmp_path / "a.npy", skeleton=COCO_17, image_size=(640, 480))
    np.testing.assert_array_equal(intensities(data, np.array([2, 0])), MAPS[[2, 0]])
    assert data.skeleton == COCO_17
    with pytest.raises(ValueError, match=r"a.npy: 17 joints without names are .*h36m17 or .*name the skeleton"):
        read_heatmaps(tmp_path / "a.npy", image_size=(640, 480))
    refuses(r"a.npy: it has no image_size", read_heatmaps, tmp_path / "a.npy", skeleton=COCO_17)


def test_bytes_count_255_as_1(tmp_path):
    data = read_heatmaps(save(tmp_path / "a.npz", **WHOLE | {"heatmaps": (MAPS * 255).astype(np.uint8)}))
    np.testing.assert_allclose(intensities(data, slice(3)), MAPS, atol=1 / 255)


def test_maps_are_brought_into_the_skeletons_order_by_name(tmp_path):
    order = np.random.default_rng(1).permutation(17)
    names = [H36M_17.joints[i] for i in order]
    data = read_heatmaps(save(tmp_path / "a.npz", heatmaps=MAPS[:, order], image_size=[640, 480], joints=names))
    np.testing.assert_array_equal(intensities(data, slice(3)), MAPS)


def test_an_empty_map_is_an_error_or_hidden(tmp_path):
    maps = MAPS.copy()
    maps[2, 10] = 0
    path = save(tmp_path / "a.npz", **WHOLE | {"heatmaps": maps})
    refuses(r"a.npz: heatmaps: frame 2, joint 10 is 0 everywhere", read_heatmaps, path)
    assert not intensities(read_heatmaps(path, missing="hide"), slice(2, 3))[0, 10].any()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"heatmaps": MAPS[0]}, r"heatmaps: needed numbers \[N, J, h, w\], got float32 of shape \[17, 6, 5\]"),
        ({"heatmaps": np.where(MAPS > 0.99, np.nan, MAPS)}, "heatmaps: frame 0, joint [0-9]+ is not finite"),
        ({"heatmaps": MAPS - 0.5}, "heatmaps: frame 0, joint 0 is negative"),
        ({"heatmaps": (9 * MAPS).astype(np.int64)}, "heatmaps of type int64; must be uint8 or floats"),
        ({"heatmaps": MAPS.astype(str)}, "heatmaps: needed numbers"),
        ({"heatmaps": MAPS[:, :3], "skeleton": "h36m17"}, "17 distinct joint names for 3 joints"),
        ({"box": np.ones((2, 4))}, r"box is \[2, 4\]; needed \[3, 4\]"),
        ({"box": [[0, 0, 9, 9], [0, 0, 9, 0], [0, 0, 9, 9]]}, r"box \[0.0, 0.0, 9.0, 0.0\] of frame 1"),
        ({"box": np.full((3, 4), np.nan)}, "box .* of frame 0"),
        ({"image_size": [[640, 480], [640, 481], [640, 480]]}, "has no image_size common to all rows"),
        ({"frame": [0, 1, 1]}, "frame 1 occurs 2 times"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, change, fault):
    path = save(tmp_path / "bad.npz", **WHOLE | change)
    refuses(f"^{re.escape(str(path))}: .*{fault}|^{re.escape(str(path))}: {fault}", read_heatmaps, path)
