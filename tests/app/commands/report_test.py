"""Results are whole, and hold finite numbers where their contract says so, or nothing is written."""

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import xla
from command_line import called
from small_models import write_joint_model, write_motion_model

from jaxpose.app import cli
from jaxpose.app.commands import report
from jaxpose.model import ASSETS
from jaxpose.tasks import people

ROOT = Path(cli.__file__).parents[2]
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


@pytest.mark.slow
def test_live_leaves_out_who_has_no_finite_pose(tmp_path, capsys, monkeypatch):
    person = np.tile([300.0, 200, 1], (17, 1)) + np.random.default_rng(0).uniform(0, 200, (17, 3)) * [1, 1, 0]
    lines = [{"frame": f, "people": [{"pose_keypoints_2d": person.ravel().tolist()}]} for f in range(3)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, lines)))
    step, calls = people.step_stream, []

    def broken_once(*given, **named):
        found, stream = step(*given, **named)
        calls.append(stream)
        return (found._replace(mean=np.nan * found.mean) if len(calls) == 2 else found), stream

    monkeypatch.setattr(people, "step_stream", broken_once)
    model = write_motion_model(tmp_path)
    given = ["--model", str(model), "--camera", "900,900,500,400", "--hypotheses", "2", "--latency", "0"]
    cli.main(["live", str(tmp_path / "a.jsonl"), *given, "--idle", "0.05", "--skeleton", "h36m17"])
    _, *rows = (json.loads(row, parse_constant=pytest.fail) for row in capsys.readouterr().out.splitlines())
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert [len(row["people"]) for row in rows] == [1, 0, 1]


def test_a_full_disk_leaves_no_half_of_a_result(model_file, tmp_path, capsys):
    """A real limit of the system: files of at most 40 kB, which the numbers of the result exceed."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))
    model = ["--model", str(model_file), "--hypotheses", "4", "--steps", "2", "--no-pictures"]
    try:
        code, said = called(
            capsys, cli.main, "lift", str(ASSETS / "demo_clip.npz"), "--out", str(tmp_path / "o"), *model
        )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert code == 1
    assert said.splitlines()[-1] == f"jaxpose lift: {tmp_path}/o/demo_clip.npz: not written: File too large"
    assert not list((tmp_path / "o").iterdir())


@pytest.mark.slow
def test_two_commands_at_once_leave_whole_files(tmp_path):
    """Of one name in one folder: each file is one of the two's, whole."""
    probe = f"import sys; from jaxpose.app import cli; cli.main(['generate', '--num', '64', '--steps', '2', '--model', \
'{write_joint_model(tmp_path)}', '--no-pictures', '--csv', '--out', '{tmp_path}/o', '--seed', sys.argv[1]])"
    env = os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": xla.FLAGS, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    both = [subprocess.Popen([sys.executable, "-c", probe, seed], env=env, stdout=subprocess.DEVNULL) for seed in "12"]
    assert [process.wait(timeout=600) for process in both] == [0, 0]
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["generated.csv", "generated.json", "generated.npz"]
    with np.load(tmp_path / "o" / "generated.npz") as z:
        assert z["samples"].shape == (64, 17, 3)
    assert json.loads((tmp_path / "o" / "generated.json").read_text())["seed"] in (1, 2)
    assert len((tmp_path / "o" / "generated.csv").read_text().splitlines()) == 1 + 64 * 17
