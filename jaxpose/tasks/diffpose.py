"""DiffPose: diffusion of poses about the Gaussian mixture of an encoder (Gong et al., CVPR 2023, arXiv 2211.16940).

A pose is h = (u, v, x, y, z) per joint: keypoints and 3D state in the units of spaces/person.py. What is known of it
before the diffusion is a mixture of Gaussians H_K: keypoints from a detector's confidences or heatmaps, x, y, z from
the context encoder or from histograms of the training poses. One component (mu, s) is drawn for a sample and kept; the
process carries the pose to it, and a sample comes back from it (the paper's equations 3 and 4, spec 2.5):

    h_k = mu + alpha_k (h_0 - mu) + sigma_k s eps         i.e. r = (h - mu) / s follows the standard process

The denoiser works on r. Its context says what r is relative to: the encoder's features f_ST, mu, log s, the keypoints.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from jaxpose.base import Array, Condition, Key, Problem, Start
from jaxpose.compiled import check_num
from jaxpose.diffusion.mixture import Mixture, draw_component, fit_mixture, heaviest_first, take_component
from jaxpose.diffusion.sampling import in_slices
from jaxpose.geometry.windows import tile
from jaxpose.model import Model, needs
from jaxpose.networks.diffpose import DiffPose
from jaxpose.spaces.keypoints import HIDDEN_STD, keypoint_std
from jaxpose.tasks.draw import draw_states
from jaxpose.tasks.samplers import Sampler, stochastic

# deviations of a detection that is right and of one that is not, over that of both
_FOUND, _MISSED = 0.6, 3.0
# of fitted variances, in squared units of h: 0.8 mm, or a third of a pixel of a person 320 px tall
_FLOOR = 1e-5
_DRAWS, _ENSEMBLE = 1000, 100  # that a mixture is fitted to; the second where each is a run of the encoder
START = 2**31 - 1  # H_K's key is the run's folded with this, which no hypothesis has for a number
# share of a variance that is between components, in training; the truth lies sqrt((1 + q) / (1 - q)) deviations from a
# component that was drawn without it, which r must not exceed by much if it is to have about unit size
_MOST_BETWEEN = 0.3
DEPTH_RANGE = (-4.0, 4.0)  # of the histograms, in units of state: +-1 m
DEPTHS = ("encoder", "ensemble", "histogram", "standard")
# Poses that a network sees at once on a CPU: the quickest of 32 to 1024 on 2 idle cores (measured at 0.8.0); and on
# others: a TPU's own memory holds the activations of 4096, a GPU starts a program less for each more (docs/scale.md).
ROWS_AT_ONCE, _ON_OTHERS = 512, {"tpu": 4096, "gpu": 16_384}


class Component(NamedTuple):
    """One Gaussian of H_K for each joint: mean and std [..., J, 5], of (u, v, x, y, z)."""

    mean: Array
    std: Array


class Encoded(NamedTuple):
    """Output of the encoder: pose [..., J, 3] state, features [..., J, C]; keypoints [..., J, 3] it saw."""

    pose: Array
    features: Array
    keypoints: Array


@needs("DiffPose's start", "context")
def network_of(model: Model) -> DiffPose:
    """The network of a DiffPose model of the paper's profile; ValueError for another, or one without its start."""
    if "start" not in model.params:
        raise ValueError(f"needed a DiffPose model with a context, got {model.spec.name!r} without its measured start")
    network: DiffPose = model.spec.network  # type: ignore[assignment]  # what has that capability
    return network


def encode(network: DiffPose, params: Any, cond: Condition) -> Encoded:
    """Run the encoder on a 2D condition of `encode_keypoints`; for video with a leading axis of its frames."""
    keypoints = encoder_input(cond)
    pose, features = cast(tuple[Array, Array], network.apply(params, keypoints, method="encode"))
    return Encoded(pose, features, keypoints)


def encoder_input(cond: Condition) -> Array:
    """Input of the encoder, of a 2D condition: (u, v, confidence) of each joint, 0 where hidden, [..., J, 3]."""
    assert cond.context is not None, "a condition of `encode_keypoints` has its confidences as context"
    visible = cond.mask[..., :1] > 0
    # not a product with the mask: nothing of a hidden joint passes, not even NaN; not a concatenation: docs/scale.md
    return jnp.where(visible, jnp.where(jnp.arange(3) < 2, cond.value, cond.context[..., None]), 0)


def one_gaussian(encoded: Encoded, residual: Array) -> Component:
    """H_K of one component: keypoints by their confidence, the encoder's pose by its residual [J, 3] (state units)."""
    uv_std = jnp.broadcast_to(keypoint_std(encoded.keypoints)[..., None], (*encoded.pose.shape[:-1], 2))
    mean = jnp.concatenate([encoded.keypoints[..., :2], encoded.pose], -1)
    return Component(mean, jnp.concatenate([uv_std, jnp.broadcast_to(residual, encoded.pose.shape)], -1))


def context_of(encoded: Encoded, component: Component, *, features: Array | bool = True) -> Array:
    """Context of the denoiser beside r: f_ST, mu, log s, keypoints, [..., J, C + 13]; no `features`: f_ST = 0."""
    shown = jnp.where(features, encoded.features, 0)
    shown, *rest = (
        jnp.broadcast_to(v, (*component.mean.shape[:-1], v.shape[-1]))
        for v in (shown, component.mean, jnp.log(component.std), encoded.keypoints)
    )
    return jnp.concatenate([shown, *rest], -1)


def initial_distribution(
    key: Key,
    model: Model,
    encoded: Encoded,
    *,
    num_components: int = 1,
    keypoints: Mixture | None = None,
    depth: str = "encoder",
    whole_pose: bool = False,
    num_samples: int | None = None,
) -> Mixture:
    """H_K of N inputs: a Mixture of each joint, weight [N, J, M] over 5 numbers, or of poses, [N, M] over J * 5.

    num_components: M; fitted by EM to `num_samples` draws of H_K (spec 2.2; the paper has 5), None: 1000, or 100 of an
                ensemble. Not where H_K is one of M already: keypoints of M, and x, y, z of the encoder.
    keypoints:  of each joint [N, J, .] over (u, v), in the condition's units (`encode_mixture`), such as a heatmap's;
                hidden joints stay unknown. None: a Gaussian or, with M > 1, one for what the detector found and one for
                what it missed, whose shares give the spread of the confidence.
    depth:      where x, y, z come from: "encoder"; "ensemble", the encoder of single frames run on every draw of the
                keypoints; "histogram" of the training poses, blind to the input; "standard", nothing is known, of
                keypoints neither: one Gaussian of the population, whatever M is.
    whole_pose: one component for all joints, not one for each.
    """
    _check_start(model, num_components, depth)
    plain = one_gaussian(encoded, model.params["start"]["residual"])
    if depth == "standard":
        plain = _standard(plain, jnp.asarray(model.statistics.spread))
    if depth == "standard" or (num_components == 1 and keypoints is None and depth == "encoder" and not whole_pose):
        return Mixture(jnp.ones((*plain.mean.shape[:-1], 1)), plain.mean[..., None, :], plain.std[..., None, :])
    if keypoints is not None:
        keypoints = _where_seen(keypoints, encoded.keypoints)
        if depth == "encoder" and num_components == keypoints.weight.shape[-1] and not whole_pose:
            return heaviest_first(_beside(keypoints, plain))
    num_samples = num_samples or (_ENSEMBLE if depth == "ensemble" else _DRAWS)
    uv_key, xyz_key, z_key, fit_key = jax.random.split(key, 4)
    uv = _draw_keypoints(uv_key, plain, keypoints, num_components > 1, num_samples)
    xyz = _draw_xyz(xyz_key, z_key, model, encoded, plain, uv, depth)
    h = jnp.moveaxis(jnp.concatenate([uv, xyz], -1), 0, -2)  # [N, J, S, 5]
    if whole_pose:
        h = jnp.swapaxes(h, -2, -3).reshape(len(h), num_samples, -1)
    return heaviest_first(fit_mixture(fit_key, h, num_components, floor=_FLOOR)[0])


def _check_start(model: Model, num_components: int, depth: str) -> None:
    if depth not in DEPTHS:
        raise ValueError(f"depth: got {depth!r}, must be one of {DEPTHS}")
    check_num(num_components, "num_components")
    if depth == "ensemble" and (window := network_of(model).window) is not None:
        raise ValueError(
            f"depth: 'ensemble' is for models of single frames, {model.spec.name!r} sees {window} together"
        )


def _draw_xyz(key: Key, z_key: Key, model: Model, encoded: Encoded, plain: Component, uv: Array, depth: str) -> Array:
    """Draws [S, N, J, 3] of the poses' distribution beside those of the keypoints, uv [S, N, J, 2]."""
    xyz = jax.random.normal(key, (len(uv), *plain.mean.shape))[..., 2:]
    if depth != "histogram":
        pose = plain.mean[..., 2:] if depth == "encoder" else _ensemble(model, encoded, uv)
        return pose + plain.std[..., 2:] * xyz
    depths = _draw_depth(z_key, model.params["start"]["depth"], xyz.shape[:-1])
    return (jnp.asarray(model.statistics.spread) * xyz).at[..., 2].set(depths)


def draw_start(key: Key, mixture: Mixture, num_joints: int, *, shared: bool) -> Component:
    """The component [N, J, 5] of one sample; shared: one draw for all N, which are then frames of one clip.

    The frames' mixtures were fitted one by one, so a shared draw is one of rank: with the components in order of
    weight, all frames take the one that holds the same share u of it.
    """
    whole_pose = mixture.weight.ndim == 2
    if shared:
        u = jax.random.uniform(key, mixture.weight.shape[1:-1])
        upto = jnp.cumsum(mixture.weight, -1)
        index = (upto < u[..., None] * upto[..., -1:]).sum(-1)
    else:
        index = draw_component(key, mixture)
    mean, std = take_component(mixture, index)
    shape = (len(mean), num_joints, 5)
    return Component(mean.reshape(shape), std.reshape(shape)) if whole_pose else Component(mean, std)


def residual_start(
    model: Model,
    cond: Condition,
    encoded: Encoded,
    mixture: Mixture,
    features: bool = True,
    numbers: Array | None = None,
) -> Partial:
    """The `Problem.start` of residuals r [N, J, 5]; a hypothesis keeps the component of `mixture` that it drew.

    For a video model all rows are frames, which share a hypothesis' noise and component, so that it moves as smoothly
    as its context does. features: False hides f_ST from the denoiser. numbers: as of `lift`, for single frames.
    """
    return Partial(_start, model, cond, encoded, mixture, jnp.asarray(features), numbers)


def _start(
    model: Model, cond: Condition, encoded: Encoded, mixture: Mixture, features: Array, numbers: Array | None, key: Key
) -> Start:
    video, (rows, num_joints) = network_of(model).window is not None, encoded.pose.shape[:2]
    component_key, noise_key, step_key = jax.random.split(key, 3)
    component = draw_start(component_key, mixture, num_joints, shared=video or numbers is not None)
    if video or numbers is None:
        noise = jax.random.normal(noise_key, (1 if video else rows, num_joints, 5))
    else:
        keys = jax.vmap(lambda number: jax.random.fold_in(noise_key, number))(numbers)
        noise = jax.vmap(lambda key: jax.random.normal(key, (num_joints, 5)))(keys)
    r = jnp.broadcast_to(noise, component.mean.shape)
    given = cond._replace(context=context_of(encoded, component, features=features))
    return Start(r, step_key, cond=given, kept=component)


def pose_states(component: Component, r: Array) -> Array:
    """States [H, (T+1,) N, J, 3], the 3D part of h = mu + s r, of residuals r [H, (T+1,) N, J, 5]."""
    mean, std = (x if r.ndim == x.ndim else x[:, None] for x in component)
    return (mean + std * r)[..., 2:]


def draw_poses(
    key: Key,
    model: Model,
    cond: Condition,
    *,
    num_hypotheses: int,
    sampler: Sampler | None = None,
    start: Callable[[Encoded], Mixture] | None = None,
    windows: tuple[Array, Array] | None = None,
    features: bool = True,
) -> Array:
    """States [H, N, J, 3] of a 2D condition of N rows, inside a program.

    start:    H_K as a function of the encoder's output (`initial_distribution`); None: one Gaussian.
    windows:  (index, counted) of `geometry.windows.tile`, for a video model; None: the rows are one clip.
    """
    encoded = encode_rows(model, cond, windows)
    mixture = (start or (lambda e: initial_distribution(jax.random.fold_in(key, START), model, e)))(encoded)
    problem = Problem(
        residual_start(model, cond, encoded, mixture, features), Partial(pose_states), rows_at_once=rows_at_once()
    )
    r, component = draw_states(key, model, problem, num=num_hypotheses, sampler=sampler or stochastic())
    return pose_states(component, r)


@needs("an encoding of keypoints", "joints", "encoder")
def encode_rows(model: Model, cond: Condition, windows: tuple[Array, Array] | None = None) -> Encoded:
    """`encode` for N rows: for a video model window by window, each row taken where it counts.

    The model may be an encoder alone, without a denoiser and its start; ValueError for one without an encoder.
    """
    network, at_once = cast(DiffPose, model.spec.network), rows_at_once()
    if network.window is None:
        return in_slices(lambda part: encode(network, model.params, part), cond, at_once)
    num, length = len(cond.value), network.window
    index, counted = windows or tile(np.zeros(num), np.arange(num), length, stride=max(1, length // 3))
    of_windows = in_slices(
        lambda rows: encode(network, model.params, jax.tree.map(lambda x: x[rows], cond)),
        jnp.asarray(index),
        max(1, at_once // length),
    )
    # rows that do not count are sent beyond the end, where they are dropped
    place = jnp.where(jnp.asarray(counted), jnp.asarray(index), num)
    return jax.tree.map(lambda x: jnp.zeros((num, *x.shape[2:])).at[place].set(x, mode="drop"), of_windows)


def rows_at_once() -> int:
    """Poses that DiffPose's networks see at once on this device."""
    return _ON_OTHERS.get(jax.default_backend(), ROWS_AT_ONCE)


def _draw_keypoints(key: Key, plain: Component, keypoints: Mixture | None, missed: bool, num: int) -> Array:
    """Draws [S, N, J, 2] of the keypoints' distribution."""
    index_key, noise_key = jax.random.split(key)
    mean, std = plain.mean[..., :2], plain.std[..., :2]
    noise = jax.random.normal(noise_key, (num, *mean.shape))
    if keypoints is not None:
        index = jax.vmap(lambda k: draw_component(k, keypoints))(jax.random.split(index_key, num))
        mean, std = jax.vmap(lambda i: take_component(keypoints, i))(index)
    elif missed:
        # a narrow and a wide Gaussian, mixed so that the variance is still that of the confidence
        share = (1 - _FOUND**2) / (_MISSED**2 - _FOUND**2)
        is_missed = jax.random.bernoulli(index_key, share, (num, *mean.shape[:-1], 1))
        std = std * jnp.where(is_missed, _MISSED, _FOUND)
    return mean + std * noise


def _beside(keypoints: Mixture, plain: Component) -> Mixture:
    """The mixture over 5 numbers of (u, v) by a mixture [N, J, M] and, whichever component it is, x, y, z by one."""
    shape = (*keypoints.mean.shape[:-1], 3)
    xyz = (jnp.broadcast_to(x[..., None, 2:], shape) for x in plain)
    both = (jnp.concatenate([a, b], -1) for a, b in zip(keypoints[1:], xyz, strict=True))
    return Mixture(keypoints.weight, *both)


def _standard(plain: Component, population: Array) -> Component:
    """The Gaussian of all poses in all places, the same for every input."""
    std = jnp.concatenate([jnp.full((len(population), 2), HIDDEN_STD), population], -1)
    return Component(jnp.zeros_like(plain.mean), jnp.broadcast_to(std, plain.std.shape))


def _where_seen(mixture: Mixture, keypoints: Array) -> Mixture:
    """The mixture of keypoints (u, v, confidence) [N, J, 3], which is anywhere on the person where they are hidden."""
    visible = (keypoints[..., 2] > 0)[..., None, None]
    mean = jnp.where(visible, mixture.mean, keypoints[..., None, :2])
    return mixture._replace(mean=mean, std=jnp.where(visible, mixture.std, keypoint_std(keypoints)[..., None, None]))


def _ensemble(model: Model, encoded: Encoded, uv: Array) -> Array:
    """Poses [S, N, J, 3] that the encoder gives for draws uv [S, N, J, 2] of the keypoints; hidden joints stay 0."""
    confidence = jnp.broadcast_to(encoded.keypoints[..., 2:], (*uv.shape[:-1], 1))
    given = jnp.where(confidence > 0, jnp.concatenate([uv, confidence], -1), 0)
    flat = given.reshape(-1, *given.shape[2:])
    network = network_of(model)

    def pose(rows: Array) -> Array:
        return cast(tuple[Array, Array], network.apply(model.params, rows, method="encode"))[0]

    return in_slices(pose, flat, rows_at_once()).reshape(*uv.shape[:-1], 3)


def _draw_depth(key: Key, histogram: Array, shape: tuple[int, ...]) -> Array:
    """Depths [*shape] in state units by histograms [J, bins] over DEPTH_RANGE; the last axis of shape is J."""
    bin_key, jitter_key = jax.random.split(key)
    index = jax.random.categorical(bin_key, jnp.log(histogram), shape=shape)
    width = (DEPTH_RANGE[1] - DEPTH_RANGE[0]) / histogram.shape[-1]
    return DEPTH_RANGE[0] + width * (index + jax.random.uniform(jitter_key, shape))


def random_component(key: Key, component: Component, population: Array) -> Component:
    """A component as mixtures of all kinds may give it, of a Gaussian that is known; for training.

    A Gaussian is a mixture of narrower ones whose means spread: with a share q of the variance between them, the mean
    moves by sqrt(q) s n and the rest is sqrt(1 - q) s. Now and then nothing is known of x, y, z but the population
    [J, 3], whose mean is 0. The rates are ours.
    """
    narrow_key, share_key, noise_key, none_key = jax.random.split(key, 4)
    is_narrow = jax.random.bernoulli(narrow_key, np.array([0.3, 0.2]))  # of (u, v) and of (x, y, z)
    shares = jnp.where(is_narrow, jax.random.uniform(share_key, (2,), maxval=_MOST_BETWEEN), 0.0)
    share = shares[np.array([0, 0, 1, 1, 1])]
    noise = jax.random.normal(noise_key, component.mean.shape)
    mean = component.mean + jnp.sqrt(share) * component.std * noise
    std = jnp.sqrt(1 - share) * component.std
    nothing = jax.random.bernoulli(none_key, 0.1)
    return Component(
        mean.at[..., 2:].set(jnp.where(nothing, 0.0, mean[..., 2:])),
        std.at[..., 2:].set(jnp.where(nothing, population, std[..., 2:])),
    )
