"""Reader and writer of BVH files (Biovision hierarchy).

A file is a HIERARCHY of joints, each with an OFFSET from its parent, CHANNELS and a block of braces, then a MOTION of
one line a frame with the values of all channels in the order of the file. A joint's rotation channels, in degrees,
multiply in their order: "Zrotation Xrotation Yrotation" is R_z R_x R_y. Position channels replace the offset. The unit
of length is not given in the file.

Source: published files (tests/io/bvh_test.py), and M. Meredith, S. Maddock, Motion Capture File Formats
Explained, University of Sheffield CS-01-11, 2001.
"""

import re
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxpose.files import FilePath, atomic
from jaxpose.io.take import MOST_JOINTS, Line, Take, euler_matrix, read_words
from jaxpose.reading import check_growth, reader

_METRES = {"cm": 0.01, "m": 1.0}
_PARTS = re.compile(r"([{}])|(?<!ROOT)(?<!JOINT)\s(?=(?:ROOT|JOINT|OFFSET|CHANNELS|End Site)\b)")
CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in "XYZ")


class _Joint(NamedTuple):
    name: str
    parent: int
    offset: np.ndarray
    channels: tuple[str, ...]


@reader("BVH file")
def read_bvh(path: FilePath) -> Take:
    """The skeleton and motion in a BVH file, lengths in its unit; ValueError names file and line of a fault."""
    lines = read_words(path)
    motion = next((n for n, line in enumerate(lines) if [word.upper() for word in line.words] == ["MOTION"]), None)
    if motion is None:
        raise ValueError(f"{lines[-1].place}: the file ends without MOTION")
    joints, ends = _hierarchy(path, lines[:motion])
    frames, frame_time = _frames(path, lines[motion + 1 :], sum(len(joint.channels) for joint in joints))
    check_growth(path, len(frames) * len(joints) * 12, f"{len(frames)} frames of {len(joints)} joints")
    offsets = np.stack([joint.offset for joint in joints])
    rotations = np.empty((len(frames), len(joints), 3, 3))
    translations = np.repeat(offsets[None], len(frames), 0)
    start = 0
    for j, (_, _, _, channels) in enumerate(joints):
        values = frames[:, start : start + len(channels)]
        turns = [i for i, name in enumerate(channels) if name.endswith("rotation")]
        axes = "".join(channels[i][0].lower() for i in turns)
        rotations[:, j] = euler_matrix(axes, np.deg2rad(values[:, turns]))
        for i, name in enumerate(channels):
            if name.endswith("position"):
                translations[:, j, "XYZ".index(name[0])] = values[:, i]
        start += len(channels)
    names, parents = tuple(joint.name for joint in joints), tuple(joint.parent for joint in joints)
    return Take(names, parents, offsets, rotations, translations, 1 / frame_time, ends)


def write_bvh(
    path: FilePath,
    names: Sequence[str],
    parents: Sequence[int],
    offsets_m: np.ndarray,
    rotations: np.ndarray,
    root: np.ndarray,
    fps: float,
    unit: str = "cm",
) -> None:
    """Write a motion as BVH: root with 6 channels, other joints "Zrotation Xrotation Yrotation".

    names, parents: J joints, parents before children, the root first with parent -1. offsets_m: [J, 3] m.
    rotations: [F, J, 3, 3] in the parent's axes. root: [F, 3] m. unit: of the lengths in the file, "cm" or "m".
    Raises ValueError for shapes that do not agree, other units and values that are not finite.
    """
    offsets_m, rotations, root = (np.asarray(a, np.float64) for a in (offsets_m, rotations, root))
    _check_motion(names, parents, offsets_m, rotations, root, fps, unit)
    scale = 1 / _METRES[unit]
    lines, order = _hierarchy_lines(names, parents, offsets_m * scale)
    angles = np.rad2deg(_zxy_angles(rotations))[:, order].reshape(len(root), -1)
    lines += ["MOTION", f"Frames: {len(root)}", f"Frame Time: {1 / fps:.9f}"]
    lines += [_text(row) for row in np.concatenate([root * scale, angles], -1)]
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())


def _hierarchy_lines(names: Sequence[str], parents: Sequence[int], offsets: np.ndarray) -> tuple[list[str], list[int]]:
    """The lines before MOTION, and the joints in their order."""
    order, lines = [], ["HIERARCHY"]

    def add(joint: int, indent: str) -> None:
        order.append(joint)
        kind, position = ("JOINT", "3 ") if joint else ("ROOT", "6 Xposition Yposition Zposition ")
        lines.extend([f"{indent}{kind} {names[joint]}", f"{indent}{{"])
        inner = indent + "\t"
        lines.append(f"{inner}OFFSET {_text(offsets[joint] if joint else np.zeros(3))}")
        lines.append(f"{inner}CHANNELS {position}Zrotation Xrotation Yrotation")
        children = [child for child, parent in enumerate(parents) if parent == joint]
        for child in children:
            add(child, inner)
        if not children:
            # The end site is only drawn by readers: half as long as the bone above.
            end = _text(offsets[joint] / 2)
            lines.extend([f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {end}", f"{inner}}}"])
        lines.append(f"{indent}}}")

    add(0, "")
    return lines, order


def _hierarchy(path: FilePath, lines: list[Line]) -> tuple[list[_Joint], dict[str, np.ndarray]]:
    """The joints, and the End Sites by the joint that has them."""
    # a brace is a line of its own, and a keyword after others
    parts = (Line(x.place, (part or "").split()) for x in lines for part in _PARTS.split(" ".join(x.words)))
    queue = deque(part for part in parts if part.words)

    def take(*keywords: str) -> Line:
        line = queue.popleft() if queue else Line(lines[-1].place if lines else f"{path}", ["the end of the hierarchy"])
        if line.words[0].upper() not in keywords:
            raise (line._replace(words=line.words[:1]) if queue else line).fault(" or ".join(keywords))
        return line

    take("HIERARCHY")
    joints: list[_Joint] = []
    ends: dict[str, np.ndarray] = {}
    open_joints: list[int] = []
    line = take("ROOT")
    while True:
        if line.words[0] == "}":
            open_joints.pop()
        elif line.words[0].upper() == "END":
            take("{")
            ends.setdefault(joints[open_joints[-1]].name, take("OFFSET").rest().numbers(3))
            take("}")
        else:
            name = _name(line.rest(), joints)
            take("{")
            offset, has_channels = take("OFFSET").rest().numbers(3), queue and queue[0].words[0].upper() == "CHANNELS"
            channels = _channels(take("CHANNELS").rest()) if has_channels else ()
            joints.append(_Joint(name, open_joints[-1] if open_joints else -1, offset, channels))
            open_joints.append(len(joints) - 1)
        if not open_joints:
            break
        line = take("JOINT", "END", "}")
    if queue:
        raise queue[0]._replace(words=queue[0].words[:1]).fault("MOTION after the one ROOT")
    return joints, ends


def _name(line: Line, joints: list[_Joint]) -> str:
    name = " ".join(line.words)
    if not name or name in {joint.name for joint in joints}:
        raise line.fault("the name of a joint, each once")
    if len(joints) >= MOST_JOINTS:
        raise ValueError(f"{line.place}: more than {MOST_JOINTS} joints")
    return name


def _channels(line: Line) -> tuple[str, ...]:
    count, *words = line.words or [""]
    names = tuple(word.capitalize() for word in words)
    if not count.isdigit() or int(count) != len(names):
        raise line.fault("CHANNELS, their number and as many names")
    if not set(names) <= set(CHANNELS) or len(set(names)) < len(names):
        raise line.fault(f"channels among {', '.join(CHANNELS)}, each once")
    return names


def _frames(path: FilePath, lines: list[Line], count: int) -> tuple[np.ndarray, float]:
    """The values [F, count] in the lines after MOTION, and the seconds of a frame."""
    head = []
    for key, line in zip(("Frames:", "Frame Time:"), [*lines, Line(f"{path}, end", [""])], strict=False):
        text = " ".join(line.words)
        if not text.lower().startswith(key.lower()):
            raise line.fault(repr(key))
        head.append(Line(line.place, text[len(key) :].split()).numbers(1).item())
    rows, (number, frame_time) = lines[2:], head
    if number != len(rows) or number < 1:
        raise ValueError(f"{lines[0].place}: Frames: {number:g}, but {len(rows)} lines of values follow")
    if frame_time <= 0:
        raise ValueError(f"{lines[1].place}: Frame Time: needed seconds above 0, got {frame_time:g}")
    return np.stack([row.numbers(count) for row in rows]), frame_time


def _zxy_angles(rotations: np.ndarray) -> np.ndarray:
    """a, b, c [F, ..., 3] rad with R = R_z(a) R_x(b) R_y(c), b in [-pi/2, pi/2]; a and c are continuous in time.

    c is computed from R_z(-a) R, so that the product is right where b is near a right angle and a is undetermined.
    """
    a = np.arctan2(-rotations[..., 0, 1], rotations[..., 1, 1])
    b = np.arctan2(rotations[..., 2, 1], np.hypot(rotations[..., 0, 1], rotations[..., 1, 1]))
    row = np.cos(a)[..., None] * rotations[..., 0, :] + np.sin(a)[..., None] * rotations[..., 1, :]
    c = np.arctan2(row[..., 2], row[..., 0])
    return np.stack([np.unwrap(a, axis=0), b, np.unwrap(c, axis=0)], -1)


def _text(values: np.ndarray) -> str:
    # 0 + turns -0 into 0
    return " ".join(f"{value:.6f}" for value in 0 + np.round(values, 6))


def _check_motion(
    names: Any, parents: Any, offsets: np.ndarray, rotations: np.ndarray, root: np.ndarray, fps: float, unit: str
) -> None:
    num, frames = len(names), len(root)
    if unit not in _METRES:
        raise ValueError(f"unit: got {unit!r}, must be one of {', '.join(_METRES)}")
    if len(set(names)) != num or any(not str(name).strip() or set(name) & set("{}\n\r") for name in names):
        raise ValueError(f"names: needed distinct names without braces, got {tuple(names)}")
    if len(parents) != num or list(parents)[:1] != [-1] or any(not 0 <= p < j for j, p in enumerate(parents) if j):
        raise ValueError(f"parents: needed -1, then for each joint an earlier one, got {tuple(parents)}")
    shapes = {"offsets_m": (num, 3), "rotations": (frames, num, 3, 3), "root": (frames, 3)}
    for (name, shape), array in zip(shapes.items(), (offsets, rotations, root), strict=True):
        if array.shape != shape or not frames:
            raise ValueError(f"{name}: needed {shape}, at least one frame, got {array.shape}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: has values that are not finite")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps: needed a number above 0, got {fps}")
