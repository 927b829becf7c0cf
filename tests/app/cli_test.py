"""The command as a user calls it: results of good input, code 2 and one named line for bad, nothing half-written."""

import dataclasses
import importlib
import inspect
import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
from command_line import refusal, written

from jaxpose.app import cli
from jaxpose.app.commands.options import COMMANDS
from jaxpose.app.commands.parser import make_parser
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
    return written(path, items)


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
    assert summary["compile_seconds"] < summary["seconds"]
    assert "wrote" in capsys.readouterr().out


def test_a_results_frame_rate_and_image_size_are_its_inputs(tmp_path):
    keypoints = np.random.default_rng(0).uniform(50, 400, (2, 17, 2))
    np.savez(tmp_path / "a.npz", keypoints=keypoints, skeleton="coco17", fps=25.0, image_size=[640, 480])
    lift(tmp_path / "a.npz", "--out", tmp_path / "o")
    with np.load(tmp_path / "o" / "a.npz") as z:
        assert (z["fps"], z["image_size"].tolist()) == (25, [640, 480])


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
        "few joints": (lambda d: coco_results(d / "few.json", visible=3), [], "no detection has 4 visible joints"),
        "nan": (
            lambda d: written(d / "n.npy", np.full((2, 17, 2), np.nan)),
            ["--skeleton", "coco17"],
            "visible joints",
        ),
        "unknown skeleton": (lambda d: coco_results(d / "a.json"), ["--skeleton", "alien"], "alien"),
        "bad camera": (lambda d: coco_results(d / "a.json"), ["--camera", "0,1,2,3"], "--camera: focal lengths must"),
        "both": (lambda d: coco_results(d / "a.json"), ["--camera", "9,9,1,1", "--fov", "50"], "needed one of them"),
        "model": (lambda d: coco_results(d / "a.json"), ["--model", "nope"], "model: got 'nope'; must be"),
    }


@pytest.mark.parametrize("case", bad_inputs())
def test_bad_input_leaves_with_code_2_one_named_line_and_no_files(case, tmp_path, capsys):
    make, flags, message = bad_inputs()[case]
    assert message in refusal(capsys, cli.main, "lift", make(tmp_path), "--out", tmp_path / "out", *QUICK, *flags)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lift", "x.json"], "jaxpose lift: --out: needed, and not given"),
        (["lift", "x.json", "--nope", "3"], "jaxpose lift: --nope: not known; --out: needed, and not given"),
        (["lift", "x", "--out", "o", "--gravity", "-1,0,0"], "--gravity: needed a value; one that begins with - is"),
        (["lift", "x.json", "--out", "o", "--depht", "encoder"], "jaxpose lift: Unknown option: --depht"),
        (["lift", "x.json", "--out", "o", "--aggregate", "best"], 'Invalid value "best" for --aggregate. Choose from'),
        ([], "jaxpose: needed a command, one of lift, live, fuse, complete"),
        (["convert"], "jaxpose convert: needed a command, one of gfpose, diffpose, dposer"),
        (["prepare", "3dhp", "--poses", "x.npz", "--out", "o"], "jaxpose prepare 3dhp: --split: needed, and not given"),
        (["calibrate", "r", "--truth=truth.npz", "--out=truth.npz"], "--out: truth.npz is an input and would be over"),
        (["liftt"], 'jaxpose: Unknown command "liftt". Did you mean "lift"?'),
    ],
)
def test_bad_flags_are_refused_in_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "truth.npz").touch()
    error = refusal(capsys, cli.main, *arguments)
    assert message in error
    assert error.count("\n") == 1


def test_spellings_of_flags():
    """Values that begin with a dash, aliases, lists of numbers, positional arguments in any place."""

    def options(*arguments):
        return make_parser()(list(arguments))[1]

    lift = options("lift", "--out", "o", "--intrinsics", "900,900,500,400", "x.json", "--image-size=640,480")
    assert lift.input == Path("x.json")
    assert lift.keypoints.camera == (900, 900, 500, 400)
    assert lift.keypoints.image_size == (640, 480)
    assert lift == options("lift", "x.json", "--camera=900,900,500,400", "--image-size", "640,480", "--out", "o")
    for up in (["--up=-y"], ["--up", "-y"]):
        assert options("complete", "x.npz", "--out", "o", *up).axes.up == "-y"
    fuse = options("fuse", "a.npz", "--points", "coco17", "--cameras", "0, 2", "--out", "o", "b.npz")
    assert (fuse.input, fuse.skeleton, fuse.cameras) == ((Path("a.npz"), Path("b.npz")), "coco17", ("0", "2"))
    assert options("ik", "x.npz", "--skeleton", "coco17", "--no-pictures", "--out", "o").output.no_pictures
    assert options("interpolate", "a.npz", "b.npz", "--frame-b", "-1", "--out", "o").frame_b == -1


def test_help_loads_neither_jax_nor_numpy_and_every_option_has_its_text():
    probe = (
        "import sys, contextlib, io, jaxpose.app.cli\n"
        "from jaxpose.app.commands.options import COMMANDS\n"
        "for name in COMMANDS:\n"
        "    text = io.StringIO()\n"
        "    with contextlib.redirect_stdout(text):\n"
        "        jaxpose.app.cli.main([*name.split(), '--help'])\n"
        "    lines = [' '.join(line.strip('│* ').split()) for line in text.getvalue().splitlines()]\n"
        "    assert not [line for line in lines if line.startswith('--') and len(line.split()) < 3], (name, lines)\n"
        "jaxpose.app.cli.main(['--help'])\n"
        "jaxpose.app.cli.main(['--version'])\n"
        "assert not {'jax', 'numpy'} & sys.modules.keys()\n"
    )
    root = Path(cli.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("lift", "fuse", "complete", "denoise", "generate", "score", "ik", "fit", "interpolate", "export"):
        assert f"│ {name} " in done.stdout
    assert done.stdout.splitlines()[-1] == version("jaxpose")


def test_every_command_names_a_function_that_takes_its_options():
    for options, place in COMMANDS.values():
        module, _, function = place.partition(":")
        found = inspect.signature(getattr(importlib.import_module(f"jaxpose.{module}"), function), eval_str=True)
        if module.startswith("app.commands."):
            assert next(iter(found.parameters.values())).annotation is options
        else:
            found.bind(**{entry.name: entry.default for entry in dataclasses.fields(options) if entry.name != "_"})
