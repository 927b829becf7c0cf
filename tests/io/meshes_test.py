"""Files of meshes, read back by a small reader of glTF's own rules: surfaces, and skinning from the file's numbers."""

import json
import struct

import jax.numpy as jnp
import numpy as np
import pytest
from body_tables import random_tables
from scipy.spatial.transform import Rotation

from jaxpose.geometry.body import full_rotations, make_body
from jaxpose.geometry.body_joints import MODEL_JOINTS
from jaxpose.io.meshes import strongest_weights, write_motion_glb, write_obj
from jaxpose.io.motion import Motion

COMPONENTS = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5125: "u4", 5126: "f4"}
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
FRAMES = 7


def read_glb(path):
    """The tree and the accessors' arrays [N, width] of a .glb, with the rules that a loader relies on."""
    content = path.read_bytes()
    magic, version, length = struct.unpack_from("<4sII", content)
    assert (magic, version, length) == (b"glTF", 2, len(content))
    size, kind = struct.unpack_from("<I4s", content, 12)
    assert kind == b"JSON"
    assert size % 4 == 0
    tree = json.loads(content[20 : 20 + size])
    binary_size, kind = struct.unpack_from("<I4s", content, 20 + size)
    assert kind == b"BIN\0"
    binary = content[28 + size :]
    assert len(binary) == binary_size == tree["buffers"][0]["byteLength"]
    arrays = []
    for accessor in tree["accessors"]:
        view = tree["bufferViews"][accessor["bufferView"]]
        dtype = np.dtype("<" + COMPONENTS[accessor["componentType"]])
        width = WIDTHS[accessor["type"]]
        assert view["byteOffset"] % dtype.itemsize == 0
        assert view["byteLength"] == accessor["count"] * width * dtype.itemsize
        assert view["byteOffset"] + view["byteLength"] <= len(binary)
        array = np.frombuffer(binary, dtype, accessor["count"] * width, view["byteOffset"]).reshape(-1, width)
        if "min" in accessor:
            np.testing.assert_array_equal([accessor["min"], accessor["max"]], [array.min(0), array.max(0)])
        arrays.append(array)
    return tree, arrays


def played(tree, arrays):
    """Times [F] and skinned vertices [F, V, 3] as a viewer computes them from the file alone."""
    (animation,) = tree["animations"]
    nodes, (skin,) = tree["nodes"], tree["skins"]
    (times,) = {s["input"] for s in animation["samplers"]}
    num = len(arrays[times])
    local = np.tile(np.eye(4), (len(nodes), num, 1, 1))
    for j, node in enumerate(nodes):
        local[j, :, :3, 3] = node.get("translation", [0, 0, 0])
        local[j, :, :3, :3] = Rotation.from_quat(node.get("rotation", [0, 0, 0, 1])).as_matrix()
    for channel in animation["channels"]:
        values = arrays[animation["samplers"][channel["sampler"]]["output"]]
        j, path = channel["target"]["node"], channel["target"]["path"]
        if path == "rotation":
            np.testing.assert_allclose(np.linalg.norm(values, axis=1), 1, atol=1e-6)
            local[j, :, :3, :3] = Rotation.from_quat(values).as_matrix()
        else:
            local[j, :, :3, 3] = values
    world = local.copy()
    todo, reached = list(tree["scenes"][tree["scene"]]["nodes"]), set()
    while todo:
        j = todo.pop()
        reached.add(j)
        for child in nodes[j].get("children", []):
            world[child] = world[j] @ local[child]
            todo.append(child)
    assert reached == set(range(len(nodes)))
    bind = arrays[skin["inverseBindMatrices"]].reshape(-1, 4, 4).swapaxes(1, 2)
    moves = np.stack([world[j] @ b for j, b in zip(skin["joints"], bind, strict=True)])
    (primitive,) = tree["meshes"][0]["primitives"]
    points, which, weights = (
        arrays[primitive["attributes"][k]].astype(np.float64) for k in ("POSITION", "JOINTS_0", "WEIGHTS_0")
    )
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
    blended = np.einsum("vk,vkfrc->fvrc", weights, moves[which.astype(int)])
    return arrays[times][:, 0], np.einsum("fvrc,vc->fvr", blended, np.c_[points, np.ones(len(points))])[..., :3]


def small_body(kind, num_weights, correctives):
    """A random body whose vertices hang on so many joints."""
    tables = random_tables(kind, num_vertices=40)
    weights = np.where(np.argsort(np.argsort(-tables["weights"], 1), 1) < num_weights, tables["weights"] + 1e-3, 0)
    return make_body(
        kind,
        v_template=tables["v_template"],
        shapedirs=tables["shapedirs"],
        posedirs=tables["posedirs"] * correctives,
        J_regressor=tables["J_regressor"],
        weights=weights / weights.sum(1, keepdims=True),
        faces=tables["f"],
        hands_mean=None if kind == "smpl" else np.random.default_rng(5).normal(0, 0.3, (30, 3)),
    )


@pytest.fixture(scope="module")
def motion():
    rng = np.random.default_rng(3)
    pose = rng.normal(0, 1.2, (FRAMES, 21, 3)).astype(np.float32)
    pose[:, 4] = [0.3, -0.2, 0.1]  # a joint that stands still, bent
    return Motion(
        pose, rng.normal(0, 2, (FRAMES, 3)).astype(np.float32), rng.normal(0, 1, (FRAMES, 3)).astype(np.float32), 25.0
    )


def skinned(body, motion, betas):
    """The body's own vertices, with the pelvis where the motion has it."""
    shaped = body.shape(betas)
    rotations = full_rotations(body, jnp.asarray(motion.body_pose), jnp.asarray(motion.global_orient))
    return np.asarray(shaped.pose(rotations, jnp.asarray(motion.transl) - shaped.joints[0]).skin())


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_a_viewer_computes_the_vertices_of_the_body(tmp_path, motion, kind):
    body = small_body(kind, 4, 0.0)
    betas = jnp.array([1.0, -2.0, 0.5])
    path = write_motion_glb(tmp_path / "a.glb", body, motion, betas=betas, name="someone")
    tree, arrays = read_glb(path)
    times, vertices = played(tree, arrays)
    np.testing.assert_allclose(times, np.arange(FRAMES) / 25, atol=1e-6)
    np.testing.assert_allclose(vertices, skinned(body, motion, betas), atol=2e-5)
    assert [tree["nodes"][j]["name"] for j in tree["skins"][0]["joints"]] == list(MODEL_JOINTS[kind])
    moving = {c["target"]["node"] for c in tree["animations"][0]["channels"] if c["target"]["path"] == "rotation"}
    assert moving == set(range(22)) - {5}  # joint 0 is the root, so body rotation 4 is joint 5's
    (primitive,) = tree["meshes"][0]["primitives"]
    np.testing.assert_array_equal(arrays[primitive["indices"]].reshape(-1, 3), np.asarray(body.faces))
    for sampler in tree["animations"][0]["samplers"]:
        track = arrays[sampler["output"]]
        if track.shape[1] == 4:  # neighbouring keys on one side, for programs that interpolate straight
            assert ((track[1:] * track[:-1]).sum(1) >= 0).all()


def test_what_plain_skinning_lacks_is_what_the_file_lacks(tmp_path, motion):
    """Correctives and weights beyond the fourth: their own size bounds the difference."""
    body = small_body("smpl", 6, 0.1)
    _, vertices = played(*read_glb(write_motion_glb(tmp_path / "a.glb", body, motion)))
    error = np.abs(vertices - skinned(body, motion, None)).max()
    plain = body.replace(posedirs=jnp.zeros_like(body.posedirs))
    which, shares = strongest_weights(np.asarray(body.weights))
    four = np.zeros(body.weights.shape, np.float32)
    np.put_along_axis(four, which.astype(int), shares, 1)
    np.testing.assert_allclose(vertices, skinned(plain.replace(weights=jnp.asarray(four)), motion, None), atol=2e-5)
    assert error > 1e-3


def test_the_strongest_weights_are_four_that_fall_and_sum_to_one():
    weights = np.array([[0.05, 0.3, 0.1, 0.25, 0.3], [0, 0, 0, 0, 1.0]])
    which, shares = strongest_weights(weights)
    assert which.tolist() == [[1, 4, 3, 2], [4, 0, 0, 0]]
    np.testing.assert_allclose(shares, [np.array([0.3, 0.3, 0.25, 0.1]) / 0.95, [1, 0, 0, 0]], rtol=1e-6)


def test_an_obj_says_the_same_as_its_arrays(tmp_path):
    rng = np.random.default_rng(0)
    meshes, faces = rng.normal(size=(2, 5, 3)), np.array([[0, 1, 2], [2, 3, 4]])
    lines = [line.split() for line in write_obj(tmp_path / "a.obj", meshes, faces).read_text().splitlines()]
    assert [line[1] for line in lines if line[0] == "o"] == ["body_0", "body_1"]
    points = np.array([line[1:] for line in lines if line[0] == "v"], float)
    np.testing.assert_allclose(points, meshes.reshape(-1, 3), atol=1e-6)
    triangles = np.array([line[1:] for line in lines if line[0] == "f"], int)
    np.testing.assert_allclose(points[triangles - 1], meshes[:, faces].reshape(-1, 3, 3), atol=1e-6)
