"""Groups that are left out, and how their poses are seen."""

import itertools

import numpy as np
import pytest
from shared import refuses

from experiments.models import groups
from experiments.models.groups import BENCH, PINHOLE
from jaxpose.datasets.mocap import Mocap

SUBJECT = np.array(["cmu01", "cmu02", "cmu03", "cmu04", "cmu05", "hdm_bd"])
CATEGORY = np.array(["walk", "climb", "floor", "walk", "acrobatics", "walk"])


@pytest.fixture(scope="module")
def mocap():
    """A straight figure, which leans by 0.1 rad more in each frame, 10 frames a sequence."""
    height = np.linspace(0, 1.7, 17)
    lean = 0.1 * np.arange(60)
    joints = np.stack(
        [0 * lean[:, None] + 0.01 * np.arange(17), np.cos(lean)[:, None] * height, np.sin(lean)[:, None] * height], -1
    )
    joints[:, 0] = 0
    return Mocap(joints.astype(np.float32), np.repeat(np.arange(6), 10), SUBJECT, CATEGORY, SUBJECT)


def test_groups_leave_out_what_they_say(mocap):
    assert SUBJECT[groups.left_out(mocap, "databases")].tolist() == ["hdm_bd"]
    assert CATEGORY[groups.left_out(mocap, "floor")].tolist() == ["climb", "floor", "acrobatics"]
    assert SUBJECT[groups.left_out(mocap, "people")].tolist() == ["cmu03"]
    refuses("leave_out: got 'x', must be one of", groups.left_out, mocap, "x")


def test_more_people_of_one_seed_contain_fewer_with_all_their_sequences(mocap):
    twice = mocap._replace(subject=SUBJECT[[0, 1, 2, 3, 4, 0]])
    kept = [set(np.flatnonzero(groups.some_people(twice, num, 3)).tolist()) for num in (1, 2, 3, 4, 5)]
    assert all(few < more for few, more in itertools.pairwise(kept))
    assert kept[-1] == set(range(6))
    assert all(({0, 5} <= rows) or not ({0, 5} & rows) for rows in kept)
    for wrong in (-1, 6):
        with pytest.raises(ValueError, match=f"config.data.num_people: needed 1 to 5, or 0 for all, got {wrong}"):
            groups.some_people(twice, wrong, 3)


def test_seen_poses_project_to_their_keypoints(mocap):
    seen = groups.see(mocap, BENCH, 40, 0)
    assert len(seen.subject) == len(set(map(tuple, seen.joints_cam[:, 16].tolist()))) == 40
    np.testing.assert_allclose(seen.keypoints_true, seen.joints_cam[..., :2] / seen.joints_cam[..., 2:], atol=1e-5)
    assert PINHOLE.tolist() == [1, 1, 0, 0]
