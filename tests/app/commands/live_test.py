"""`jaxpose live`: what goes in as lines or files comes out frame by frame, as the stream in Python draws it."""

import io
import json
import os
import signal
from types import SimpleNamespace

import jax
import numpy as np
import pose_oracle
import pytest
from small_models import write_motion_model

from jaxpose import model as released
from jaxpose.app import cli
from jaxpose.app.commands import live as command
from jaxpose.app.commands.live import _until_interrupted
from jaxpose.base import Camera
from jaxpose.tasks.stream import start_stream, step_stream

SIZE, CAMERA = "1000,1000", "1000,1000,500,500"


@pytest.fixture(scope="module")
def motions(tmp_path_factory):
    return write_motion_model(tmp_path_factory.mktemp("motions"))


def person(seed, num, shift=0.0):
    joints = pose_oracle.draw(np.random.default_rng(seed), 1).repeat(num, 0)
    joints[..., 0] += 0.005 * np.arange(num)[:, None] + shift
    return (500 + 1000 * joints[..., :2] / joints[..., 2:]).astype(np.float32)


def line(*people, **more):
    keypoints = [np.concatenate([xy, np.ones((17, 1))], 1).ravel().tolist() for xy in people]
    return json.dumps({"people": [{"pose_keypoints_2d": k} for k in keypoints], **more})


@pytest.fixture
def live(motions, capsys, monkeypatch):
    """The header and the lines of an input: a path, or lines for stdin."""

    def call(given, *flags, latency="2"):
        if not isinstance(given, str):
            monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(given) + "\n"))
            given = "-"
        own = ["--model", str(motions), "--skeleton", "h36m17", "--hypotheses", "3", "--camera", CAMERA]
        cli.main(["live", given, *own, "--latency", latency, *flags])
        head, *rest = map(json.loads, capsys.readouterr().out.splitlines())
        return head, rest

    return call


def test_lines_are_answered_as_the_stream_draws_blocks(live, motions):
    xy = person(0, 8)
    head, rows = live([line(x) for x in xy])
    assert (head["latency_frames"], head["num_hypotheses"], len(head["joints"])) == (2, 3, 17)
    assert [row["frame"] for row in rows] == list(range(8))
    model = released.load(motions)
    stream = start_stream(jax.random.fold_in(jax.random.key(0), 0), model, num_hypotheses=3)
    camera = Camera(np.array([1000.0, 1000, 500, 500], np.float32))
    for first in (0, 3, 6):
        block, sure = np.zeros((3, 17, 2), np.float32), np.zeros((3, 17), np.float32)
        block[: len(xy[first:])][:3], sure[: len(xy[first:])] = xy[first : first + 3], 1
        found, stream = step_stream(model, stream, block, sure, camera=camera)
        for place, row in enumerate(rows[first : first + 3]):
            (only,) = row["people"]
            assert (only["person"], only["seen"]) == (0, True)
            np.testing.assert_allclose(only["mean"], found.mean[place], atol=2e-4)
            np.testing.assert_allclose(only["root"], found.root[:, place].mean(0), atol=2e-3)
            np.testing.assert_allclose(only["radius_90"], found.radius_90[place], atol=2e-4)


def test_frames_that_lack_and_people_who_come_and_go(live):
    first, second = person(0, 40, -1.0), person(1, 40, 1.0)
    lines = [line(first[f], *([second[f]] if f >= 4 else []), frame=f) for f in range(8) if f != 3]
    lines += [line(frame=f) for f in range(8, 10)] + [line(second[f], frame=f) for f in range(10, 40)]
    _, rows = live(lines)
    assert [row["frame"] for row in rows] == list(range(40)), "a frame that never came is answered too"
    ids = [[p["person"] for p in row["people"]] for row in rows]
    assert ids[:4] == [[0]] * 4
    assert ids[4] == [0, 1]
    assert not rows[3]["people"][0]["seen"]
    assert ids[-1] == [1], "who was not seen for half a second has left"


def test_after_a_long_gap_everybody_is_new(live):
    xy = person(0, 60)
    _, rows = live([line(xy[f], frame=f) for f in (0, 1, 2, 3, 50, 51, 52, 53)])
    assert [row["frame"] for row in rows] == [0, 1, 2, 3, 50, 51, 52, 53]
    assert [[p["person"] for p in row["people"]] for row in rows] == [[0]] * 4 + [[1]] * 4
    assert all(p["seen"] for row in rows for p in row["people"])


def test_samples_and_every_frame_of_a_faster_camera(live):
    head, rows = live([line(x) for x in person(0, 9)], "--samples", "--fps", "60")
    assert head["every"] == 2
    assert [row["frame"] for row in rows] == [0, 2, 4, 6, 8]
    (only,) = rows[0]["people"]
    assert np.shape(only["samples"]) == (3, 17, 3)
    np.testing.assert_allclose(np.mean(only["samples"], 0), only["mean"], atol=2e-4)


class Waiting:
    """A clock that goes on only while somebody waits; then the next piece of the input is written."""

    def __init__(self, pieces):
        self.now, self.pieces = 0.0, iter(pieces)

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds
        file, text = next(self.pieces, (None, None))
        if file is not None:
            with file.open("a", encoding="utf-8") as opened:
                opened.write(text)


@pytest.mark.parametrize("folder", [True, False])
def test_an_input_that_grows_whose_newest_part_is_still_written(live, tmp_path, monkeypatch, folder):
    whole = [line(x) for x in person(0, 5)]
    ends = ["" if folder else "\n"] * 5
    files = [tmp_path / (f"a_{number:06d}.json" if folder else "a.jsonl") for number in range(5)]
    files[0].write_text(whole[0] + ends[0])
    rest = list(zip(files, whole, ends, strict=True))[1:]
    pieces = [piece for file, text, end in rest for piece in ((file, text[:40]), (file, text[40:] + end))]
    monkeypatch.setattr(command, "time", Waiting(pieces))
    _, rows = live(str(tmp_path if folder else files[0]), "--idle", "1")
    _, expected = live(whole)
    assert rows == expected


@pytest.mark.parametrize(
    ("lines", "flags", "said"),
    [
        (["{"], (), "stdin, line 1: not JSON, or cut off"),
        (['{"people": 3}'], (), "stdin, line 1: not a valid openpose file"),
        ([line(person(0, 1)[0], frame=4), line(person(0, 1)[0], frame=2)], (), "-: frame 2 after 4"),
        ([line(person(0, 1)[0], frame=1.5)], (), "stdin, line 1: frame 1.5; needed a whole number"),
        ([line()], (), "-: nobody was seen"),
        ([line(person(0, 1)[0])], ("--latency", "7"), "--latency: needed 0 to 6 frames with 'tinymotion', got 7"),
        ([line(person(0, 1)[0])], ("--model", "prior21"), "live` needs a model of joint positions"),
        ([line(person(0, 1)[0])], ("--every", "2"), "--every: means nothing to -, which holds no frames"),
    ],
)
def test_bad_input_is_one_line_and_code_2(motions, capsys, monkeypatch, lines, flags, said):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(lines) + "\n"))
    given = {"--model": str(motions), "--skeleton": "h36m17", "--camera": CAMERA} | dict(
        zip(flags[::2], flags[1::2], strict=True)
    )
    with pytest.raises(SystemExit) as exit_info:
        cli.main(["live", "-", *(part for pair in given.items() for part in pair)])
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_the_size_of_the_image_is_asked_for(motions, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(line(person(0, 1)[0])))
    with pytest.raises(SystemExit):
        cli.main(["live", "-", "--model", str(motions), "--skeleton", "h36m17"])
    assert "--image-size: needed where frames come live" in capsys.readouterr().err


def test_what_falls_along_gravity_is_down(monkeypatch):
    taken = {}
    monkeypatch.setattr(command, "make_drawer", lambda *_, **how: taken.update(how) or SimpleNamespace(length=1))
    given = SimpleNamespace(camera=(1000.0, 1000.0, 500.0, 500.0), image_size=None, fov=None)
    options = SimpleNamespace(keypoints=given, num_hypotheses=1, gravity=(0.0, 0.6, 0.8), latency=None, height=None)
    command._drawer(SimpleNamespace(**vars(options), seed=0), released.load("pose17"), None)
    np.testing.assert_allclose(taken["up"], [0, -0.6, -0.8], rtol=1e-6)


@pytest.mark.slow
def test_a_model_of_diffpose_answers_each_frame(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n".join(line(x) for x in person(0, 3))))
    cli.main(["live", "-", "--model", "diffpose17", "--skeleton", "h36m17", "--image-size", SIZE, "--hypotheses", "2"])
    head, *rows = map(json.loads, capsys.readouterr().out.splitlines())
    assert head["latency_frames"] == 0
    assert [(row["frame"], len(row["people"])) for row in rows] == [(0, 1), (1, 1), (2, 1)]


@pytest.mark.parametrize("waiting", [True, False])
def test_an_interruption_ends_the_input_whether_it_waits_or_not(waiting):
    """What came before it is given on, and Ctrl-C is as it was afterwards."""
    before = signal.getsignal(signal.SIGINT)

    def frames():
        yield 0, None
        if waiting:
            os.kill(os.getpid(), signal.SIGINT)
        yield 1, None

    found = []
    for frame in _until_interrupted(frames()):
        found.append(frame)
        if not waiting:
            os.kill(os.getpid(), signal.SIGINT)
    assert found == [(0, None)]
    assert signal.getsignal(signal.SIGINT) is before
