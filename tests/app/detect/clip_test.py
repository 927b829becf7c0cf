"""A whole clip: its files, going on after an interruption, what is stale, and input at fault; without networks."""

import itertools

import numpy as np
import pytest
from command_line import drained
from scipy import ndimage
from shared import refuses

pytest.importorskip("av")
from videos import by_brightness, picture, write_video

from jaxpose.app.detect import clip as module
from jaxpose.app.detect.base import Found, Frame
from jaxpose.app.detect.clip import detect_clip
from jaxpose.app.detect.frames import Clip
from jaxpose.io.keypoints import read_keypoints
from jaxpose.io.poses3d import read_poses3d


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(module, "PART", 8)


@pytest.fixture
def video(tmp_path):
    return Clip(write_video(tmp_path / "clip.mp4", map(picture, range(30)), fps=25))


def run(clip, out, calls, **kwargs):
    return drained(detect_clip(clip, by_brightness(calls, **kwargs), out, "clip"))


def test_the_files_are_what_lift_and_complete_read(video, tmp_path):
    files, said = run(video, tmp_path / "out", [])
    kp = read_keypoints(files.keypoints)
    seen = [n for n in range(30) if n % 10 != 9]
    assert kp.frame.tolist() == np.repeat(seen, 2).tolist()
    assert kp.person.tolist() == [0, 1] * 27  # one id each, across the parts and the frames without anybody
    np.testing.assert_allclose(kp.xy[:, 0, 0], (np.array(seen)[:, None] + (0, 100)).ravel())
    assert kp.skeleton.name == "coco17"
    assert (kp.image_size, kp.fps) == ((64, 48), 25.0)
    assert read_poses3d(files.landmarks).fps == 25.0
    assert any("30 frames, 25 frames/s: 2 people; nobody in 3 frames" in line for line in said)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip_keypoints.npz", "clip_landmarks3d.npz"]


def told(detector, first=0, **fields):
    """The detector with other fields in what it finds; nobody in frames before `first`."""

    count = itertools.count()

    def detect(frames):
        for found in detector.detect(frames):
            n = next(count)
            yield (Found(*(x[:0] for x in found[:3])) if n < first else found)._replace(
                **{
                    name: make(found.confidence if n >= first else found.confidence[:0])
                    for name, make in fields.items()
                }
            )

    return detector._replace(detect=detect)


def test_evidence_of_a_detector_is_in_the_file_of_keypoints(video, tmp_path):
    detector = told(
        by_brightness([]), evidence=lambda sure: np.where(np.arange(17) == 3, np.nan, 2.5)[:, None] * sure[..., None]
    )
    files, _ = drained(detect_clip(video, detector, tmp_path, "clip"))
    kp = read_keypoints(files.keypoints)
    assert kp.evidence.shape == (len(kp.xy), 17, 1)
    np.testing.assert_array_equal(kp.evidence[:, :, 0], np.where(np.arange(17) == 3, np.nan, 2.5) + 0 * kp.confidence)


def test_what_a_detector_has_not_is_not_of_a_part_without_people_either(video, tmp_path):
    """Nobody is in the first part, whose empty arrays of metres are none of the clip's."""
    detector = told(
        by_brightness([]), first=8, world=lambda sure: None if len(sure) else np.zeros((0, 17, 3), np.float32)
    )
    files, _ = drained(detect_clip(video, detector, tmp_path, "clip"))
    assert read_keypoints(files.keypoints).frame[0] == 8
    assert not files.landmarks.exists()


def test_an_interrupted_run_goes_on_and_ends_the_same(video, tmp_path, monkeypatch):
    whole, _ = run(video, tmp_path / "whole", [])
    calls: list[int] = []
    work = detect_clip(video, by_brightness(calls), tmp_path / "out", "clip")
    monkeypatch.setattr(module, "_SAY", 0.0)
    for _ in range(20):
        next(work)
    with pytest.raises(KeyboardInterrupt):
        work.throw(KeyboardInterrupt())
    assert not (tmp_path / "out/clip_keypoints.npz").exists()
    done = len(list((tmp_path / "out/.clip_parts").iterdir()))
    assert done == 2
    calls.clear()
    files, said = run(video, tmp_path / "out", calls)
    assert calls == list(range(8 * done, 30))
    assert "goes on after frame 15" in said[0]
    same_arrays(files.keypoints, whole.keypoints)
    same_arrays(files.landmarks, whole.landmarks)


def same_arrays(path, other):
    first, second = np.load(path), np.load(other)
    assert set(first) == set(second)
    for name in first:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


def test_what_was_made_is_used_again_and_what_is_stale_is_not(video, tmp_path):
    calls: list[int] = []
    run(video, tmp_path, calls)
    assert len(calls) == 30
    _, said = run(video, tmp_path, calls)
    assert len(calls) == 30
    assert "of an earlier run" in said[0]
    run(video._replace(every=2), tmp_path, calls)
    assert calls[30:] == list(range(0, 30, 2))
    write_video(video.source, map(picture, range(12)))
    files, _ = run(video, tmp_path, calls)
    assert len(calls) == 30 + 15 + 12
    assert read_keypoints(files.keypoints).frame.max() == 11


def test_parts_of_another_video_are_not_mixed_in(video, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_SAY", 0.0)
    other = Clip(write_video(tmp_path / "other.mp4", map(picture, range(20)), fps=25))
    work = detect_clip(other, by_brightness([]), tmp_path / "out", "clip")
    for _ in range(12):
        next(work)
    with pytest.raises(KeyboardInterrupt):
        work.throw(KeyboardInterrupt())
    assert list((tmp_path / "out/.clip_parts").iterdir())
    calls: list[int] = []
    run(video, tmp_path / "out", calls)
    assert calls == list(range(30))


def test_rates_that_vary_are_said_and_the_median_counts(tmp_path):
    times = np.cumsum([0, *[0.04] * 10, *[0.08] * 4])
    clip = Clip(write_video(tmp_path / "clip.mp4", map(picture, range(15)), times))
    files, said = run(clip, tmp_path / "out", [])
    assert read_keypoints(files.keypoints).fps == pytest.approx(25, abs=0.1)
    assert any("25 frames/s (varies from 12.5 to 25; speeds take the median)" in line for line in said)


def test_times_in_whole_milliseconds_do_not_change_the_rate(tmp_path):
    times = np.round(np.arange(61) / 30, 3)  # steps of 33 and 34 ms
    clip = Clip(write_video(tmp_path / "clip.mp4", map(picture, range(61)), times))
    files, _ = run(clip, tmp_path / "out", [])
    assert read_keypoints(files.keypoints).fps == pytest.approx(30, abs=0.005)


def test_one_frame_is_a_clip(tmp_path):
    files, _ = run(Clip(write_video(tmp_path / "clip.mp4", [picture(0)])), tmp_path / "out", [])
    kp = read_keypoints(files.keypoints)
    assert (kp.frame.tolist(), kp.fps) == ([0, 0], None)


def test_nobody_at_all_and_damage_leave_nothing_behind(video, tmp_path):
    refuses(r"clip\.mp4: nobody was found in 30 frames", run, video, tmp_path / "out", [], crowd=0)
    assert not (tmp_path / "out").exists()
    content = video.source.read_bytes()
    video.source.write_bytes(content[: len(content) * 2 // 3])
    refuses("damaged or cut off after frame", run, video, tmp_path / "out", [])
    assert not (tmp_path / "out").exists()


def test_a_camera_that_moves_is_told_in_one_line():
    nan = np.nan
    (line,) = module.moving(np.array([nan, 0.02, nan, 0.03, nan, 0.0]))
    assert "shifts in 2 of 3 comparisons" in line
    assert not list(module.moving(np.array([nan, 0.02, 0.0, 0.0])))
    assert not list(module.moving(np.zeros(0)))


@pytest.mark.parametrize("speed", [0.02, 0.4])
def test_slow_and_fast_pans_are_told_and_a_still_camera_is_not(speed):
    """A camera that goes over noise by shares of the image a second, 30 frames/s: images 0.5 s apart share little."""
    scene = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, 300, (200, 900, 3)), (3, 3, 0)) + 128
    nobody = Found(np.zeros((0, 17, 2)), np.zeros((0, 17)), None)
    for share, expected in ((speed, True), (0.0, False)):
        shifts, last = [], None
        for n in range(60):
            left = round(share * 400 * n / 30)
            shift, last = module._compared(last, Frame(n, n / 30, scene[:, left : left + 400]), nobody)
            shifts.append(shift)
        assert bool(list(module.moving(np.array(shifts)))) == expected
        if expected:
            np.testing.assert_allclose(np.nanmedian(shifts), share / 2, rtol=0.2)


@pytest.mark.parametrize(("still", "told"), [(True, 1), (False, 0)])
def test_a_camera_whose_path_is_known_is_not_told_to_move(video, tmp_path, monkeypatch, still, told):
    monkeypatch.setattr(module, "background_shift", lambda *_: 0.1)
    monkeypatch.setattr(module, "_APART", 0.1)
    _, lines = drained(detect_clip(Clip(video.source), by_brightness([]), tmp_path, "clip", still))
    assert sum("the camera moves" in line for line in lines) == told
