"""MoveNet's crops and people: what is there, where the next crop is, and that pixels stay where they are.

The network's own numbers are compared in tests/networks/movenet_test.py; here a function of the crop stands for it.
"""

import numpy as np
import pytest

from jaxpose.app.detect.base import Frame
from jaxpose.app.detect.movenet import movenet, person_of
from jaxpose.app.detect.people import Region
from jaxpose.geometry.skeleton import COCO_17

REGION = Region(np.array([300.0, 200.0]), 100.0, 0.0)
INDEX = {joint: i for i, joint in enumerate(COCO_17.joints)}


def joints(score=0.8, **places):
    """Joints in the middle of the crop, but for those in `places`."""
    values = np.full((17, 3), 0.5)
    values[:, 2] = score
    for joint, xy in places.items():
        values[INDEX[joint], :2] = xy
    return values


def test_points_are_shares_of_the_region():
    person = person_of(REGION, joints(nose=(0.25, 1.0)))
    np.testing.assert_allclose(person.xy_px[INDEX["nose"]], (275, 250))
    np.testing.assert_allclose(person.confidence, 0.8)
    assert person.world is None


@pytest.mark.parametrize(
    ("places", "side"),
    [
        ({"left_shoulder": (0.5, 0.4)}, 2 * 1.9 * 10),
        ({"left_shoulder": (0.5, 0.4), "left_ankle": (0.5, 0.7)}, 2 * 1.2 * 20),
        ({"right_wrist": (0.2, 0.5)}, 2 * 1.2 * 30),
    ],
    ids=("trunk", "ankle", "wrist"),
)
def test_the_next_crop_holds_trunk_and_limbs(places, side):
    region = person_of(REGION, joints(**places)).region
    np.testing.assert_allclose(region.centre, REGION.centre)
    np.testing.assert_allclose(region.side, side)


def test_joints_that_are_not_seen_move_no_crop():
    values = joints(left_shoulder=(0.5, 0.4), left_ankle=(0.5, 0.95))
    values[INDEX["left_ankle"], 2] = 0.1
    np.testing.assert_allclose(person_of(REGION, values).region.side, 38)


def test_nobody_is_where_no_trunk_is_seen_or_the_mean_is_low():
    values = joints()
    values[[INDEX["left_hip"], INDEX["right_hip"]], 2] = 0.1
    assert person_of(REGION, values) is None
    assert person_of(REGION, joints(score=0.25)) is None
    assert person_of(REGION, joints(score=0.35)) is not None
    assert person_of(REGION, joints(score=np.nan)) is None


def read_bright(crops):
    """In the place of the network: all joints at the centre of the brightest in a crop, a shoulder above it."""
    found = []
    for crop in crops:
        rows, columns = np.nonzero(crop[..., 0] > max(100, 0.8 * crop.max()))
        values = joints(score=crop.max() / 300)
        if len(rows):
            values[:, :2] = (columns.mean() + 0.5) / 256, (rows.mean() + 0.5) / 256
            values[INDEX["left_shoulder"], 1] -= 0.2
        found.append(values)
    return np.array(found)


def image(*boxes):
    rgb = np.zeros((600, 800, 3), np.uint8)
    for x, y in boxes:
        rgb[y : y + 40, x : x + 20] = 255
    return rgb


def test_a_bright_body_is_found_in_pixels_of_the_image_and_followed():
    """The crop of the next frame is another, and the point stays: x + 10 of a box from x to x + 20."""
    detector = movenet(read_bright, people=1)
    frames = [Frame(n, n / 30, image((300 + 4 * n, 200))) for n in range(4)]
    for n, found in enumerate(detector.detect(frames)):
        assert found.xy_px.shape == (1, 17, 2)
        np.testing.assert_allclose(found.xy_px[0, INDEX["nose"]], (310 + 4 * n, 220), atol=1.5 if n == 0 else 0.5)


def test_two_people_are_found_the_brighter_first_and_nobody_in_the_dark():
    for dim, order in ((0, [710, 70]), (1, [70, 710])):
        rgb = image((60, 100), (700, 500)) // np.where(np.arange(800) // 400 == dim, 2, 1)[:, None].astype(np.uint8)
        (found,) = movenet(read_bright).detect([Frame(0, 0.0, rgb)])
        assert np.round(found.xy_px[:, INDEX["nose"], 0], -1).tolist() == order
    (found,) = movenet(read_bright).detect([Frame(0, 0.0, image())])
    assert found.xy_px.shape == (0, 17, 2)
