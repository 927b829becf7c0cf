"""Paths of a moving camera: its rotation and place by time, as tools of SLAM and structure from motion write them.

TUM         text of lines `time tx ty tz qx qy qz qw`: the camera's place and axes in the world. Seconds of the clip;
            whole numbers alone are numbers of frames (DPVO). DROID-SLAM, MASt3R-SLAM and ORB-SLAM3 write it
COLMAP      `images.txt`, of each image `id qw qx qy qz tx ty tz camera name`, x_cam = R x_world + t, then a line of its
            points. An image is the frame of that name, else of the last number in its name, counted from 1 where
            none is 0, as ffmpeg numbers them
.npz        rotation [P, 3, 3], translation [P, 3], x_cam = R x_world + t, and `seconds` [P] of the clip, else a pose is
            that of each frame from 0

Camera axes are x right, y down, z forward in all of them. The unit is the metre, where the tool knows it.
Sources: the TUM RGB-D benchmark's description of its files; COLMAP's documentation of its output.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.arrays import Source, as_finite, as_float, as_rotation, number_or_nan, source_of
from jaxpose.io.take import Line, read_words
from jaxpose.reading import reader

_UNIT = 1e-2  # by which the length of a quaternion in a file may differ from 1


class CameraPath(NamedTuple):
    """P poses of a camera: R_cam_world [P, 3, 3] and t_cam [P, 3], x_cam = R x_world + t.

    time: [P] rising, numbers of frames, or seconds where `seconds`. image: [P] names, or none. source: the file's name.
    """

    R_cam_world: np.ndarray
    t_cam: np.ndarray
    time: np.ndarray
    seconds: bool
    image: tuple[str, ...]
    source: str

    def at(
        self, frame: np.ndarray, fps: float | None = None, seconds: np.ndarray | None = None, image: Sequence[str] = ()
    ) -> tuple[np.ndarray, np.ndarray]:
        """R_cam_world [N, 3, 3] and t_cam [N, 3] at N frames: slerp, and places in straight lines, between two poses.

        frame: [N] numbers. fps: frames per second. seconds: [N] times of the frames; None: frame / fps. image: [N]
        names of the frames, by which those of COLMAP are found. A frame may lie outside of the path by the time between
        two frames, and has its end then; ValueError for others, and for seconds without a rate.
        """
        from scipy.spatial.transform import Rotation, Slerp

        if self.seconds and seconds is None and fps is None:
            raise ValueError(f"{self.source}: times in seconds, and the frames have no rate; needed frames per second")
        poses, unit, apart = self._named(dict(zip(image, np.asarray(frame).tolist(), strict=False))), "frames", 1.0
        at = np.asarray(frame, float)
        if self.seconds:
            unit, apart = "seconds", 1 / (fps or 30.0)
            at = at / (fps or 1) if seconds is None else np.asarray(seconds, float)
        inside = np.clip(at, poses.time[0], poses.time[-1])
        if (abs(at - inside) > 1.001 * apart).any():
            raise ValueError(
                f"{self.source}: poses of {unit} {poses.time[0]:.10g} to {poses.time[-1]:.10g}, and people are seen in "
                f"{at.min():.10g} to {at.max():.10g}; needed a path of the whole clip"
            )
        R = Slerp(poses.time, Rotation.from_matrix(poses.R_cam_world))(inside).as_matrix()
        eyes = -np.einsum("pji,pj->pi", poses.R_cam_world, poses.t_cam)
        eye = np.stack([np.interp(inside, poses.time, x) for x in eyes.T], -1)
        return R, -np.einsum("nij,nj->ni", R, eye)

    def _named(self, frame_of: dict[str, int]) -> "CameraPath":
        """The poses of images that are frames of a clip, by their frames; all where fewer than two are."""
        names = [PurePosixPath(name).name for name in self.image]
        rows = sorted((i for i, name in enumerate(names) if name in frame_of), key=lambda i: frame_of[names[i]])
        if len(rows) < 2:
            return self
        time = np.array([frame_of[names[i]] for i in rows], float)
        return self._replace(R_cam_world=self.R_cam_world[rows], t_cam=self.t_cam[rows], time=time)


@reader("path of a camera")
def read_camera_path(path: FilePath) -> CameraPath:
    """The path in a file; ValueError names the file and line, what was found and what is needed."""
    source = source_of(path)
    if source.suffix == ".npz":
        poses = _of_arrays(source)
    elif source.suffix == ".bin":
        raise ValueError(f"{source}: needed images.txt (colmap model_converter --output_type TXT), not a binary file")
    else:
        lines = read_words(source, "#") or [Line(str(source), ["comments alone"])]
        poses = _of_tum(source, lines) if len(lines[0].words) == 8 else _of_colmap(source, lines)
    if len(poses.time) < 2:
        raise ValueError(f"{source}: {len(poses.time)} poses; needed at least 2")
    as_finite(source, "translation", poses.t_cam)
    return poses


def _of_arrays(source: Source) -> CameraPath:
    z = source.arrays.having("rotation", "translation")
    R = as_rotation(source, "rotation", z["rotation"], (None, 3, 3))
    time = as_float(source, "seconds", z.get("seconds", np.arange(len(R))), (len(R),))
    if not (np.diff(time) > 0).all() or not np.isfinite(time).all():
        raise ValueError(f"{source}: seconds {time[:4].tolist()} ...; needed finite times that rise")
    t = as_finite(source, "translation", z["translation"], (len(R), 3))
    return CameraPath(R, t, time, "seconds" in z, (), str(source))


def _of_tum(source: Source, lines: list[Line]) -> CameraPath:
    rows = np.array([line.numbers(8) for line in lines])
    time, eye, R = rows[:, 0], rows[:, 1:4], np.swapaxes(_rotations(lines, rows[:, 4:]), -1, -2)
    if (late := np.diff(time) <= 0).any():
        line = lines[1 + int(np.argmax(late))]
        raise ValueError(f"{line.place}: time {line.words[0]} is not after the one before; needed times that rise")
    return CameraPath(R, -np.einsum("pij,pj->pi", R, eye), time, bool((time % 1).any()), (), str(source))


def _of_colmap(source: Source, lines: list[Line]) -> CameraPath:
    images: list[Line] = []
    numbers: list[int] = []
    for before, line in zip([None, *lines], lines, strict=False):
        if images and before is images[-1] and not np.isnan(number_or_nan(line.words[-1])) and len(line.words) % 3 == 0:
            continue  # the points of an image
        digits = re.findall(r"\d{1,15}", PurePosixPath(line.words[-1]).stem)
        if len(line.words) < 10 or not digits:
            raise line.fault("`time tx ty tz qx qy qz qw`, or `id qw qx qy qz tx ty tz camera name` with its number")
        images.append(line)
        numbers.append(int(digits[-1]))
    rows = np.array([line._replace(words=line.words[1:8]).numbers(7) for line in images])
    R, order, time = _rotations(images, np.roll(rows[:, :4], -1, 1)), np.argsort(numbers), np.sort(numbers)
    if (same := np.diff(time) == 0).any():
        raise ValueError(f"{source}: two images of number {time[np.argmax(same)]}; needed those of one camera")
    names = tuple(images[i].words[-1] for i in order)
    return CameraPath(R[order], rows[order, 4:], time - float(time[0] > 0), False, names, str(source))


def _rotations(lines: list[Line], xyzw: np.ndarray) -> np.ndarray:
    """Rotation matrices [P, 3, 3] of quaternions [P, 4], a line of the file each."""
    from scipy.spatial.transform import Rotation

    length = np.linalg.norm(xyzw, axis=-1)
    if (off := abs(length - 1) > _UNIT).any():
        k = int(np.argmax(off))
        raise ValueError(f"{lines[k].place}: a quaternion of length {length[k]:.3g}; needed 1")
    matrices: np.ndarray = Rotation.from_quat(xyzw).as_matrix()
    return matrices
