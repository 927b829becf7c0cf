"""The nouns of jaxpose: what a condition, a prediction and a network bound to a process are.

Shape letters used in every docstring of the library:

    H hypotheses   B batch   F frames   J joints   D numbers per joint   V vertices   T solver steps

`...` stands for any number of leading axes. Units are metres, radians, seconds and pixels unless a name says
otherwise (`mpjpe_mm`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import jax

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array


class Condition(NamedTuple):
    """What is known of a pose.

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
    """Three views of one opinion about x_t = alpha x0 + sigma eps, each shaped like x_t; score = -eps / sigma."""

    x0: Array
    eps: Array
    score: Array


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


# (x_t [..., J, D], t scalar, condition) -> Prediction. A batch of different times is a vmap.
PredictFn: TypeAlias = Callable[[Array, Array, Condition | None], Prediction]

# (key, x_s, s) -> x_s: changes the state after a solver step that arrived at time s.
ProjectFn: TypeAlias = Callable[[Key, Array, Array], Array]
