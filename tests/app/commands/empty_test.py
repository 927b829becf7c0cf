"""Inputs in which there is nobody: one line that says so, with code 2, and no file."""

import numpy as np
import pytest
from command_line import called, written

from jaxpose.app import cli

NOBODY = (0, 17)


def _motion(frames):
    return {"poses": np.zeros((frames, 66)), "trans": np.zeros((frames, 3)), "mocap_framerate": 30.0}


def _cameras(frames, sure):
    K = np.tile([[900.0, 0, 500], [0, 900, 500], [0, 0, 1]], (2, 1, 1))
    R, t = np.tile(np.eye(3), (2, 1, 1)), np.array([[0, 0, 4.0], [0.5, 0, 4]])
    return {"keypoints": np.full((frames, 2, 17, 3), sure), "K": K, "R": R, "t": t, "skeleton": "coco17"}


OF_MAPS = {"image_size": [64, 64], "skeleton": "h36m17"}
POINTS, JOINTS = np.full((3, 17, 2), 300.0), np.full((3, 17, 3), np.nan)
FILES = {
    "a list of nobody": ("a.json", []),
    "frames of nobody": ("a.json", [{"people": []}, {"people": []}]),
    "no rows": ("a.npz", dict(keypoints=np.zeros((*NOBODY, 2)), skeleton="coco17")),
    "no trust": ("a.npz", dict(keypoints=POINTS, confidence=np.zeros((3, 17)), skeleton="coco17")),
    "no maps": ("a.npz", dict(heatmaps=np.zeros((*NOBODY, 8, 8)), **OF_MAPS)),
    "empty maps": ("a.npz", dict(heatmaps=np.zeros((2, 17, 8, 8)), **OF_MAPS)),
    "no poses": ("a.npz", dict(joints3d=np.zeros((*NOBODY, 3)), skeleton="h36m17")),
    "missing joints": ("a.npz", dict(joints3d=JOINTS, skeleton="h36m17")),
    "no frames": ("a.npz", _motion(0)),
    "no frames of cameras": ("a.npz", _cameras(0, 0.0)),
    "cameras that see nothing": ("a.npz", _cameras(2, 0.0)),
    "an empty table": ("a.csv", "frame,person,nose_x,nose_y,nose_confidence\n"),
    "an empty set": ("a.json", {"images": [], "annotations": [], "categories": []}),
    "files of nobody": ("a/0_keypoints.json", {"version": 1.3, "people": []}),
    "an empty folder": ("a", None),
    "lines of nobody": ("a.jsonl", [{"frame": 0, "people": []}, {"frame": 1, "people": []}]),
    "no lines": ("a.jsonl", []),
}
OF_2D = ("a list of nobody", "frames of nobody", "no rows", "no trust", "no maps", "empty maps")
MORE_2D = ("an empty table", "an empty set", "files of nobody", "an empty folder")
OF_3D = ("no poses", "missing joints")
CASES = [
    *(("lift", file) for file in (*OF_2D, *MORE_2D)),
    *(("lift --axes world", file) for file in OF_2D),
    *(("fit", file) for file in (*OF_2D[:4], "no frames of cameras", "cameras that see nothing")),
    *(("complete", file) for file in (*OF_2D[:4], *OF_3D)),
    *((command, file) for command in ("denoise", "score", "ik") for file in OF_3D),
    *(("denoise --model prior21", file) for file in (*OF_3D, "no frames")),
    ("complete --model prior21", "no frames"),
    ("score", "no frames"),
    ("interpolate", "no frames"),
    *(("fuse", file) for file in ("no frames of cameras", "cameras that see nothing", "no rows")),
    *(("live --idle 0.01 --model motion17 --image-size 640,480", file) for file in ("lines of nobody", "no lines")),
    *(("prepare gmm --keypoints", file) for file in OF_2D[:4]),
    *(("prepare gmm --heatmaps", file) for file in OF_2D[4:]),
    *((command, "no frames") for command in ("prepare motion", "prepare mocap", "prepare fragments --files")),
    *(("prepare mocap", file) for file in OF_3D),
]


@pytest.mark.parametrize(("command", "file"), CASES)
def test_nobody_is_told_in_one_line(command, file, tmp_path, capsys):
    name, content = FILES[file]
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path = written(path, content) if path.parent == tmp_path else written(path, content).parent
    words = command.split()
    two = [str(path)] if words[0] == "interpolate" else []
    out = [] if words[0] == "live" else ["--out", str(tmp_path / ("o.npz" if words[:2] == ["prepare", "gmm"] else "o"))]
    code, said = called(capsys, cli.main, *words, str(path), *two, *out)
    last = said.splitlines()[-1]
    assert (code, "Traceback" in said) == (2, False), said
    assert last.startswith("jaxpose ")
    assert path.name in last or "of 1 files" in last
    for word in ("zero-size", "index", "division", "argmax", "reduction", "KeyError", "cannot convert", "broadcast"):
        assert word not in last
    assert sorted(p.name for p in tmp_path.iterdir()) == [path.name]
