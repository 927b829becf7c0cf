"""How bent straight limbs are: a person of known angles, and the bends that the shared data has of its people."""

import numpy as np
import pytest

from jaxpose.datasets.straight import ELBOW, KNEE, bends, lowest_tenth
from jaxpose.geometry.skeleton import H36M_17
from tests.shared import DATA, needs_mocap

FPS = 30.0


def standing(knee_degrees, elbow_degrees, frames=60):
    """A still person [F, 17, 3] whose legs are loaded and whose arms hang, bent by so much forwards."""
    x = np.zeros((frames, 17, 3))
    at = {name: x[:, j] for j, name in enumerate(H36M_17.joints)}
    at["thorax"][:, 1] = 1.4
    at["hip"][:, 1] = 0.9
    for side, across in (("left", 0.1), ("right", -0.1)):
        for (top, middle, end), height, bone, degrees in (
            (("hip", "knee", "ankle"), 0.9, 0.42, knee_degrees),
            (("shoulder", "elbow", "wrist"), 1.4, 0.28, elbow_degrees),
        ):
            half = np.radians(degrees) / 2
            at[f"{side}_{top}"][:] = across, height, 0
            at[f"{side}_{middle}"][:] = across, height - bone * np.cos(half), bone * np.sin(half)
            at[f"{side}_{end}"][:] = across, height - 2 * bone * np.cos(half), 0
    return x


def test_a_person_who_stands_is_measured():
    measure = lowest_tenth([standing(17.0, 12.0), standing(40.0, 30.0)], FPS)
    assert measure["knee"] == pytest.approx(17, abs=1e-3)
    assert measure["elbow"] == pytest.approx(12, abs=1e-3)


@pytest.mark.parametrize("change", ["walks", "leans", "lifts", "few"])
def test_frames_that_load_no_leg_do_not_count(change):
    x = standing(17.0, 12.0, 19 if change == "few" else 60)
    if change == "walks":
        x = x + np.linspace(0, 2, len(x))[:, None, None] * [0, 0, 1]
    if change == "leans":
        x[:, H36M_17.joints.index("thorax"), 2] += 0.4
    if change == "lifts":
        x[1:, :, 1] += 0.1
    assert np.isnan(lowest_tenth([x], FPS)["knee"])


def test_what_is_taken_off():
    people = {"a": 16.0, "b": 20.0, "walks": 30.0, "unknown": np.nan, "straight": 3.0}
    taken = bends(people, KNEE)
    assert taken["a"] == pytest.approx((16**2 - 4**2) ** 0.5)
    assert taken["straight"] == 0
    assert taken["walks"] == taken["unknown"] == taken["a"]  # the median of three
    assert set(bends({"a": 7.0, "b": 9.0, "c": 24.0}, KNEE).values()) == {0}  # as joint centres give
    assert set(bends({"a": np.nan}, ELBOW).values()) == {0}


@needs_mocap
@pytest.mark.parametrize(("file", "limb", "given"), [("cmu", KNEE, True), ("hdm05", KNEE, True), ("cmu", ELBOW, True),
                                                      ("reactidle", KNEE, False), ("uiprmd", KNEE, False)])  # fmt: skip
def test_bends_are_those_of_the_shared_data(file, limb, given):
    """Of most people within half a degree; the shared data has further rules for some."""
    with np.load(DATA / "mocap" / f"{file}.npz") as z:
        joints = z["joints17"] * np.float32(z["pos_scale"])
        rows = [slice(a, a + n) for a, n in zip(z["seq_start"], z["seq_length"], strict=True)]
        subject, fps = z["seq_subject"], float(z["fps"])
        known = dict(zip(subject, z[f"seq_{limb.name}_bend"], strict=True)) if given else dict.fromkeys(subject, 0.0)
    of = {who: lowest_tenth([joints[r] for r, s in zip(rows, subject, strict=True) if s == who], fps) for who in known}
    taken = bends({who: m[limb.name] for who, m in of.items()}, limb)
    close = [abs(taken[who] - bend) < 0.6 for who, bend in known.items()]
    assert np.mean(close) >= (0.6 if given else 1.0)
