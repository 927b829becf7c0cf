"""Evidence on keypoints from a file to the lifter: on the model's joints, on the right side, unknown where it was."""

import numpy as np
from shared import refuses

from jaxpose.app.commands import detections
from jaxpose.app.commands.detections import read_detections
from jaxpose.app.commands.values import KeypointFile
from jaxpose.files import write_npz
from jaxpose.geometry.skeleton import H36M_17, MEDIAPIPE_33

AT = {name: MEDIAPIPE_33.joints.index(name) for name in ("left_hip", "right_hip", "left_knee", "right_elbow")}
TO = {name: H36M_17.joints.index(name) for name in (*AT, "hip", "thorax")}


def write(path, evidence):
    rng = np.random.default_rng(0)
    arrays = {"keypoints": rng.uniform(100, 600, (3, 33, 2)), "confidence": np.ones((3, 33)), "evidence": evidence}
    write_npz(path, arrays | {"joints": np.array(MEDIAPIPE_33.joints), "image_size": np.array([640, 480])})
    return path


def test_evidence_is_on_the_joints_of_the_model_and_rows_that_are_left_out_take_theirs(tmp_path):
    evidence = np.tile(np.arange(33.0), (3, 1))[..., None] + 100 * np.arange(3)[:, None, None]
    evidence[2, AT["left_knee"]] = np.nan
    hidden = np.zeros((3, 17), bool)
    hidden[0] = True
    data = read_detections(write(tmp_path / "a.npz", evidence), H36M_17, KeypointFile(), hide=lambda num: hidden)
    found = data.seen.evidence
    assert found.shape == (2, 17, 1)
    np.testing.assert_allclose(found[:, TO["right_elbow"], 0], AT["right_elbow"] + np.array([100, 200]))
    np.testing.assert_allclose(found[0, TO["hip"], 0], 100 + (AT["left_hip"] + AT["right_hip"]) / 2)
    assert np.isnan(found[1, TO["left_knee"], 0])
    assert not np.isnan(found[0, TO["left_knee"], 0])


def test_a_file_without_evidence_has_none_and_of_another_shape_is_refused(tmp_path):
    path = write(tmp_path / "a.npz", np.zeros((3, 32, 1)))
    refuses(r"a\.npz: evidence is \[3, 32, 1\]; needed \[3, 33, any\]", read_detections, path, H36M_17, KeypointFile())
    with np.load(path) as z:
        write_npz(path, {name: z[name] for name in z if name != "evidence"})
    assert read_detections(path, H36M_17, KeypointFile()).seen.evidence is None


def test_evidence_is_exchanged_with_the_sides(tmp_path, monkeypatch):
    evidence = np.tile(np.arange(33.0), (3, 1))[..., None]
    monkeypatch.setattr(detections, "exchanged", lambda *_, **__: np.array([False, True, False]))
    path = write(tmp_path / "a.npz", evidence)
    with np.load(path) as z:
        write_npz(path, {**z, "person": np.zeros(3, int), "frame": np.arange(3), "fps": np.array(30.0)})
    data = read_detections(path, H36M_17, KeypointFile(), video=True)
    knee = data.seen.evidence[:, TO["left_knee"], 0]
    right = MEDIAPIPE_33.joints.index("right_knee")
    np.testing.assert_array_equal(knee, [AT["left_knee"], right, AT["left_knee"]])
