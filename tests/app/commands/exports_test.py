"""`jaxpose ... --bvh --glb --trc --c3d --csv`: files of a result for other programs."""

import json

import numpy as np
import pytest

from jaxpose.model import ASSETS

CLIP = ASSETS / "demo_clip.npz"


def test_lift_writes_them_and_the_summary_says_how(run, tmp_path):
    with np.load(CLIP) as z:
        short = {key: z[key][:8] if z[key].shape[:1] == (90,) else z[key] for key in z}
    np.savez(tmp_path / "a.npz", **short)
    run("lift", tmp_path / "a.npz", "--out", tmp_path / "o", "--bvh", "--csv", "--takes", 1)
    names = {p.name for p in (tmp_path / "o").iterdir()}
    assert names == {f"a{rest}" for rest in (".npz", ".json", ".bvh", "_take0.bvh", ".csv")}
    said = json.loads((tmp_path / "o" / "a.json").read_text())["exports"]
    assert said["fps"] == 30
    assert "camera, taken as level" in said["axes"]
    assert said["rotations"]["0"]["position_error_mm"]


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        ("lift", ["--takes", "2"], "--takes: is of files for other programs"),
        ("lift", ["--bvh", "--takes", "9"], "--takes: got 9, and there are 4 hypotheses"),
        ("lift", ["--csv", "--body", "smpl.npz"], "--body: is of bodies, and of --bvh and --glb"),
        ("lift", ["--amass"], "--amass: there is a mesh of bodies only"),
        ("lift", ["--obj"], "--obj: there is a mesh of bodies only"),
    ],
)
def test_flags_that_cannot_be_served_are_refused_before_any_work(refused, tmp_path, command, flags, message):
    assert message in refused(command, CLIP, "--out", tmp_path / "o", *flags)
    assert not (tmp_path / "o").exists()


def test_inputs_are_not_overwritten(refused, tmp_path):
    source = tmp_path / "a.csv"
    source.write_text("frame\n", encoding="utf-8")
    assert "would be overwritten" in refused("lift", source, "--out", tmp_path)
