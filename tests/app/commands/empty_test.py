"""Inputs in which there is nobody: one line that says so, with code 2, and no file."""

import json

import numpy as np
import pytest
from command_line import called

from jaxpose.app import cli

NOBODY = (0, 17)


def _save(path, **arrays):
    np.savez(path, **arrays)
    return path


def _json(path, value):
    path.write_text("\n".join(map(json.dumps, value)) if path.suffix == ".jsonl" else json.dumps(value))
    return path


def _text(path, text):
    path.write_text(text)
    return path


def _folder(path):
    path.mkdir()
    return path


def _motion(frames):
    return {"poses": np.zeros((frames, 66)), "trans": np.zeros((frames, 3)), "mocap_framerate": 30.0}


def _cameras(frames, sure):
    K = np.tile([[900.0, 0, 500], [0, 900, 500], [0, 0, 1]], (2, 1, 1))
    R, t = np.tile(np.eye(3), (2, 1, 1)), np.array([[0, 0, 4.0], [0.5, 0, 4]])
    return {"keypoints": np.full((frames, 2, 17, 3), sure), "K": K, "R": R, "t": t, "skeleton": "coco17"}


OF_MAPS = {"image_size": [64, 64], "skeleton": "h36m17"}
POINTS, JOINTS = np.full((3, 17, 2), 300.0), np.full((3, 17, 3), np.nan)
FILES = {
    "a list of nobody": lambda d: _json(d / "a.json", []),
    "frames of nobody": lambda d: _json(d / "a.json", [{"people": []}, {"people": []}]),
    "no rows": lambda d: _save(d / "a.npz", keypoints=np.zeros((*NOBODY, 2)), skeleton="coco17"),
    "no trust": lambda d: _save(d / "a.npz", keypoints=POINTS, confidence=np.zeros((3, 17)), skeleton="coco17"),
    "no maps": lambda d: _save(d / "a.npz", heatmaps=np.zeros((*NOBODY, 8, 8)), **OF_MAPS),
    "empty maps": lambda d: _save(d / "a.npz", heatmaps=np.zeros((2, 17, 8, 8)), **OF_MAPS),
    "no poses": lambda d: _save(d / "a.npz", joints3d=np.zeros((*NOBODY, 3)), skeleton="h36m17"),
    "missing joints": lambda d: _save(d / "a.npz", joints3d=JOINTS, skeleton="h36m17"),
    "no frames": lambda d: _save(d / "a.npz", **_motion(0)),
    "no frames of cameras": lambda d: _save(d / "a.npz", **_cameras(0, 0.0)),
    "cameras that see nothing": lambda d: _save(d / "a.npz", **_cameras(2, 0.0)),
    "an empty table": lambda d: _text(d / "a.csv", "frame,person,nose_x,nose_y,nose_confidence\n"),
    "an empty set": lambda d: _json(d / "a.json", {"images": [], "annotations": [], "categories": []}),
    "files of nobody": lambda d: _json(_folder(d / "a") / "0_keypoints.json", {"version": 1.3, "people": []}).parent,
    "an empty folder": lambda d: _folder(d / "a"),
    "lines of nobody": lambda d: _json(d / "a.jsonl", [{"frame": 0, "people": []}, {"frame": 1, "people": []}]),
    "no lines": lambda d: _json(d / "a.jsonl", []),
}
OF_2D = ("a list of nobody", "frames of nobody", "no rows", "no trust", "no maps", "empty maps")
MORE_2D = ("an empty table", "an empty set", "files of nobody", "an empty folder")
OF_3D = ("no poses", "missing joints")
CASES = [
    *(("lift", file) for file in (*OF_2D, *MORE_2D)),
    *(("lift --smooth --axes world", file) for file in OF_2D),
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
    path = FILES[file](tmp_path)
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
