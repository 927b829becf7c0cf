"""Results hold finite numbers where their contract says so, or nothing is written; summaries are JSON."""

import json

import numpy as np
import pytest
from command_line import called

from jaxpose import cli
from jaxpose.commands import report
from jaxpose.model import ASSETS

FRAMES, PEOPLE = np.array([5, 6, 7]), np.array([0, 0, 1])
LABELS = {"frame": FRAMES, "person": PEOPLE}


def refused(arrays, summary=None, folder=None):
    with pytest.raises(ValueError) as found:  # noqa: PT011  # the message is what is tested
        list(report.write_numbers(folder, "a", LABELS | arrays, summary or {}))
    assert not folder.exists()
    return str(found.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("name", "shape", "place"),
    [
        ("samples", (2, 3, 17, 3), (1, 2, 4, 0)),
        ("mean", (3, 17, 3), (2, 0, 0)),
        ("weights", (2, 3), (0, 2)),
        ("path", (4, 2, 3, 17, 3), (3, 1, 2, 0, 0)),
    ],
)
def test_the_first_array_and_frame_without_a_number_are_told(tmp_path, name, shape, place, value):
    wrong = np.zeros(shape, np.float32)
    wrong[place] = value
    said = refused({"radius_90": np.zeros((3, 17)), name: wrong, "z": wrong}, folder=tmp_path / "o")
    assert said.startswith(f"{name} of the result is NaN or infinite at frame 7, person 1; nothing is written")


def test_arrays_that_may_lack_numbers_may_not_be_infinite(tmp_path):
    seen = np.array([[np.nan, 1], [2, 3], [4, 5]])
    list(report.write_numbers(tmp_path / "o", "a", LABELS | {"observed": seen, "error_px": seen}, {}))
    assert "error_px of the result" in refused({"error_px": np.where(seen == 3, np.inf, seen)}, folder=tmp_path / "p")


def test_a_summary_without_a_number_is_refused_before_anything_is_written(tmp_path):
    assert "a.json: not written: needed finite numbers" in refused({}, {"x": [float("nan")]}, folder=tmp_path / "o")
    assert report.rounded(np.array([1.234, np.nan, np.inf]), 1) == [1.2, None, None]


@pytest.mark.parametrize("scale", [1e25, 1e12])
@pytest.mark.parametrize("camera", [[], ["--camera", "1000,1000,500,500"], ["--image-size", "1000,1000", "--fov", "5"]])
def test_keypoints_out_of_all_proportion_give_finite_numbers_or_one_line(tmp_path, capsys, scale, camera):
    with np.load(ASSETS / "demo_clip.npz") as clip:
        keypoints = clip["keypoints"][:4].copy()
    keypoints[2] *= scale
    np.savez(tmp_path / "a.npz", keypoints=keypoints, confidence=np.ones((4, 17)), skeleton="h36m17")
    quick = ["--hypotheses", "2", "--steps", "2", "--no-pictures", "--out", str(tmp_path / "o")]
    code, said = called(capsys, cli.main, "lift", str(tmp_path / "a.npz"), *quick, *camera)
    if code:
        assert (code, said.splitlines()[-1].startswith("jaxpose lift: ")) == (2, True)
        assert "Traceback" not in said
        assert not (tmp_path / "o").exists()
        return
    with np.load(tmp_path / "o" / "a.npz") as z:
        assert all(np.isfinite(z[name]).all() for name in z.files if z[name].dtype.kind == "f")
    json.loads((tmp_path / "o" / "a.json").read_text(), parse_constant=pytest.fail)
