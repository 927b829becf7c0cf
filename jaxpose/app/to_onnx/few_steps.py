"""Lifting by a few-step model as one ONNX file: keypoints and noise in, hypotheses in metres out.

All randomness is an input, standard normal noise z [len(times), H, N, J, 3] of the model's times t_0 > t_1 > ... for an
even H; every second hypothesis is of the mirror image:

    x_0     = sigma(t_0) z_0
    x_{i+1} = a draw of the process' bridge to t_{i+1} at the network's x0 and eps of x_i, made of z_{i+1}
    pose    = the network's x0 of the last x

which is `tasks.lift` by its only sampler for such models; `noise_of` is the noise that a key stands for there. Inside
are the joint set of the keypoints, placement, all calls of the network, recalibration and the summary.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.app.to_onnx.graph import model_of
from jaxpose.base import Array, Camera, Hypotheses, Key
from jaxpose.diffusion.solvers import fresh_share
from jaxpose.files import ASSETS, FilePath, atomic
from jaxpose.geometry.joint_sets import convert_joints, joint_map
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.arrays import load_arrays
from jaxpose.model import Model, describe, needs
from jaxpose.reading import package
from jaxpose.tasks import lift
from jaxpose.tasks.draw import spread
from jaxpose.tasks.samplers import stochastic

FORMAT = "jaxpose-onnx-1"
_FEWEST = 3  # joints that lifting needs to have something to say
UNITS = {
    "keypoints": "px",
    "confidence": "0 (missing) to 1",
    "intrinsics": "px: fx, fy, cx, cy",
    "noise": "standard normal",
    "samples": "m",
    "mean": "m",
    "covariance": "m^2",
    "radius_90": "m",
    "root": "m",
}
HYPOTHESES = 20


class Exported(NamedTuple):
    """An ONNX model (onnx.ModelProto), the joint set of its keypoints, shapes of inputs and outputs, its metadata."""

    proto: Any
    skeleton: Skeleton
    inputs: dict[str, tuple[int, ...]]
    outputs: dict[str, tuple[int, ...]]
    metadata: dict[str, str]


@needs("--format onnx", "joints", "few_steps")
def export_lift(model: Model, *, num: int = HYPOTHESES, batch: int = 1, skeleton: Skeleton | None = None) -> Exported:
    """Lifting of `batch` detections to `num` hypotheses each.

    skeleton: joint set of the keypoints; None: the model's.
    ValueError for a model that is not of few steps, for a joint set that shows it less than three joints, and without
    the package onnx.
    """
    given = skeleton or model.skeleton
    if (known := int(joint_map(given, model.skeleton)[1].sum())) < _FEWEST:
        raise ValueError(f"--skeleton: {given.name} shows {known} joints of {model.skeleton.name}; needed {_FEWEST}")
    leaves, tree = jax.tree.flatten_with_path(model)
    weights = {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf) for path, leaf in leaves}
    rows, joints = len(given.joints), len(model.skeleton.joints)
    sizes = {
        "keypoints": (batch, rows, 2),
        "confidence": (batch, rows),
        "intrinsics": (batch, 4),
        "noise": (model.spec.num_calls, num + num % 2, batch, joints, 3),
    }

    def run(flat: list[Array], xy: Array, sure: Array, K: Array, noise: Array) -> dict[str, Array]:
        drawn = lift_of_noise(jax.tree.unflatten(tree, flat), xy, sure, K, noise, given, num)
        return {k: v for k, v in drawn._asdict().items() if v is not None and k != "weights"}

    inputs = {name: jax.ShapeDtypeStruct(size, jnp.float32) for name, size in sizes.items()}
    metadata = _metadata(model, given)
    proto = model_of(run, weights, inputs, metadata)
    outputs = {o.name: tuple(d.dim_value for d in o.type.tensor_type.shape.dim) for o in proto.graph.output}
    return Exported(proto, given, sizes, outputs, metadata)


def lift_of_noise(
    model: Model, keypoints: Array, confidence: Array, intrinsics: Array, noise: Array, skeleton: Skeleton, num: int
) -> Hypotheses:
    """The first `num` hypotheses of a few-step model by given noise [T, H, N, J, 3] (see above), H even.

    keypoints [N, J_s, 2] pixels and confidence [N, J_s] in the joint set `skeleton`, intrinsics [N, 4].
    """
    xy, sure = keypoints, confidence
    if skeleton != model.skeleton:
        xy, sure = convert_joints(xy, sure, skeleton, model.skeleton)
    problem = lift.mirrored_problem(jax.random.key(0), model, xy, sure, Camera(intrinsics))
    sde, predict = model.spec.sde(), model.predict_fn()
    sides = noise.reshape(len(noise), -1, 2, *noise.shape[2:])  # of each draw the hypotheses of both sides
    noise = jnp.moveaxis(sides, 2, 3).reshape(len(noise), sides.shape[1], -1, *noise.shape[3:])
    t, *later = stochastic().run(model.spec, sde).times
    x = sde.sigma(t) * noise[0]
    for z, s in zip(noise[1:], later, strict=True):
        predicted = predict(x, t, problem.cond)
        fresh = fresh_share(sde, t, s)
        x = sde.alpha(s) * predicted.x0 + sde.sigma(s) * (jnp.sqrt(1 - fresh) * predicted.eps + jnp.sqrt(fresh) * z)
        t = s
    decoded = lift.merged(model, problem.decode(predict(x, t, problem.cond).x0, None))
    decoded = jax.tree.map(lambda x: x[:num], decoded)
    # the elements that `draw.in_order` selects by their bits, which ONNX lacks
    by_sorting = lambda x, low, high: jnp.take(jnp.sort(x, 0), jnp.stack([low, high]), 0, mode="clip")  # noqa: E731
    summary = spread(decoded.samples, model.recalibration.get("lift"), order=by_sorting)
    return Hypotheses(decoded.samples, *summary, decoded.root)


def noise_of(key: Key, model: Model, num: int, batch: int) -> Array:
    """The noise [T, H, N, J, 3] by which `tasks.lift` draws `num` hypotheses of `batch` detections under `key`."""
    shape, steps = (2 * batch, len(model.skeleton.joints), 3), model.spec.num_calls - 1

    def one(h: Array) -> Array:
        start, key_h = jax.random.split(jax.random.fold_in(key, h))
        keys = [start, *(jax.random.split(jax.random.fold_in(key_h, i))[0] for i in range(steps))]
        return jnp.stack([jax.random.normal(k, shape) for k in keys])

    of_draws = jax.vmap(one, out_axes=1)(jnp.arange(-(-num // 2)))
    sides = jnp.moveaxis(of_draws.reshape(*of_draws.shape[:2], batch, 2, *shape[1:]), 3, 2)
    return sides.reshape(len(sides), -1, batch, *shape[1:])


def difference_mm(exported: Exported, model: Model) -> tuple[float, int]:
    """The largest distance in mm of a sampled joint from that of `tasks.lift`, and of how many frames.

    The frames are those of the bundled clip, keypoints with the errors of a detector; onnxruntime runs the file.
    ValueError without the package onnxruntime.
    """
    onnxruntime = package("onnxruntime", "the comparison with JAX needs the package onnxruntime", "onnx")
    session = onnxruntime.InferenceSession(exported.proto.SerializeToString(), providers=["CPUExecutionProvider"])
    given = exported.skeleton
    num, batch = exported.outputs["samples"][:2]
    clip = load_arrays(ASSETS / "demo_clip.npz")
    frames = len(clip["keypoints"]) // batch * batch or batch
    rows = np.arange(frames) % len(clip["keypoints"])
    points_px = jnp.asarray(clip["keypoints"][rows]), jnp.asarray(clip["confidence"][rows])
    points = convert_joints(*points_px, model.skeleton, given)
    K = np.tile(clip["intrinsics"], (batch, 1))
    key, worst = jax.random.key(0), 0.0
    noise = np.asarray(noise_of(key, model, num, batch))
    for first in range(0, frames, batch):
        xy, sure = (np.asarray(x[first : first + batch]) for x in points)
        (samples,) = session.run(["samples"], {"keypoints": xy, "confidence": sure, "intrinsics": K, "noise": noise})
        converted = convert_joints(jnp.asarray(xy), jnp.asarray(sure), given, model.skeleton)
        expected = lift.lift(key, model, *converted, camera=Camera(jnp.asarray(K)), num_hypotheses=num)
        worst = max(worst, float(np.linalg.norm(samples - np.asarray(expected.samples), axis=-1).max()))
    return 1000 * worst, frames


def write(path: FilePath, exported: Exported) -> None:
    """Write one file, whole or not at all."""
    with atomic(Path(path)) as file:
        file.write(exported.proto.SerializeToString())


def _metadata(model: Model, given: Skeleton) -> dict[str, str]:
    """The file's metadata; values are JSON but for plain text."""
    skeleton = model.skeleton
    return {
        "format": FORMAT,
        "jaxpose": version("jaxpose"),
        "jax": jax.__version__,
        "model": json.dumps(describe(model)),
        "licence": _licence(model),
        **{name: json.dumps(getattr(skeleton, name)) for name in ("joints", "parents", "left", "right")},
        "input_skeleton": given.name,
        "input_joints": json.dumps(given.joints),
        "input_parents": json.dumps(given.parents),
        "units": json.dumps(UNITS),
        "frame": "camera axes: x right, y down, z forward; samples and mean relative to the root joint",
    }


def _licence(model: Model) -> str:
    """Licence of the weights by the model's card; a model without a card has none stated."""
    card = ASSETS / f"{model.spec.name}.md"
    rows = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    (licence,) = [row.split("|")[2].strip() for row in rows if row.startswith("| licence |")] or ["not stated"]
    return licence
