"""Standing height against a figure whose measures are written down."""

import itertools

import jax
import numpy as np
import pytest

from jaxpose import model as released
from jaxpose.base import Camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.tasks.lift import lift, stature


@pytest.fixture(scope="module")
def model():
    return released.load("pose17_fast")  # the fewest network calls


def standing(spine=0.25, chest=0.25, neck=0.12, head=0.11, thigh=(0.44, 0.44), shin=(0.43, 0.43)):
    """A person upright along -y, metres: hips 0.13 m to either side of the pelvis, arms hanging."""
    up = {"hip": 0.0, "spine": spine, "thorax": spine + chest, "neck_nose": spine + chest + neck}
    up["head"] = up["neck_nose"] + head
    place = {name: (0, -y, 0) for name, y in up.items()}
    for side, x, upper, lower in (("right", -0.13, thigh[0], shin[0]), ("left", 0.13, thigh[1], shin[1])):
        place |= {f"{side}_hip": (x, 0, 0), f"{side}_knee": (x, upper, 0), f"{side}_ankle": (x, upper + lower, 0)}
        place |= {
            f"{side}_{j}": (1.5 * x, k - up["thorax"], 0) for j, k in (("shoulder", 0), ("elbow", 0.3), ("wrist", 0.55))
        }
    return np.array([place[joint] for joint in H36M_17.joints], np.float32)


def test_legs_trunk_neck_and_head_end_to_end_over_the_ankle(model):
    """1.60 m from the ankles to the top of the head: 96.1 % of the height (Winter, Biomechanics, fig. 4.1)."""
    figure = standing()
    assert figure[H36M_17.joints.index("left_ankle"), 1] - figure[H36M_17.joints.index("head"), 1] == pytest.approx(1.6)
    assert float(stature(figure, model)) == pytest.approx(1.6 / 0.961, rel=1e-5)


def test_each_segment_counts_once_and_legs_by_halves(model):
    whole = float(stature(standing(), model)) * 0.961
    for change in ({"spine": 0.35}, {"chest": 0.35}, {"neck": 0.22}, {"head": 0.21}):
        assert float(stature(standing(**change), model)) * 0.961 == pytest.approx(whole + 0.1, rel=1e-5), change
    for change in ({"thigh": (0.54, 0.44)}, {"shin": (0.43, 0.53)}):
        assert float(stature(standing(**change), model)) * 0.961 == pytest.approx(whole + 0.05, rel=1e-5), change


def test_a_bent_and_turned_body_is_as_tall(model):
    """Segments are laid end to end: the shin swings about the knee, and the whole body lies down."""
    figure = standing()
    knee, ankle = (H36M_17.joints.index(f"left_{joint}") for joint in ("knee", "ankle"))
    figure[ankle] = figure[knee] + np.array([0, 0, 0.43])
    lying = figure[:, [1, 0, 2]] + np.float32([0.3, -2, 4])
    assert float(stature(np.stack([figure, lying]), model)[1]) == pytest.approx(1.6 / 0.961, rel=1e-5)


def test_a_given_height_is_that_of_the_lifted_skeletons(model):
    """Measured here by hand, from the joints of each sample."""
    uv = standing() / 4 * 1000 + 500
    found = lift(
        jax.random.key(0),
        model,
        uv[None, :, :2],
        camera=Camera(np.float32([1000, 1000, 500, 500])),
        num_hypotheses=3,
        height=1.9,
    ).samples
    for pose in np.asarray(found, np.float64)[:, 0]:
        length = lambda a, b, pose=pose: np.linalg.norm(pose[H36M_17.joints.index(a)] - pose[H36M_17.joints.index(b)])  # noqa: E731
        legs = [length(f"{s}_hip", f"{s}_knee") + length(f"{s}_knee", f"{s}_ankle") for s in ("left", "right")]
        trunk = ("hip", "spine", "thorax", "neck_nose", "head")
        tall = sum(legs) / 2 + sum(length(a, b) for a, b in itertools.pairwise(trunk))
        assert tall / 0.961 == pytest.approx(1.9, rel=1e-4)
