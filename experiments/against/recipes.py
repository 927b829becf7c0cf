"""The recipes of GFPose, DiffPose and DPoser in PyTorch, as their released code runs them.

GFPose and DPoser, Euler-Maruyama under sub-VP (spec/gfpose.md 5.1, spec/dposer.md 5), t from t_max to t_min in N calls:

    mean = x + (beta x / 2 + g^2 score) / N,    x = mean + g sqrt(1 / N) z,    result: the last mean

DiffPose (spec/diffpose.md 2.3), at falling indices i with j the next, then -1:

    h <- sqrt(a_j) (h - sqrt(1 - a_i) eps) / sqrt(a_i) + sqrt(1 - a_j) eps

DPoser's completion (spec/dposer.md 7.2), Adam in two stages s = 0, 1, the network without a gradient:

    100 / (1 + s) mean(M (x - y)^2) + (1 + s) / 10 mean(w (x - x0_hat(x_t))^2)
    x_t = alpha x + sigma z,    w = sqrt(1 + alpha / sigma) / 2

DPoser's denoising of a motion of F frames (spec/dposer.md 7.4; 40 mm, the later code's times), Adam in three stages s:

    100 / (1 + s^2) mean |J - y| + 10 (1 + s) mean |V_f - V_(f+1)| + (1 + s) / 10 mean_f sum (z - z0_hat)^2 / 2

with J, V joints and vertices of the body, z the poses as the prior's states; distances are not squared.

`noise` gives what is drawn, in order: the recorded numbers of a test, or torch.randn_like.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from jaxpose.originals.recipes.diffpose import PROCESS_ARGS

BETA_MIN, BETA_MAX = 0.1, 20.0
DENOISING = 180  # steps
LABEL = 999  # a label is so many times t
Noise = Callable[[Tensor], Tensor]  # like its argument
# (x [B, J, D], labels [B]) -> the noise in x
NoiseNet = Callable[[Tensor, Tensor], Tensor]


def sub_vp(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """alpha, sigma, beta and g^2 at times t."""
    beta = BETA_MIN + t * (BETA_MAX - BETA_MIN)
    log_alpha = -(t**2) * (BETA_MAX - BETA_MIN) / 4 - t * BETA_MIN / 2
    return log_alpha.exp(), -torch.expm1(2 * log_alpha), beta, -beta * torch.expm1(4 * log_alpha)


@torch.no_grad()
def euler_maruyama(
    network: NoiseNet,
    x: Tensor,
    num_steps: int = 1000,
    *,
    noise: Noise = torch.randn_like,
    steps: int | None = None,
    t_min: float = 1e-3,
) -> Tensor:
    """Carry noise x [B, J, D] to poses; steps: the first so many of the num_steps alone, for timing."""
    mean = x
    for t in torch.linspace(1, t_min, num_steps, dtype=x.dtype, device=x.device)[:steps]:
        times = torch.ones(len(x), dtype=x.dtype, device=x.device) * t
        _, sigma, beta, g2 = (v[:, None, None] for v in sub_vp(times))
        score = -network(x, LABEL * times) / sigma
        mean = x + (beta * x / 2 + g2 * score) / num_steps
        x = mean + (g2 / num_steps).sqrt() * noise(x)
    return mean


@torch.no_grad()
def ddim(network: NoiseNet, h: Tensor, indices: tuple[int, ...]) -> Tensor:
    """Carry h [B, 17, 5] = (u, v, x, y, z) down the falling indices to the clean pose, without noise."""
    first, last, num = PROCESS_ARGS
    kept = torch.cumprod(1 - torch.linspace(first, last, int(num), dtype=torch.float64), 0).to(h)
    for i, j in zip(indices, (*indices[1:], -1), strict=True):
        eps = network(h, torch.full((len(h),), float(i), dtype=h.dtype, device=h.device))
        a, b = kept[i], kept[j] if j >= 0 else torch.ones_like(kept[0])
        h = b.sqrt() * (h - (1 - a).sqrt() * eps) / a.sqrt() + (1 - b).sqrt() * eps
    return h


@torch.no_grad()
def lift(
    encoder: Callable[[Tensor], Tensor], denoiser: NoiseNet, uv: Tensor, start: Tensor, indices: tuple[int, ...]
) -> Tensor:
    """Poses [H, B, 17, 3] of (u, v) [B, 17, 2]: the encoder's pose and `start` [H, B, 17, 5] carried down."""
    xyz = encoder(uv)
    h = torch.cat([uv, xyz - xyz[:, :1]], -1) + start
    h = ddim(denoiser, h.flatten(0, 1), indices).reshape(start.shape)[..., 2:]
    return h - h[..., :1, :]


def complete(
    network: NoiseNet,
    start: Tensor,
    value: Tensor,
    mask: Tensor,
    *,
    num_steps: int = 200,
    t_max: float = 0.15,
    t_min: float = 0.05,
    b2: float = 0.99,
    noise: Noise = torch.randn_like,
) -> Tensor:
    """Poses [B, J, D] from `start`, which keep `value` where `mask` is 1; the later code's falling times."""
    x = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.1, betas=(0.9, b2))
    for k in range(num_steps):
        stage, t = 2 * k // num_steps, t_min + (t_max - t_min) * (num_steps - k - 1) / num_steps
        optimiser.zero_grad()
        data = (mask * (x - value) ** 2).mean()
        loss = 100 / (1 + stage) * data + (1 + stage) / 10 * regulariser(network, x, t, noise).mean()
        loss.backward()
        optimiser.step()
    return torch.where(mask > 0, value, x.detach())


def regulariser(network: NoiseNet, x: Tensor, t: float, noise: Noise, *, weighted: bool = True) -> Tensor:
    """w (x - x0_hat)^2 of poses [B, J, D], alike; not `weighted`: w = 1 / 2."""
    times = torch.ones(len(x), dtype=x.dtype, device=x.device) * t
    with torch.no_grad():
        alpha, sigma, _, _ = (v[:, None, None] for v in sub_vp(times))
        x_t = alpha * x + sigma * noise(x)
        clean = (x_t - sigma * network(x_t, LABEL * times)) / alpha
    return ((1 + alpha / sigma).sqrt() if weighted else 1) / 2 * (x - clean) ** 2


class Rig(NamedTuple):
    """Tables of a body: vertices [V, 3], joints [J, 3] at rest, posedirs [9 (J - 1), 3 V], weights [V, J], parents."""

    vertices: Tensor
    joints: Tensor
    posedirs: Tensor
    weights: Tensor
    parents: tuple[int, ...]

    def posed(self, pose: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices [N, V, 3] and joints [N, J, 3] of axis-angle body poses [N, 21, 3]; other joints do not turn."""
        turned = F.pad(pose, (0, 0, 1, len(self.parents) - 22))
        rotations = rodrigues(turned.reshape(-1, 3)).reshape(*turned.shape, 3)
        change = (rotations[:, 1:] - torch.eye(3, device=pose.device, dtype=pose.dtype)).flatten(1)
        rest = self.vertices + (change @ self.posedirs).reshape(len(pose), -1, 3)
        whole, place = [rotations[:, 0]], [self.joints[0].expand(len(pose), 3)]
        for joint, parent in enumerate(self.parents[1:], 1):
            whole.append(whole[parent] @ rotations[:, joint])
            place.append(place[parent] + whole[parent] @ (self.joints[joint] - self.joints[parent]))
        G, joints = torch.stack(whole, 1), torch.stack(place, 1)
        shift = joints - (G @ self.joints[..., None])[..., 0]
        A = torch.cat([G, shift[..., None]], -1)
        T = (self.weights @ A.flatten(2)).reshape(len(pose), -1, 3, 4)
        return (T[..., :3] @ rest[..., None])[..., 0] + T[..., 3], joints


def rodrigues(vectors: Tensor) -> Tensor:
    """Rotations [N, 3, 3] of axis-angle vectors [N, 3]."""
    angle = (vectors + 1e-8).norm(dim=1, keepdim=True)
    x, y, z = (vectors / angle).unbind(1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    sin, cos = angle.sin()[..., None], angle.cos()[..., None]
    return torch.eye(3, device=x.device, dtype=x.dtype) + sin * K + (1 - cos) * (K @ K)


def denoise(
    network: NoiseNet,
    rig: Rig,
    start: Tensor,
    seen: Tensor,
    mean: Tensor,
    scale: Tensor,
    *,
    steps: int = 180,
    noise: Noise = torch.randn_like,
) -> Tensor:
    """Body poses [N, F, 21, 3] of N clips from `start`, of joints `seen` [N, F, 22, 3] m.

    mean, scale: states of the prior are (x - mean) / scale. steps: the first so many of the 180 alone, for timing.
    """
    x = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([x], lr=0.03)
    for k in range(steps):
        stage, t = 3 * k // DENOISING, 0.05 + 0.2 * (DENOISING - k - 1) / DENOISING
        optimiser.zero_grad()
        vertices, joints = rig.posed(x.flatten(0, 1))
        vertices, joints = (v.reshape(*x.shape[:2], -1, 3) for v in (vertices, joints))
        data = (joints[:, :, :22] - seen).norm(dim=-1).mean((1, 2))
        smooth = (vertices[:, 1:] - vertices[:, :-1]).norm(dim=-1).mean((1, 2))
        prior = regulariser(network, ((x - mean) / scale).flatten(0, 1), t, noise, weighted=False)
        prior = prior.sum((1, 2)).reshape(x.shape[:2]).mean(1)
        loss = 100 / (1 + stage**2) * data + 10 * (1 + stage) * smooth + (1 + stage) / 10 * prior
        loss.sum().backward()
        optimiser.step()
    return x.detach()
