"""Frames of videos, images and cameras: number, time, orientation and shape of what the tests wrote themselves."""

import os
from pathlib import Path

import numpy as np
import pytest
from shared import refuses

pytest.importorskip("av")
pytest.importorskip("PIL.Image")
from PIL import Image
from videos import picture, seen_number, turned, write_video

from jaxpose.app.detect.frames import Clip, check, expected, frames, holds_frames


def test_a_videos_frames_have_its_numbers_times_and_pictures(tmp_path):
    clip = Clip(write_video(tmp_path / "a.mp4", map(picture, range(12)), fps=25))
    found = list(frames(clip))
    assert [frame.number for frame in found] == list(range(12))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(12) / 25, atol=1e-3)
    assert [seen_number(frame.rgb) for frame in found] == list(range(12))
    assert found[0].rgb.shape == (48, 64, 3)
    assert found[0].rgb[:10, :15].mean() > 240
    assert expected(clip) == 12


def test_times_of_a_variable_rate_are_kept(tmp_path):
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 1.2]
    found = frames(Clip(write_video(tmp_path / "a.mp4", map(picture, range(6)), times)))
    np.testing.assert_allclose([frame.seconds for frame in found], times, atol=2e-3)


@pytest.mark.parametrize(
    ("matrix", "corner"),
    [((0, 1, -1, 0), (0, 1)), ((-1, 0, 0, -1), (1, 1)), ((0, -1, 1, 0), (1, 0)), ((1, 0, 0, 1), (0, 0))],
    ids=["90 clockwise", "180", "90 counter-clockwise", "upright"],
)
def test_turned_videos_are_turned_upright(tmp_path, matrix, corner):
    """The matrices that telephones write; the white corner of the stored picture is at the upper left."""
    path = turned(write_video(tmp_path / "a.mp4", map(picture, range(2))), *matrix)
    frame = next(frames(Clip(path)))
    assert frame.rgb.shape == ((48, 64, 3) if matrix[0] else (64, 48, 3))
    rows, columns = ([slice(0, 10), slice(-10, None)][side] for side in corner)
    assert frame.rgb[rows, columns].mean() > 240
    assert (frame.rgb > 200).mean() < 0.2


def test_a_part_of_a_clip_is_that_part_of_the_whole(tmp_path):
    path = write_video(tmp_path / "a.mp4", map(picture, range(20)), fps=10)
    assert [f.number for f in frames(Clip(path, every=3, start=0.5, stop=1.6))] == [6, 9, 12, 15]
    assert expected(Clip(path, every=3, start=0.5, stop=1.6)) == 4
    assert [seen_number(f.rgb) for f in frames(Clip(path), first=17)] == [17, 18, 19]


def test_a_folder_of_images_is_read_in_the_order_of_its_numbers(tmp_path):
    for number in (1, 2, 10, 9):
        Image.fromarray(picture(number)).save(tmp_path / f"shot{number}.png")
    (tmp_path / "notes.txt").write_text("not an image")
    assert [seen_number(frame.rgb) for frame in frames(Clip(tmp_path))] == [1, 2, 9, 10]
    assert holds_frames(tmp_path)
    (tmp_path / "1.json").write_text("{}")
    assert not holds_frames(tmp_path)  # keypoints, with the images they were found in


def test_images_of_any_kind_become_rgb(tmp_path):
    grey = np.full((31, 47), 100, np.uint8)
    kinds = {"grey.png": grey, "deep.png": grey.astype(np.uint16) * 257, "four.png": np.stack([grey] * 4, -1)}
    for name, image in kinds.items():
        Image.fromarray(image).save(tmp_path / name)
        (frame,) = frames(Clip(tmp_path / name))
        assert frame.rgb.shape == (31, 47, 3)
        assert abs(frame.rgb.astype(int) - 100).max() <= 1


def test_a_photo_is_turned_as_its_orientation_says(tmp_path):
    photo = Image.fromarray(picture(0))
    orientation = photo.getexif()
    orientation[0x0112] = 6  # to be turned by 90 degrees clockwise
    photo.save(tmp_path / "a.jpg", exif=orientation)
    (frame,) = frames(Clip(tmp_path / "a.jpg"))
    assert frame.rgb.shape == (64, 48, 3)
    assert frame.rgb[:15, -10:].mean() > 240


def test_a_damaged_or_shortened_video_names_the_frame(tmp_path):
    noise = np.random.default_rng(0)
    path = write_video(tmp_path / "a.mp4", (noise.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(60)))
    content = path.read_bytes()
    (tmp_path / "short.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"short\.mp4: damaged or cut off after frame \d+.*--end \d") as caught:
        list(frames(Clip(tmp_path / "short.mp4")))
    stop = float(str(caught.value).split("--end ")[1].split()[0])
    assert 20 <= len(list(frames(Clip(tmp_path / "short.mp4", stop=stop)))) <= 40
    hurt = bytearray(content)
    middle = len(hurt) * 2 // 3
    hurt[middle : middle + 400] = noise.bytes(400)
    (tmp_path / "hurt.mp4").write_bytes(hurt)
    refuses(r"hurt\.mp4: damaged or cut off after frame (3|4)\d", list, frames(Clip(tmp_path / "hurt.mp4")))


def test_a_title_in_latin_1_and_a_codec_that_ffmpeg_lacks(tmp_path):
    content = write_video(tmp_path / "a.mp4", map(picture, range(3))).read_bytes()
    title = content.index(b"Lavf")  # the encoder's name, in the file's metadata
    (tmp_path / "latin.mp4").write_bytes(content[:title] + b"caf\xe9" + content[title + 4 :])
    assert len(list(frames(Clip(tmp_path / "latin.mp4")))) == 3
    (tmp_path / "codec.mp4").write_bytes(content.replace(b"mp4v", b"none").replace(b"esds", b"free"))
    refuses(r"codec\.mp4: pictures of a codec that FFmpeg lacks", list, frames(Clip(tmp_path / "codec.mp4")))


def test_a_damaged_image_is_refused_by_name(tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    place = content.index(b"IDAT") + 4
    content[place : place + 8] = b"\xff" * 8  # no stream of zlib
    (tmp_path / "a.png").write_bytes(content)
    refuses(r"a\.png: not a video or image that FFmpeg reads", list, frames(Clip(tmp_path / "a.png")))


@pytest.mark.parametrize("content", [b"hello, this is text\n" * 50, b"\x00" * 2000, b"#EXTM3U\nhttp://a/b.ts\n"])
@pytest.mark.parametrize("suffix", [".mp4", ".txt", ".m3u8"])
def test_what_is_no_video_is_refused(tmp_path, content, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    refuses(r"a\.(mp4|txt|m3u8): ", list, frames(Clip(path)))


def test_sources_that_cannot_be_are_refused_before_work(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    refuses("empty", check, Clip(tmp_path / "empty.mp4"))
    os.mkfifo(tmp_path / "pipe.mp4")  # opening it would wait for a writer
    refuses(r"pipe.mp4: a pipe; needed a file", check, Clip(tmp_path / "pipe.mp4"))
    refuses(r"/dev/zero: a device; needed a file", check, Clip(Path("/dev/zero")))
    refuses("no such file", check, Clip(tmp_path / "none.mp4"))
    refuses(r"https://a\.b/c\.mp4: an address", check, Clip(type(tmp_path)("https://a.b/c.mp4")))
    refuses("camera 97: ", list, frames(Clip(type(tmp_path)("97"))))
