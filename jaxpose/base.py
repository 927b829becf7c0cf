"""The types that areas of jaxpose exchange: conditions, predictions, cameras, problems put to a model, and results.

Shape letters used in every docstring of the library:

    H hypotheses   B batch   F frames   J joints   D numbers per joint   V vertices   T solver steps

`...` stands for any number of leading axes. Units are metres, radians, seconds and pixels unless a name says
otherwise (`mpjpe_mm`).
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import flax.struct
import jax
import numpy as np

Array: TypeAlias = jax.Array
Numbers: TypeAlias = jax.Array | np.ndarray  # what arguments may be: on the device, or of numpy
Key: TypeAlias = jax.Array

# The axis of a field of `Hypotheses` or `Bodies` that counts observations; 0 of other fields.
ROW_AXIS = {"samples": 1, "root": 1, "weights": 1, "path": 2}
ROW_AXIS |= dict.fromkeys(("body_pose", "global_orient", "transl", "betas", "joints", "energy"), 1)
LEAST_PERCENTILE = 1.0  # of typicality: a pose below it is called out of distribution


class Condition(NamedTuple):
    """Condition of a network: the observed coordinates of a pose.

    value:   [..., J, D] observed coordinates in model units, 0 where hidden.
    mask:    [..., J, D] 1 where observed, 0 where hidden; all 0 is the null condition.
    context: [..., C] further features (an encoder's output, detector confidences), or None.
    """

    value: Array
    mask: Array
    context: Array | None = None


class Example(NamedTuple):
    """One training example: x0 [..., J, D] in model units, and the condition under which it was seen, if any."""

    x0: Array
    cond: Condition | None


class Prediction(NamedTuple):
    """The network's output at x_t = alpha x0 + sigma eps, as x0, eps and score = -eps / sigma; each like x_t."""

    x0: Array
    eps: Array
    score: Array


def brief(value: Any) -> str:
    """The representation of a NamedTuple of arrays: its type, and the shape or the type of each field."""
    fields = {name: x for name, x in value._asdict().items() if x is not None}
    parts = (f"{name} {list(x.shape) if hasattr(x, 'shape') else type(x).__name__}" for name, x in fields.items())
    return f"{type(value).__name__}({', '.join(parts)})"


class Bodies(NamedTuple):
    """Fitted bodies of N clips of F frames, in H hypotheses: the result of every fit.

    body_pose:     [H, N, F, 21, 3] axis-angle radians, without the root.
    global_orient: [H, N, F, 3] axis-angle radians of the root.
    transl:        [H, N, F, 3] metres that the template is moved.
    betas:         [H, N, S] coefficients of the shape, one shape for a clip.
    joints:        [H, N, F, 22, 3] metres.
    energy:        [H, N] nats at the last step; the hypotheses of one clip compare by it.
    num_steps:     [H, N] optimiser steps until the clip was frozen.
    """

    body_pose: Array
    global_orient: Array
    transl: Array
    betas: Array
    joints: Array
    energy: Array
    num_steps: Array

    def __repr__(self) -> str:
        return brief(self)


# (x_t [..., J, D], t scalar, condition) -> Prediction. A batch of different times is a vmap.
PredictFn: TypeAlias = Callable[[Array, Array, Condition | None], Prediction]

# (key, x_s, s) -> x_s: changes the state after a solver step that arrived at time s.
ProjectFn: TypeAlias = Callable[[Key, Array, Array], Array]


class Camera(NamedTuple):
    """One pinhole camera or many; leading axes broadcast against those of the points.

    intrinsics:  [..., 4] fx, fy, cx, cy pixels.
    distortion:  [..., 5] k1, k2, p1, p2, k3 of OpenCV, or None for none.
    R_cam_world: [..., 3, 3] and t_cam [..., 3] metres, x_cam = R x_world + t; None: the world axes are the camera's.
    size:        width and height of the image in pixels, or None where not known.
    """

    intrinsics: Numbers
    distortion: Numbers | None = None
    R_cam_world: Numbers | None = None
    t_cam: Numbers | None = None
    size: tuple[int, int] | None = None


@jax.tree_util.register_static
class Judge:
    """Typicality of poses [N, J, 3] by a model, computed when it is asked for, and once for the same poses.

    Two judges of one model are equal, so that results which hold them have one structure.
    """

    def __init__(self, model: Any, typicality: Callable[[Any, Array], Array]) -> None:
        """typicality: function of the model and poses."""
        self.model, self.typicality = model, typicality
        self._last: tuple[Array, Array] | None = None

    def __call__(self, poses: Array) -> Array:
        """Percentiles [N]."""
        if isinstance(poses, jax.core.Tracer):
            return self.typicality(self.model, poses)
        if self._last is None or self._last[0] is not poses:
            self._last = poses, self.typicality(self.model, poses)
        return self._last[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Judge) and self.model is other.model

    def __hash__(self) -> int:
        return id(self.model)


class Hypotheses(NamedTuple):
    """H poses of each of N observations, metres; what every task on joint positions returns.

    samples:    [H, N, J, 3]: root-relative in camera axes from `lift` and `generate`; in the axes and about the origin
                of the given joints from `complete` and `denoise`.
    mean:       [N, J, 3] of the samples.
    covariance: [N, J, 3, 3] square metres, of each joint about the mean; recalibrated where the model has it.
    radius_90:  [N, J] metres about the mean that hold 90 % of the samples; recalibrated where the model has it.
    weights:    [H, N] of the samples, summing to 1 over H.
    root:       [H, N, 3] metres, position of each sample's root joint in the camera frame; None where not known.
    noise:      [N, J] metres, the noise per coordinate that each given joint was taken to have; None without 3D input.
    path:       [T+1, H, N, J, 3] metres, the states from start to result, or None.
    judge:      source of `typicality`; None for models without quantiles (`jaxpose.typicality(load("pose17"), mean)`
                does), and for results of another jit.
    """

    samples: Array
    mean: Array
    covariance: Array
    radius_90: Array
    weights: Array
    root: Array | None = None
    noise: Array | None = None
    path: Array | None = None
    judge: Judge | None = None

    def __repr__(self) -> str:
        return brief(self)

    def of_rows(self, rows: Any) -> "Hypotheses":
        """Some rows of the result: an index of the axis N."""
        given = {k: v for k, v in self._asdict().items() if v is not None and k != "judge"}
        return self._replace(**{k: v[(slice(None),) * ROW_AXIS.get(k, 0) + (rows,)] for k, v in given.items()})

    @property
    def typicality(self) -> Array | None:
        """[N] percentiles in 0..100 of the mean poses among training poses (`tasks/typicality.py`), low where a pose
        is unlike them; None without a judge."""
        return None if self.judge is None else self.judge(self.mean)

    @property
    def out_of_distribution(self) -> Array | None:
        """[N] bool, poses less typical than all but 1 % of training poses, and those without a number; or None."""
        typicality = self.typicality
        return None if typicality is None else ~(typicality >= LEAST_PERCENTILE)


class Start(NamedTuple):
    """Where one hypothesis starts, for N rows.

    x:    [N, J, D] state at the sampler's first time, or at `t`.
    key:  of the solver's steps; [N] keys where the rows have times of their own.
    t:    [N] time at which each row starts, or None: the first time of the sampler.
    cond: condition of the network in this hypothesis; None: the problem's condition.
    kept: what `decode` needs to know of this start (a mixture's component, a shift), or None.
    """

    x: Array
    key: Key
    t: Array | None = None
    cond: Condition | None = None
    kept: Any = None


class Decoded(NamedTuple):
    """Poses of states: samples [H, N, J, 3] metres, root as in `Hypotheses`, path [H, T+1, N, J, 3] or None."""

    samples: Array
    root: Array | None = None
    path: Array | None = None


# key of one hypothesis -> Start
StartFn: TypeAlias = Callable[[Key], Start]
# (states [H, N, J, D], or with the path [H, T+1, N, J, D]; `Start.kept` with a leading H)
DecodeFn: TypeAlias = Callable[[Array, Any], Decoded]


@flax.struct.dataclass
class Problem:
    """A problem put to a model, which `tasks.draw.draw` samples from: N rows of one shape.

    Its functions are `jax.tree_util.Partial` of module-level functions, so that it is a pytree and passes through jit.

    start:   where a hypothesis starts: the prior's noise, a noisy pose at its own time, a component of a mixture.
    decode:  from states to metres or radians, with the root where it is known.
    cond:    condition of the network for the N rows, or None.
    guide:   change of the network's prediction, PredictFn -> PredictFn (`diffusion.guidance`), or None.
    project: change of the state after each solver step, or None.
    noise:   [N, J] metres of the given joints, passed on to the result, or None.
    merge:   of draws of 2 N rows, each followed by its mirror image, twice as many hypotheses of N rows; or None.
    paired:  draws of a flow may be pairs of opposite noise (`Run.paired`); not where each is a result of its own.
    task:    the name under which the model has its recalibration.
    rows_at_once: of the network's calls, for networks that need much memory a row; None: all.
    """

    start: StartFn
    decode: DecodeFn
    cond: Condition | None = None
    guide: Callable[[PredictFn], PredictFn] | None = None
    project: ProjectFn | None = None
    noise: Array | None = None
    merge: Callable[[Decoded], Decoded] | None = None
    paired: bool = flax.struct.field(pytree_node=False, default=True)
    task: str = flax.struct.field(pytree_node=False, default="")
    rows_at_once: int | None = flax.struct.field(pytree_node=False, default=None)
