"""Bodies as a skin: vertices at rest that follow joints, which a page moves instead of keeping every vertex.

    v(t) = sum_j w_j (R_j(t) v + t_j(t)),    t_j = p_j - R_j J_j

with the four strongest weights w of a vertex, made to sum to 1, the joints' places J at rest and p posed. That is
`PosedBody.skin` without pose correctives and without weights beyond the fourth. Where every frame has a shape of its
own, the surface is that of the mean shape, and the joints are where each frame has them.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxpose.app.viz.packing import Packer
from jaxpose.geometry.body import PosedBody
from jaxpose.geometry.rotations import quaternion_from_matrix
from jaxpose.io.meshes import strongest_weights

_STEP, _TURN_STEP = 1e-4, 1 / 32767  # metres; of quaternions
_FLIP = np.diag([1.0, -1.0, -1.0])  # camera axes to those of the display


class Skin(NamedTuple):
    """One body over F frames: rest [V, 3] m; weights [V, J]; transforms [F, J, 3, 4], (R_j | t_j), NaN where absent.

    joints_at_rest: [J, 3] m. lacking: what is left out of the surface.
    """

    rest: np.ndarray
    weights: np.ndarray
    transforms: np.ndarray
    joints_at_rest: np.ndarray
    lacking: str = ""

    def turned(self, R: np.ndarray, rows: np.ndarray) -> "Skin":
        """The frames `rows`, turned by R [3, 3]."""
        return self._replace(transforms=R @ self.transforms[rows])

    def moved(self, place: np.ndarray) -> "Skin":
        """The same, moved by place [3] metres."""
        move = np.concatenate([np.zeros((3, 3)), np.asarray(place)[:, None]], 1)
        return self._replace(transforms=self.transforms + move)

    def joints(self) -> np.ndarray:
        """The places of the joints, [F, J, 3]."""
        return np.einsum("fjrc,jc->fjr", self.transforms[..., :3], self.joints_at_rest) + self.transforms[..., 3]

    def sampled(self, most: int = 10) -> np.ndarray:
        """Vertices [f, V, 3] of at most so many frames in which the body is, evenly spaced."""
        there = np.flatnonzero(np.isfinite(self.transforms).all((1, 2, 3)))
        rows = there[np.linspace(0, len(there) - 1, min(most, len(there))).round().astype(int)]
        T = np.tensordot(self.weights, self.transforms[rows], axes=(1, 1))  # [V, f, 3, 4]
        return np.moveaxis(np.einsum("vfrc,vc->vfr", T[..., :3], self.rest) + T[..., 3], 0, 1)

    def packed(self, packer: Packer) -> dict[str, Any]:
        """The parts of a page for a skin in the axes of a camera."""
        strongest, shares = strongest_weights(self.weights)
        used = np.unique(strongest)
        transforms, joints = _FLIP @ self.transforms[:, used], self.joints_at_rest[used]
        known = np.isfinite(transforms).all((-1, -2), keepdims=True)
        matrices = np.where(known, transforms[..., :3], np.eye(3)).astype(np.float32)
        turns = np.roll(np.asarray(quaternion_from_matrix(jnp.asarray(matrices))), -1, -1)  # xyzw
        turns *= np.where(turns[..., 3:] < 0, -1, 1)
        posed = np.einsum("fjrc,jc->fjr", transforms[..., :3], joints) + transforms[..., 3]
        time = 0 if len(transforms) > 1 else None
        weights = np.rint(255 * shares).astype(np.int16)
        weights[:, 0] += 255 - weights.sum(1)  # they sum to 1 again
        return {
            "rest": packer.positions(self.rest, _STEP),
            "joints": packer.positions(joints, _STEP),
            "turns": packer.positions(turns, _TURN_STEP, time=time),
            "posed": packer.positions(posed, _STEP, time=time),
            "strongest": packer.add(np.searchsorted(used, strongest).astype(np.uint8)),
            "shares": packer.add(weights.astype(np.uint8)),
        }


def skins_of(posed: PosedBody, move: ArrayLike | None = None) -> list[Skin]:
    """A skin for each body of a posed body with leading axes [], [F] or [H, F]; move: [..., 3] m that it is moved."""
    R = np.asarray(posed.global_rotations, np.float64)
    rest, joints = (np.asarray(x, np.float64) for x in (posed.shaped.joints, posed.joints))
    joints = joints if move is None else joints + np.asarray(move)[..., None, :]
    lead = joints.shape[:-2]
    t = joints - np.einsum("...jrc,...jc->...jr", R, np.broadcast_to(rest, (*lead, *rest.shape[-2:])))
    transforms = np.concatenate([np.broadcast_to(R, (*lead, *R.shape[-3:])), t[..., None]], -1)
    lacking = ["four strongest skinning weights"]
    lacking += ["without pose correctives"] if np.any(np.asarray(posed.body.posedirs)) else []
    shaped = posed.shaped
    if shaped.joints.ndim > 2:
        betas, expression = (np.asarray(x) for x in (shaped.betas, shaped.expression))
        varied = np.ptp(betas.reshape(-1, betas.shape[-1]), axis=0).any() if betas.size else False
        lacking += ["surface of the mean shape"] if varied else []
        shaped = posed.body.shape(*(jnp.asarray(x.mean(tuple(range(x.ndim - 1)))) for x in (betas, expression)))
    weights, vertices = np.asarray(posed.body.weights), np.asarray(shaped.vertices)
    bodies = transforms.reshape(-1, *(lead[-1:] or (1,)), *transforms.shape[-3:])
    return [Skin(vertices, weights, body, np.asarray(shaped.joints), ", ".join(lacking)) for body in bodies]
