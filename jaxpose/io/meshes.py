"""Writers of bodies for other programs: Wavefront .obj, and binary glTF 2.0 (.glb) with an animated skeleton.

A file has a node for each joint: its place from its parent, and rotations over time; the pelvis also its position.
What a program computes from a skinned .glb is, with w_ij the weights of a vertex's 4 strongest joints, made to sum to
1, and B_j the inverse bind matrix, the translation by -J_j:

    v_i(t) = sum_j w_ij M_j(t) B_j v_i,     M_j = M_parent(j) [R_j(t) | J_j - J_parent(j)]

That is `PosedBody.skin` without pose correctives (posedirs) and without weights beyond the fourth, which linear
skinning does not have. y is up, lengths are metres, quaternions are xyzw. Blender opens it with an armature. Between
frames a program interpolates along the shorter arc.

Source: glTF 2.0 specification, Khronos Group (2021), sections 3.6-3.7, 3.11 and 4.
"""

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxpose.files import atomic
from jaxpose.geometry.body import Body, posed, vertex_normals
from jaxpose.geometry.body_joints import MODEL_JOINTS
from jaxpose.io.smpl_motion import Motion

COLOURS = ("#7fb2e5", "#e8a33d", "#4fb89b", "#cf8ab4", "#d9cf4a", "#b3865b", "#9d8ce0", "#8f98a3")
_NUM_WEIGHTS = 4  # a vertex's in one set of glTF, what every program reads
_TYPES = {np.dtype(np.float32): 5126, np.dtype(np.uint32): 5125, np.dtype(np.uint8): 5121}
_KINDS = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_VERTICES, _INDICES = 34962, 34963  # what a buffer view is for
_STILL = 1e-6  # of a quaternion: a joint that moves less has no track


def write_obj(path: str | os.PathLike[str], vertices: ArrayLike, faces: ArrayLike) -> Path:
    """Write meshes [V, 3] or [N, V, 3] metres with common faces [_, 3] as .obj, an object for each mesh.

    Coordinates have six decimals. ValueError for wrong shapes, values that are not finite, and no such folder.
    """
    meshes, triangles = mesh_arrays(vertices, faces)
    with atomic(path) as file:
        for number, mesh in enumerate(meshes):
            file.write(f"o body_{number}\n".encode())
            np.savetxt(file, mesh, "v %.6f %.6f %.6f")
            np.savetxt(file, triangles.astype(np.int64) + 1 + number * mesh.shape[0], "f %d %d %d")
    return Path(path)


def write_motion_glb(
    path: str | os.PathLike[str],
    body: Body,
    motion: Motion | Mapping[str, Motion],
    *,
    betas: ArrayLike | None = None,
    name: str = "body",
    start: float = 0.0,
    still: bool = False,
) -> Path:
    """Write a body that moves as .glb: skin, skeleton and an animation of each motion at its own speed.

    motion: one, or takes by name. betas: [<= S] of this body; without them it is the template, for `motion.betas` may
    be another model's. Fingers are flat. start: seconds of the first frame. still: frames are poses, without movement
    between them. ValueError for what does not fit, and no such folder.
    """
    takes = {"motion": motion} if isinstance(motion, Motion) else motion
    shaped = body.shape(None if betas is None else jnp.asarray(betas))
    joints, vertices = np.asarray(shaped.joints), np.asarray(shaped.vertices)
    if joints.ndim != 2:
        raise ValueError(f"betas: got shape {list(joints.shape[:-2])} of bodies, must be one: [n]")
    turns = {label: _turns(body, take) for label, take in takes.items()}
    first, num, buffer = next(iter(takes)), len(joints), _Buffer()
    mesh = _skinned(buffer, name, body, vertices)
    bind = np.tile(np.eye(4, dtype=np.float32), (num, 1, 1))
    bind[:, 3, :3] = -joints  # column after column
    bound = buffer.add(bind.reshape(num, 16))
    moving = np.flatnonzero(np.ptp(np.concatenate(list(turns.values())), axis=0).max(-1) > _STILL)
    between = "STEP" if still else "LINEAR"
    skeleton = _joint_nodes(body, joints, turns[first][0], takes[first].transl[0])
    tree = {
        "scenes": [{"nodes": [0, num]}],
        "nodes": [*skeleton, {"name": name, "mesh": 0, "skin": 0}],
        "meshes": [mesh],
        "materials": [_material(COLOURS[0])],
        "skins": [{"joints": list(range(num)), "skeleton": 0, "inverseBindMatrices": bound}],
        "animations": [_animation(buffer, k, turns[k], take, moving, start, between) for k, take in takes.items()],
    }
    return _write(path, tree, buffer)


class _Buffer:
    """The binary part of a file as it grows: every array a view and an accessor of its own."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: np.ndarray, target: int | None = None, limits: bool = False) -> int:
        """The number of the accessor of an array [N, width]; limits: with its least and greatest values."""
        view: dict[str, Any] = {"buffer": 0, "byteOffset": len(self.content), "byteLength": array.nbytes}
        self.views.append(view | ({} if target is None else {"target": target}))
        self.content += np.ascontiguousarray(array).tobytes()
        self.content += bytes(-len(self.content) % 4)
        accessor: dict[str, Any] = {"bufferView": len(self.views) - 1, "componentType": _TYPES[array.dtype]}
        accessor |= {"count": len(array), "type": _KINDS[array.shape[1]]}
        if limits:
            accessor |= {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def _skinned(buffer: _Buffer, name: str, body: Body, vertices: np.ndarray) -> dict[str, Any]:
    faces = np.asarray(body.faces).astype(np.uint32)
    with np.errstate(invalid="ignore", divide="ignore"):
        normals = vertex_normals(vertices.astype(np.float64), faces)
    normals = np.where(np.isfinite(normals), normals, [0.0, 1.0, 0.0])  # a vertex of no face; glTF needs unit length
    strongest, shares = strongest_weights(np.asarray(body.weights))
    attributes = {
        "POSITION": buffer.add(vertices.astype(np.float32), _VERTICES, limits=True),
        "NORMAL": buffer.add(normals.astype(np.float32), _VERTICES),
        "JOINTS_0": buffer.add(strongest, _VERTICES),
        "WEIGHTS_0": buffer.add(shares, _VERTICES),
    }
    indices = buffer.add(faces.reshape(-1, 1), _INDICES)
    return {"name": name, "primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}


def _material(colour: str) -> dict[str, Any]:
    """Matt, of an sRGB colour "#rrggbb": files have linear light."""
    srgb = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    look = {"baseColorFactor": [*linear.round(4).tolist(), 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
    return {"pbrMetallicRoughness": look, "doubleSided": True}


def _joint_nodes(body: Body, joints: np.ndarray, turns: np.ndarray, transl: np.ndarray) -> list[dict[str, Any]]:
    """The skeleton, in the pose of the first frame: joints [J, 3], turns [J, 4] xyzw, transl [3] of the pelvis."""
    nodes: list[dict[str, Any]] = []
    for j, (joint, parent) in enumerate(zip(MODEL_JOINTS[body.kind], body.parents, strict=True)):
        place = transl if parent < 0 else joints[j] - joints[parent]
        where = {"translation": np.float32(place).tolist(), "rotation": np.float32(turns[j]).tolist()}
        nodes.append({"name": joint, **where})
        if parent >= 0:
            nodes[parent].setdefault("children", []).append(j)
    return nodes


def _turns(body: Body, motion: Motion) -> np.ndarray:
    """Quaternions [F, J, 4] xyzw of unit length, with the sign of each nearest to the one before."""
    from scipy.spatial.transform import Rotation

    R = np.asarray(posed(body, motion.body_pose, motion.global_orient).rotations)
    q = Rotation.from_matrix(R.reshape(-1, 3, 3)).as_quat().reshape(*R.shape[:-2], 4)
    same = np.where((q[1:] * q[:-1]).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    return np.concatenate([q[:1], q[1:] * np.cumprod(same, axis=0)])


def _animation(
    buffer: _Buffer, name: str, turns: np.ndarray, motion: Motion, moving: np.ndarray, start: float, between: str
) -> dict[str, Any]:
    """Tracks of the joints `moving`, turns [F, J, 4], and of the pelvis' position."""
    times = buffer.add((start + np.arange(len(turns)) / motion.fps).astype(np.float32)[:, None], limits=True)
    tracks = [(0, "translation", np.asarray(motion.transl)), *((int(j), "rotation", turns[:, j]) for j in moving)]
    samplers = [
        {"input": times, "output": buffer.add(values.astype(np.float32)), "interpolation": between}
        for _, _, values in tracks
    ]
    channels = [{"sampler": s, "target": {"node": node, "path": path}} for s, (node, path, _) in enumerate(tracks)]
    return {"name": name, "samplers": samplers, "channels": channels}


def _write(path: str | os.PathLike[str], tree: dict[str, Any], buffer: _Buffer) -> Path:
    head = {"asset": {"version": "2.0", "generator": "jaxpose"}, "scene": 0}
    parts = {
        "accessors": buffer.accessors,
        "bufferViews": buffer.views,
        "buffers": [{"byteLength": len(buffer.content)}],
    }
    text = json.dumps({**head, **tree, **parts}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    with atomic(path) as file:
        file.write(struct.pack("<4sII", b"glTF", 2, 12 + 8 + len(text) + 8 + len(buffer.content)))
        for kind, chunk in ((b"JSON", text), (b"BIN\0", bytes(buffer.content))):
            file.write(struct.pack("<I4s", len(chunk), kind))
            file.write(chunk)
    return Path(path)


def mesh_arrays(vertices: ArrayLike, faces: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Meshes [V, 3] or [N, V, 3] as float32 [N, V, 3] and faces as uint32 [_, 3]; ValueError where they are wrong."""
    meshes = np.asarray(vertices, np.float32)
    if meshes.ndim not in (2, 3) or meshes.shape[-1] != 3 or not meshes.size:
        raise ValueError(f"vertices: got shape {list(meshes.shape)}, needed [V, 3] or [N, V, 3]")
    if not np.isfinite(meshes).all():
        raise ValueError("vertices: got NaN or infinity; needed finite vertices")
    return meshes.reshape(-1, *meshes.shape[-2:]), checked_faces("faces", faces, meshes.shape[-2])


def checked_faces(name: str, faces: ArrayLike, num_vertices: int) -> np.ndarray:
    """Faces as uint32 [_, 3], all of vertices that are there, or a ValueError naming the argument."""
    array = np.asarray(faces)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or array.dtype.kind not in "iu":
        raise ValueError(f"{name}: got {array.dtype} {list(array.shape)}, must be integers [F, 3]")
    if array.min() < 0 or array.max() >= num_vertices:
        raise ValueError(f"{name}: got vertices {array.min()}..{array.max()}, must be 0..{num_vertices - 1}")
    return array.astype(np.uint32)


def strongest_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joints [V, 4] uint8 and weights [V, 4] float32, falling, with sum 1, of skinning weights [V, J].

    Joint 0 stands beside weight 0.
    """
    order = np.argsort(-weights, axis=1, kind="stable")[:, :_NUM_WEIGHTS]
    shares = np.take_along_axis(weights, order, 1).astype(np.float64)
    shares = (shares / shares.sum(1, keepdims=True)).astype(np.float32)
    return np.where(shares > 0, order, 0).astype(np.uint8), shares
