"""The networks of GFPose, DiffPose and DPoser in PyTorch, by the names of their released weights.

Written from their description (spec/gfpose.md 1, spec/diffpose.md 1, spec/dposer.md 1; equations in
jaxpose/networks), to be what the originals run: every layer is evaluated for every pose, and times are given for each
pose though all are the same. Linear layers start as torch starts them.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jaxpose.geometry.skeleton import H36M_17
from jaxpose.networks.graph import adjacency, chebyshev_terms

_GROUPS = 32


def embedding(time: Tensor, width: int) -> Tensor:
    """Sine block, then cosine block, of times [B]: [B, width]."""
    half = width // 2
    angle = time[:, None] * torch.exp(torch.arange(half, device=time.device) * (-math.log(10000.0) / (half - 1)))
    return torch.cat([angle.sin(), angle.cos()], 1)


class ScoreNet(nn.Module):
    """GFPose's network where it has a condition, else DPoser's; a pose is `width` numbers.

    unused: DPoser's first release holds a layer that it never calls. ve_scale: DPoser divides its output by a table.
    """

    def __init__(
        self, width: int, hidden: int = 1024, time_width: int = 512, num_blocks: int = 2, *, condition: bool = True,
        unused: bool = False, ve_scale: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self.time_width, self.num_blocks, self.condition, self.ve_scale = time_width, num_blocks, condition, ve_scale
        self.register_buffer("sigmas", torch.from_numpy(np.geomspace(50, 0.01, 1000)))
        self._layer("pre_dense", "pre_gnorm", width, hidden, condition or unused)
        self.shared_time_embed = nn.Sequential(nn.Linear(time_width, time_width), nn.SiLU())
        if condition:
            self.cond_embed = nn.Sequential(nn.Linear(width, hidden), nn.SiLU())
        for block in range(1, num_blocks + 1):
            for layer in (1, 2):
                self._layer(f"b{block}_dense{layer}", f"b{block}_gnorm{layer}", hidden, hidden, condition)
        self.post_dense = nn.Linear(hidden, width)
        self.drop = nn.Dropout(0.25 if condition else 0.1)

    def _layer(self, name: str, norm: str, width: int, hidden: int, condition: bool) -> None:
        setattr(self, name, nn.Linear(width, hidden))
        setattr(self, f"{name}_t", nn.Linear(self.time_width, hidden))
        if condition:
            setattr(self, f"{name}_cond", nn.Linear(hidden, hidden))
        setattr(self, norm, nn.GroupNorm(_GROUPS, hidden))

    def _apply_layer(self, name: str, h: Tensor, tau: Tensor, kap: Tensor | None) -> Tensor:
        out = getattr(self, name)(h) + getattr(self, f"{name}_t")(tau)
        if kap is not None:
            out = out + getattr(self, f"{name}_cond")(kap)
        return self.drop(F.silu(getattr(self, name.replace("dense", "gnorm"))(out)))

    def forward(self, x: Tensor, label: Tensor, cond: Tensor | None = None, mask: Tensor | None = None) -> Tensor:
        """Raw output like x [B, J, D] at labels [B] = 999 t, of a condition and its mask [B, J, D]."""
        tau, kap = self.shared_time_embed(embedding(label, self.time_width)), None
        if self.condition:
            assert cond is not None, "GFPose's network is given a condition"
            is_3d = (cond[..., 2].abs().sum(1) > 0).to(x.dtype)
            away = x - cond
            away = torch.cat([away[..., :2], away[..., 2:] * is_3d[:, None, None]], -1)
            kap = self.cond_embed((away if mask is None else away * mask).flatten(1))
        h = self._apply_layer("pre_dense", x.flatten(1), tau, kap)
        for block in range(1, self.num_blocks + 1):
            r = self._apply_layer(f"b{block}_dense1", h, tau, kap)
            h = h + self._apply_layer(f"b{block}_dense2", r, tau, kap)
        out = self.post_dense(h).reshape(x.shape)
        if self.ve_scale:
            out = out / self.sigmas.to(out.dtype)[label.long()][:, None, None]
        return out


class ChebConv(nn.Module):
    """sum_k T_k x W_k + b on [B, J, C], term by term with W_k for every pose."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 1, width, features) / math.sqrt(2 * width * features))
        self.bias = nn.Parameter(torch.zeros(1, 1, features))
        terms = torch.from_numpy(chebyshev_terms(H36M_17)).float()[:, None]
        self.register_buffer("terms", terms, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return (self.terms @ x @ self.weight).sum(0) + self.bias


class _GraphConv(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gconv = ChebConv(width, width)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(F.relu(self.gconv(x)))


class _Residual(nn.Module):
    def __init__(self, width: int, time_width: int | None) -> None:
        super().__init__()
        self.gconv1, self.gconv2 = _GraphConv(width), _GraphConv(width)
        if time_width:
            self.temb_proj = nn.Linear(time_width, width)

    def forward(self, x: Tensor, temb: Tensor | None) -> Tensor:
        h = self.gconv1(x)
        if temb is not None:
            h = h + self.temb_proj(temb * torch.sigmoid(temb))[:, None]
        return x + self.gconv2(h)


class _StdNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.a_2, self.b_2 = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.a_2 * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + self.b_2


class _Attention(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.linears = nn.ModuleList(nn.Linear(width, width) for _ in range(4))
        self.num_heads, self.drop = num_heads, nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        split = (*x.shape[:2], self.num_heads, -1)
        q, k, v = (linear(x).view(split).transpose(1, 2) for linear in self.linears[:3])
        weights = self.drop((q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1))
        return self.linears[3]((weights @ v).transpose(1, 2).reshape(x.shape))


class _Linear(nn.Module):
    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, features)

    def forward(self, x: Tensor, graph: Tensor) -> Tensor:
        return self.fc(graph @ x)


class _LearnedGraph(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.A_hat = nn.Parameter(torch.eye(len(adjacency(H36M_17))))
        self.gconv1, self.gconv2 = _Linear(width, 2 * width), _Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        d = torch.diag((self.A_hat.sum(0) + 1e-5) ** -0.5)
        graph = d @ self.A_hat @ d
        return self.gconv2(F.relu(self.gconv1(x, graph)), graph)


class _Sublayer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.drop = _StdNorm(width), nn.Dropout(0.25)

    def forward(self, x: Tensor, layer: nn.Module) -> Tensor:
        return x + self.drop(layer(self.norm(x)))


class _AttentionLayer(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn, self.feed_forward = _Attention(width, num_heads), _LearnedGraph(width)
        self.sublayer = nn.ModuleList(_Sublayer(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.sublayer[1](self.sublayer[0](x, self.self_attn), self.feed_forward)


class _TimeFeatures(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)])


class GraphNet(nn.Module):
    """DiffPose's denoiser of (u, v, x, y, z), or with numbers (2, 3) and no times its encoder of frames."""

    def __init__(
        self, width: int = 96, depth: int = 5, num_heads: int = 4, numbers: tuple[int, int] = (5, 5), *,
        has_time: bool = True,
    ) -> None:  # fmt: skip
        super().__init__()
        self.width, self.has_time = width, has_time
        self.gconv_input = ChebConv(numbers[0], width)
        self.gconv_layers = nn.ModuleList(_Residual(width, 4 * width if has_time else None) for _ in range(depth))
        self.atten_layers = nn.ModuleList(_AttentionLayer(width, num_heads) for _ in range(depth))
        self.gconv_output = ChebConv(width, numbers[1])
        self.temb = _TimeFeatures(width)  # the encoder has it too, and does not call it

    def forward(self, x: Tensor, t: Tensor | None = None) -> Tensor:
        """Scaled noise [B, 17, 5] of x [B, 17, 5] at indices t [B]; or x, y, z [B, 17, 3] of (u, v) [B, 17, 2]."""
        temb = None
        if self.has_time:
            assert t is not None, "the denoiser is given times"
            temb = self.temb.dense[0](embedding(t, self.width))
            temb = self.temb.dense[1](temb * torch.sigmoid(temb))
        h = self.gconv_input(x)
        for attention, residual in zip(self.atten_layers, self.gconv_layers, strict=True):
            h = residual(attention(h), temb)
        return self.gconv_output(h)


class _Mixing(nn.Module):
    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.qkv, self.proj, self.num_heads = nn.Linear(width, 3 * width), nn.Linear(width, width), num_heads

    def forward(self, x: Tensor) -> Tensor:
        num, length, width = x.shape
        qkv = self.qkv(x).reshape(num, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * (width // self.num_heads) ** -0.5).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(x.shape))


class _MLP(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = _Mixing(width, num_heads), _MLP(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class MixSTE(nn.Module):
    """3D joints [B, F, J, 3] of a window of F frames from (u, v) [B, F, J, 2]."""

    def __init__(
        self, num_frames: int = 243, num_joints: int = 17, width: int = 512, depth: int = 8, num_heads: int = 8,
        hidden: int = 1024,
    ) -> None:  # fmt: skip
        super().__init__()
        self.Spatial_patch_to_embedding = nn.Linear(2, width)
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, num_joints, width))
        self.Temporal_pos_embed = nn.Parameter(torch.zeros(1, num_frames, width))
        self.STEblocks = nn.ModuleList(_Block(width, num_heads, hidden) for _ in range(depth))
        self.TTEblocks = nn.ModuleList(_Block(width, num_heads, hidden) for _ in range(depth))
        self.Spatial_norm, self.Temporal_norm = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 3))

    def forward(self, x: Tensor) -> Tensor:
        num, frames, joints = x.shape[:3]
        h = self.Spatial_patch_to_embedding(x.flatten(0, 1)) + self.Spatial_pos_embed
        for n, (over_joints, over_frames) in enumerate(zip(self.STEblocks, self.TTEblocks, strict=True)):
            h = self.Spatial_norm(over_joints(h))
            h = h.reshape(num, frames, joints, -1).transpose(1, 2).flatten(0, 1)
            if n == 0:
                h = h + self.Temporal_pos_embed
            h = self.Temporal_norm(over_frames(h))
            h = h.reshape(num, joints, frames, -1).transpose(1, 2).flatten(0, 1)
        return self.head(h).reshape(num, frames, joints, -1)


def kind_of(names: Mapping[str, Any]) -> str:
    """Which network weights of these names are of: a key of `OFFICIAL`; ValueError where they are of none."""
    for kind, mark in _MARKS.items():
        if any(mark in name for name in names):
            return kind
    raise ValueError(f"none of the originals' networks; its tensors are {', '.join(list(names)[:3])}, ...")


def network_for(weights: Mapping[str, np.ndarray]) -> nn.Module:
    """The network with these weights, by the originals' names; ValueError where they do not fit it."""
    kind, shape = kind_of(weights), {name: np.shape(value) for name, value in weights.items()}
    try:
        if kind in ("gfpose", "dposer"):
            hidden, width = shape["pre_dense.weight"]
            blocks = sum(name.endswith("dense1.weight") for name in shape)
            dead, ve_scale = "pre_dense_cond.weight" in shape, kind == "dposer"
            net: nn.Module = ScoreNet(
                width, hidden, shape["shared_time_embed.0.weight"][0], blocks, condition=kind == "gfpose",
                unused=dead, ve_scale=ve_scale,
            )  # fmt: skip
        elif kind == "mixste":
            frames, width = shape["Temporal_pos_embed"][1:]
            depth = sum(name.startswith("STE") and name.endswith("norm1.weight") for name in shape)
            hidden = len(weights["STEblocks.0.mlp.fc1.bias"])
            net = MixSTE(frames, shape["Spatial_pos_embed"][1], width, depth, hidden=hidden)
        else:
            depth = sum(name.endswith("A_hat") for name in shape)
            into, width = shape["gconv_input.weight"][2:]
            numbers = (into, shape["gconv_output.weight"][-1])
            net = GraphNet(width, depth, numbers=numbers, has_time=kind == "denoiser")
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        net.load_state_dict(tensors, strict=False)
        missing = set(dict(net.named_parameters())) - set(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"not the weights of {kind}: {' '.join(str(error).split())}") from error
    if missing:
        raise ValueError(f"not the weights of {kind}: missing {', '.join(sorted(missing)[:4])}")
    return net


# a part of a name that only this network's weights have
_MARKS = {
    "mixste": "Spatial_pos_embed",
    "gfpose": "cond_embed",
    "dposer": "pre_gnorm",
    "denoiser": "temb_proj",
    "encoder": "gconv_input",
}
# the networks at their official sizes, with weights as training starts them
OFFICIAL: dict[str, Callable[[], nn.Module]] = {
    "gfpose": lambda: ScoreNet(51),
    "denoiser": GraphNet,
    "encoder": lambda: GraphNet(numbers=(2, 3), has_time=False),
    "mixste": MixSTE,
    "dposer": lambda: ScoreNet(63, condition=False, ve_scale=True),
}
