"""The command as a user calls it: results of good input, code 2 and one named line for bad, nothing half-written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxpose import cli
from jaxpose.model import ASSETS

CLIP = ASSETS / "demo_clip.npz"
QUICK = ["--hypotheses", "4", "--steps", "2", "--no-pictures"]


def coco_results(path, frames=3, visible=17):
    rng = np.random.default_rng(0)
    items = []
    for i in range(frames):
        xy = np.array([320, 240]) + rng.normal(0, 60, (17, 2))
        c = np.where(np.arange(17) < visible, 0.9, 0.0)
        keypoints = np.column_stack([xy, c]).ravel().round(2).tolist()
        items.append({"image_id": i, "category_id": 1, "keypoints": keypoints, "score": 0.9})
    path.write_text(json.dumps(items))
    return path


def lift(*arguments):
    cli.main(["lift", *map(str, arguments), *QUICK])


def test_a_clip_becomes_samples_and_a_summary(tmp_path, capsys):
    lift(CLIP, "--out", tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["demo_clip.json", "demo_clip.npz"]
    with np.load(tmp_path / "demo_clip.npz") as z:
        assert z["samples"].shape == (4, 90, 17, 3)
        assert z["covariance"].shape == (90, 17, 3, 3)
        assert "camera axes" in str(z["frame_tag"])
        assert "human size" in str(z["scale"])
        assert np.isfinite(z["samples"]).all()
        assert 2 < np.median(z["root"][..., 2]) < 7, "the person stands about 4 m away"
    summary = json.loads((tmp_path / "demo_clip.json").read_text())
    assert summary["camera"] == "camera from the file"
    assert summary["network_calls"] == 3
    assert "wrote" in capsys.readouterr().out


def test_a_result_can_be_read_back_as_input(tmp_path):
    lift(coco_results(tmp_path / "a.json"), "--out", tmp_path / "once")
    lift(tmp_path / "once" / "a.npz", "--out", tmp_path / "twice")
    with np.load(tmp_path / "once" / "a.npz") as once, np.load(tmp_path / "twice" / "a.npz") as twice:
        np.testing.assert_array_equal(once["keypoints"], twice["keypoints"])
        np.testing.assert_array_equal(once["frame"], twice["frame"])


def test_a_run_is_repeatable_and_its_seed_counts(tmp_path):
    coco = coco_results(tmp_path / "a.json")
    samples = []
    for name, seed in (("x", 1), ("y", 1), ("z", 2)):
        lift(coco, "--out", tmp_path / name, "--seed", seed)
        samples.append(np.load(tmp_path / name / "a.npz")["samples"])
    np.testing.assert_array_equal(samples[0], samples[1])
    assert abs(samples[0] - samples[2]).max() > 1e-3


def test_assumptions_are_said(tmp_path, capsys):
    coco = coco_results(tmp_path / "a.json")
    lift(coco, "--out", tmp_path / "o", "--image-size", "640,480", "--height", "1.8", "--track")
    assert "field of view of 55 degrees assumed (no camera known), image 640 x 480" in capsys.readouterr().out
    summary = json.loads((tmp_path / "o" / "a.json").read_text())
    assert summary["scale"] == "a body height of 1.8 m"
    assert summary["num_hidden_joints"] == 3 * 2  # COCO tells neither the top of the head nor the spine


def test_rows_with_too_few_joints_are_left_out_and_said(tmp_path, capsys):
    items = json.loads(coco_results(tmp_path / "a.json").read_text())
    items[1]["keypoints"][2::3] = [0.0] * 17
    (tmp_path / "a.json").write_text(json.dumps(items))
    lift(tmp_path / "a.json", "--out", tmp_path / "o")
    assert "left out 1 detections with fewer than 4 visible joints" in capsys.readouterr().out
    assert np.load(tmp_path / "o" / "a.npz")["frame"].tolist() == [0, 2]


def bad_inputs():
    return {
        "missing": (lambda d: d / "no.json", [], "no.json: no such file"),
        "empty": (lambda d: _write(d / "e.json", ""), [], "e.json: the file is empty"),
        "truncated": (lambda d: _write(d / "t.json", '[{"image_id": 0, "keyp'), [], "t.json: not JSON, or cut off"),
        "empty folder": (lambda d: _folder(d / "f"), [], "no .json file in this folder"),
        "few joints": (lambda d: coco_results(d / "few.json", visible=3), [], "no detection has 4 visible joints"),
        "wrong shape": (lambda d: _npy(d / "x.npy", np.zeros((2, 9, 2))), [], "x.npy"),
        "nan": (lambda d: _npy(d / "n.npy", np.full((2, 17, 2), np.nan)), ["--skeleton", "coco17"], "visible joints"),
        "unknown skeleton": (lambda d: coco_results(d / "a.json"), ["--skeleton", "alien"], "alien"),
        "bad camera": (lambda d: coco_results(d / "a.json"), ["--camera", "0,1,2,3"], "--camera: focal lengths must"),
        "short camera": (lambda d: coco_results(d / "a.json"), ["--camera", "1,2"], "--camera: needed 4 numbers"),
        "both": (lambda d: coco_results(d / "a.json"), ["--camera", "9,9,1,1", "--fov", "50"], "needed one of them"),
        "fov": (lambda d: coco_results(d / "a.json"), ["--fov", "200"], "--fov: needed degrees between 0 and 180"),
        "height": (lambda d: coco_results(d / "a.json"), ["--height", "175"], "--height: needed metres between"),
        "model": (lambda d: coco_results(d / "a.json"), ["--model", "nope"], "model: got 'nope'; legal are"),
    }


def _write(path, text):
    path.write_text(text)
    return path


def _folder(path):
    path.mkdir()
    return path


def _npy(path, array):
    np.save(path, array)
    return path


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_leaves_with_code_2_one_named_line_and_no_files(case, tmp_path, capsys):
    make, flags, message = bad_inputs()[case]
    path = make(tmp_path)
    with pytest.raises(SystemExit) as exit_info:
        lift(path, "--out", tmp_path / "out", *flags)
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_flags_are_refused_by_the_parser(capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["lift", "x.json", "--out", "o", "--hypotheses", "0"])
    assert exit_info.value.code == 2
    assert "needed a positive number, got 0" in capsys.readouterr().err


def test_help_is_quick_and_names_every_command():
    """The commands' own modules load neither JAX nor numpy; what `import jaxpose` loads is set aside."""
    probe = (
        "import sys, types\n"
        "package = types.ModuleType('jaxpose')\n"
        "package.__path__ = ['jaxpose']\n"
        "sys.modules['jaxpose'] = package\n"
        "import jaxpose.cli\n"
        "assert not {'jax', 'numpy'} & sys.modules.keys()\n"
        "jaxpose.cli.main(['--help'])\n"
    )
    root = Path(cli.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=root, check=True)
    assert "{lift,fuse,complete,denoise,generate,score,ik,fit,interpolate,export,convert,prepare}" in done.stdout
