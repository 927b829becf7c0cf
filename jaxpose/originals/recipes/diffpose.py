"""DiffPose as its authors released it: the sampler and the lifter (spec/diffpose.md, 2 to 3.1).

The released code is simpler than the paper (tasks/diffpose.py): one pose per input, no noise, no context. A pose is
h = (u, v, x, y, z) per joint, u and v on the screen (`camera.normalise_screen`), x, y, z metres relative to the root.

    h = (keypoints, encoder(keypoints) - root)           taken for h_i, i = indices[0], without noise, and not scaled
    h_j = sqrt(a_j) x0(h_i, i) + sqrt(1 - a_j) eps(h_i, i)    j the next of indices, or -1 with a_-1 = 1 (DDIM, eta = 0)
    result: x, y, z of the last h, relative to the root

    a_i = prod_(k <= i) (1 - b_k),  b_0 .. b_50 = 1e-4 .. 1e-3, so that h_50 is a blurred pose, not noise

Index i is the time (i + 1) / 51 of `sde.from_betas`, and -1 the time 0. As every start is the same, so is every
sample: there is no number of hypotheses. Parity on a GPU needs `jax_default_matmul_precision` "highest".

Source: Gong et al., DiffPose, CVPR 2023 (arXiv 2211.16940); its released code as spec/diffpose.md describes it.
"""

from typing import Any

import jax
import jax.numpy as jnp

from jaxpose.base import Array, Key
from jaxpose.diffusion import ddim, sample
from jaxpose.geometry.camera import normalise_screen
from jaxpose.geometry.skeleton import flip_average
from jaxpose.model import Model, needs

NUM_INDICES = 51
PROCESS_ARGS = (1e-4, 1e-3, NUM_INDICES)  # of the process "linear_betas"
# released: frames by detected and by exact keypoints, video by detected ones
SCHEDULES: dict[str, tuple[int, ...]] = {"cpn": (12, 0), "gt": (6, 0), "video": (0,)}


@needs("denoise_official", "screen", "denoiser")
def denoise_official(
    model: Model,
    uv: Array,
    xyz: Array,
    *,
    indices: tuple[int, ...] | None = None,
    eta: float = 0.0,
    key: Key | None = None,
    return_path: bool = False,
) -> Array:
    """Root-relative joints [..., J, 3] metres, camera axes, of screen coordinates uv [..., J, 2] and a guess xyz.

    xyz:         [..., J, 3] metres, the root at 0; taken as it is.
    indices:     falling, where the network is called; None: the model's.
    eta:         in [0, 1]: of the noise between steps, which needs a key; 0 for none.
    return_path: the states [T + 1, ..., J, 5] instead, from the start to the last, whose x, y, z are the result.
    """
    spec = model.spec
    indices = spec.indices if indices is None else indices
    num = int(spec.process_args[2])
    if not indices or not all(0 <= i < num for i in indices) or list(indices) != sorted(indices, reverse=True):
        raise ValueError(f"indices: needed falling numbers in 0..{num - 1}, at least one, got {indices}")
    if eta > 0 and key is None:
        raise ValueError(f"eta {eta} draws noise and needs a key")
    times = (jnp.asarray((*indices, -1)) + 1) / num
    path = sample(
        jax.random.key(0) if key is None else key,
        jnp.concatenate([uv, xyz], -1),
        model.predict_fn(),
        ddim(spec.sde(), eta),
        times,
        finish=False,  # at time 0 the state is x0
        return_path=return_path,
    )
    return path if return_path else _rooted(path[..., 2:])


@needs("lift_official", "screen", "encoder")
def lift_official(
    model: Model,
    keypoints_px: Array,
    image_size: tuple[Array | float, Array | float],
    *,
    flip: bool = False,
    only_zero_root: bool = False,
) -> Array:
    """Root-relative joints [N, J, 3], or [N, F, J, 3] of video, metres, camera axes, of keypoints in pixels.

    keypoints_px:   [N, J, 2], or for a video encoder [N, F, J, 2], windows of its length (jaxpose/geometry/windows.py).
    image_size:     width and height in pixels, numbers or arrays that broadcast to [N] or [N, F].
    flip:           average the encoder with its view in the mirror, as the released evaluation of video does.
    only_zero_root: start as the released code for frames does on CPU, where subtracting the root in place overwrites
                    the root first, so that the other joints stay as they are. For comparison only.

    The start is made relative to the root, but for video, where the released code leaves it as it is. A model without
    a denoiser gives the encoder's poses. ValueError for a model that is none of DiffPose's own or has no encoder.
    """
    network: Any = model.spec.network
    frames = () if network.video is None else (network.video.num_frames,)
    shape = (*frames, len(model.skeleton.joints), 2)
    if keypoints_px.ndim != 1 + len(shape) or keypoints_px.shape[1:] != shape:
        raise ValueError(f"keypoints_px: needed [N, {str(shape)[1:-1]}] pixels, got shape {keypoints_px.shape}")

    def encode(uv: Array) -> Array:
        return network.apply(model.params, uv, method="encode")[0]

    uv = normalise_screen(keypoints_px, *image_size)
    xyz = (flip_average(encode, model.skeleton) if flip else encode)(uv)
    if network.denoiser is None:
        return _rooted(xyz)
    if only_zero_root:
        xyz = xyz.at[..., 0, :].set(0)
    elif not frames:
        xyz = _rooted(xyz)
    return denoise_official(model, uv, xyz)


def _rooted(xyz: Array) -> Array:
    return xyz - xyz[..., :1, :]
