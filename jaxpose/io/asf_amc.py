"""Reader of Acclaim skeleton (.asf) and motion (.amc) files, as published by the CMU database and HDM05.

A bone of the .asf has a direction and a length in the rest pose, an axis (Euler angles that turn the world's axes into
the bone's own) and its degrees of freedom. The .amc gives values of these for each frame. With C the bone's axis and M
its motion, both products of turns in the order R_z R_y R_x for "XYZ" (x is applied first), its rotation in the
parent's rest axes is

    R = C M C^-1

A bone turns about its near end. So the joint with a bone's name is at the far end of its parent bone, as in BVH files
of the same motion.

Source: M. Lander, Working with Motion Capture File Formats, Game Developer, January 1998; CMU's skeletons.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.files import FilePath
from jaxpose.io.take import MOST_JOINTS, Line, Take, euler_matrix, read_words
from jaxpose.reading import check_growth, reader

_DOFS = ("tx", "ty", "tz", "rx", "ry", "rz", "l")
_SECTIONS = ("version", "name", "units", "documentation", "root", "bonedata", "hierarchy", "skin")


class Bone(NamedTuple):
    """A bone of an .asf file.

    direction: [3] unit vector; length: file unit; axis: [3, 3] the bone's own axes in the world's, at rest.
    order: "zyx" for XYZ. dofs: of "tx", "ty", "tz", "rx", "ry", "rz", "l", as the .amc gives them.
    """

    name: str
    direction: np.ndarray
    length: float
    axis: np.ndarray
    order: str
    dofs: tuple[str, ...]


class Asf(NamedTuple):
    """An .asf file: bones, parents before children; the root's position [3], file unit; whether angles are degrees."""

    bones: tuple[Bone, ...]
    parents: tuple[int, ...]
    root_position: np.ndarray
    degrees: bool


@reader("ASF file")
def read_asf(path: FilePath) -> Asf:
    """Read a skeleton; ValueError, naming file and line, where it violates the format."""
    sections = _sections(path)
    for needed in ("root", "bonedata", "hierarchy"):
        if needed not in sections:
            raise ValueError(f"{path}: no section :{needed}, got {', '.join(':' + s for s in sections)}")
    degrees = True
    for line in sections.get("units", []):
        if line.words[0] == "angle":
            if line.words[1:] not in (["deg"], ["rad"]):
                raise line.rest().fault("angle: must be one of deg, rad")
            degrees = line.words[1] == "deg"
    root = _fields(sections["root"], f"{path}: section :root", "order", "axis", "position", "orientation")
    order = _order(root["axis"])
    axis = _axis(order, root["orientation"].numbers(3), degrees)
    bones = {"root": Bone("root", np.zeros(3), 0.0, axis, order, _dofs(root["order"]))}
    for place, block in _blocks(sections["bonedata"]):
        bone = _bone(place, block, degrees)
        if len(bones) > MOST_JOINTS:
            raise ValueError(f"{place}: more than {MOST_JOINTS} bones")
        if bone.name in bones:
            raise ValueError(f"{place}: bone {bone.name!r} was there before; names must differ")
        bones[bone.name] = bone
    parent_of = _parents(sections["hierarchy"], bones)
    names = ["root"]  # parents before children, children in the order of the hierarchy
    for name in names:
        names += [child for child, parent in parent_of.items() if parent == name]
    lost = [name for name in bones if name not in names]
    if lost:
        raise ValueError(f"{path}: section :hierarchy does not connect {', '.join(lost)} to the root")
    parents = (-1, *(names.index(parent_of[name]) for name in names[1:]))
    return Asf(tuple(bones[name] for name in names), parents, root["position"].numbers(3), degrees)


@reader("AMC file")
def read_amc(path: FilePath, asf: Asf, *, fps: float = 120.0) -> Take:
    """Read a motion of the skeleton `asf`, `fps` frames a second; ValueError names file and line of a fault.

    Where it has no line :DEGREES or :RADIANS, its angles are as those of the .asf.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"fps: needed a number above 0, got {fps}")
    values, degrees = _values(path, asf)
    num_frames, names = len(values[0]), tuple(bone.name for bone in asf.bones)
    ends = np.stack([bone.direction * bone.length for bone in asf.bones])
    offsets = np.stack([ends[p] if p >= 0 else np.zeros(3) for p in asf.parents])
    check_growth(path, num_frames * len(names) * 12, f"{num_frames} frames of {len(names)} bones")
    rotations = np.empty((num_frames, len(names), 3, 3))
    for joint, (bone, value) in enumerate(zip(asf.bones, values, strict=True)):
        turns = _channels(bone, value, "r", bone.order)
        motion = euler_matrix(bone.order, np.deg2rad(turns) if degrees else turns)
        rotations[:, joint] = bone.axis @ motion @ bone.axis.T
    translations = np.repeat(offsets[None], num_frames, 0)
    translations[:, 0] = asf.root_position + _channels(asf.bones[0], values[0], "t", "xyz")
    tips = dict(zip(names, ends, strict=True))
    return Take(names, asf.parents, offsets, rotations, translations, fps, tips)


def asf_beside(amc: FilePath) -> Path:
    """The skeleton that belongs to an .amc by its name (03.asf of 03_02.amc), or the only one in the folder."""
    path = Path(amc)
    skeletons = sorted(p for p in path.parent.iterdir() if p.suffix.lower() == ".asf")
    named = [p for p in skeletons if path.stem.startswith((f"{p.stem}_", f"{p.stem}-", f"{p.stem}."))]
    if len(named) == 1 or (not named and len(skeletons) == 1):
        return (named or skeletons)[0]
    raise ValueError(f"{amc}: needs the .asf of its skeleton; beside it are {[p.name for p in skeletons]}")


def _channels(bone: Bone, value: np.ndarray, kind: str, axes: str) -> np.ndarray:
    """Values [F, 3] of the degrees of freedom of a kind, 0 where the bone has none."""
    wanted, none = [f"{kind}{axis}" for axis in axes], np.zeros(len(value))
    return np.stack([value[:, bone.dofs.index(dof)] if dof in bone.dofs else none for dof in wanted], -1)


def _sections(path: FilePath) -> dict[str, list[Line]]:
    sections: dict[str, list[Line]] = {}
    current: list[Line] | None = None
    for line in read_words(path, "#"):
        if line.words[0].startswith(":"):
            name = line.words[0][1:].lower()
            if name not in _SECTIONS:
                raise line.fault(f"one of the sections {', '.join(':' + section for section in _SECTIONS)}")
            current = sections.setdefault(name, [])
        elif current is None:
            raise line.fault("a section like :version")
        else:
            current.append(line)
    return sections


def _blocks(lines: list[Line]) -> list[tuple[str, list[Line]]]:
    """The lines between each begin and end, with file and line of the begin."""
    blocks: list[tuple[str, list[Line]]] = []
    inside = False
    for line in lines:
        if line.words[0] == ("end" if inside else "begin"):
            inside = not inside
            if inside:
                blocks.append((line.place, []))
        elif not inside or line.words[0] == "begin":
            raise line.fault("end" if inside else "begin")
        else:
            blocks[-1][1].append(line)
    if inside:
        raise ValueError(f"{blocks[-1][0]}: this begin has no end")
    return blocks


def _fields(lines: list[Line], where: str, *needed: str) -> dict[str, Line]:
    """The lines without their first words, by these."""
    fields = {line.words[0]: line.rest() for line in lines}
    for name in needed:
        if name not in fields:
            raise ValueError(f"{where}: no line {name!r}; needed {', '.join(needed)}")
    return fields


def _bone(where: str, lines: list[Line], degrees: bool) -> Bone:
    fields = _fields(lines, f"{where}: bone", "name", "direction", "length", "axis")
    direction, (length,) = fields["direction"].numbers(3), fields["length"].numbers(1)
    norm = np.linalg.norm(direction)
    if norm == 0:
        raise fields["direction"].fault("a direction")
    order = _order(fields["axis"].rest(3))
    axis = _axis(order, fields["axis"]._replace(words=fields["axis"].words[:3]).numbers(3), degrees)
    dofs = _dofs(fields["dof"]) if "dof" in fields else ()
    return Bone(" ".join(fields["name"].words), direction / norm, float(length), axis, order, dofs)


def _order(line: Line) -> str:
    """ "XYZ" -> "zyx": the first named rotation is applied first, so it is last in the product."""
    if len(line.words) != 1 or sorted(line.words[0].upper()) != ["X", "Y", "Z"]:
        raise line.fault("an order of the axes like XYZ")
    return line.words[0].lower()[::-1]


def _axis(order: str, angles: np.ndarray, degrees: bool) -> np.ndarray:
    turns = angles[["xyz".index(axis) for axis in order]]
    return euler_matrix(order, np.deg2rad(turns) if degrees else turns)


def _dofs(line: Line) -> tuple[str, ...]:
    dofs = tuple(word.lower() for word in line.words)
    if not set(dofs) <= set(_DOFS) or len(set(dofs)) < len(dofs):
        raise line.fault(f"degrees of freedom, which must be among {', '.join(_DOFS)}, each once")
    return dofs


def _parents(lines: list[Line], bones: Mapping[str, Bone]) -> dict[str, str]:
    parent_of: dict[str, str] = {}
    for line in (line for _, block in _blocks(lines) for line in block):
        for word in line.words:
            if word not in bones:
                raise ValueError(f"{line.place}: bone {word[:40]!r} is not in :bonedata")
        for child in line.words[1:]:
            if child in parent_of or child == "root":
                raise ValueError(f"{line.place}: bone {child!r} has two parents; needed a tree")
            parent_of[child] = line.words[0]
    return parent_of


def _values(path: FilePath, asf: Asf) -> tuple[list[np.ndarray], bool]:
    """For each bone its values [F, number of its degrees of freedom], and whether angles are in degrees."""
    count, degrees = {bone.name: len(bone.dofs) for bone in asf.bones}, asf.degrees
    frames: list[tuple[str, dict[str, np.ndarray]]] = []
    for line in read_words(path, "#"):
        name = line.words[0]
        if name.startswith(":"):
            degrees = {":DEGREES": True, ":RADIANS": False}.get(name.upper(), degrees)
        elif len(line.words) == 1 and name.isdigit():
            frames.append((line.place, {}))
        elif not frames:
            raise line.fault("the number of a frame")
        elif name not in count or name in frames[-1][1]:
            fault = "twice in one frame" if name in count else "is not in the .asf file"
            raise ValueError(f"{line.place}: bone {name[:40]!r} {fault}")
        else:
            frames[-1][1][name] = line.rest().numbers(count[name], f": bone {name}")
    if not frames:
        raise ValueError(f"{path}: holds no frame")
    for place, frame in frames:
        missing = [name for name, number in count.items() if number and name not in frame]
        if missing:
            raise ValueError(f"{place}: the frame has no values of bone {missing[0]!r}")
    empty = np.zeros(0)
    return [np.stack([frame.get(bone.name, empty) for _, frame in frames]) for bone in asf.bones], degrees
