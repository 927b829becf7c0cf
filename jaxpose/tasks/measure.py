"""Values of what people measure (`geometry/measures.py`, or expressions of joints), for every hypothesis of a result.

    angle(a, b, c)  degrees at b; distance(a, b)  metres; elevation(a, b)  degrees of the way from a to b from straight
    down; height(a)  metres along the vertical, about the origin; middle(a, b, ...)  a point; abs(x)
    rate(x)   a second, the slope of a straight line through the values within 0.1 s; speed(a)  m/s of a point
    range(x)  largest less smallest value of a clip; count(x)  its repetitions: the times that x rises from the lower to
              the upper quarter of its range; pace(x)  repetitions a minute; peak(x)  mean of their largest values

with joints and the names of quantities as operands, numbers, + - * /. Places are about the middle of the hips, so that
no error of the whole person's place is in them. Quantiles over the hypotheses are intervals.

What is over time needs hypotheses that are motions. Where they were drawn for each frame by itself, motions of the same
mean and covariance in each frame take their place (`io/tracks.py`).
"""

import ast
import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxpose.base import Array, Hypotheses
from jaxpose.compiled import check_shape, checked, filled, size_for
from jaxpose.geometry import measures
from jaxpose.geometry.axes import vertical
from jaxpose.geometry.skeleton import H36M_17

LEVELS = (0.5, 0.9)
Quantity = str | Callable[[Array], Array]
_WINDOW = 0.1  # seconds to either side, of slopes
_LONGEST = 500  # characters of an expression
_TURN = 360.0
_AT_ONCE = 4096  # poses
_POINT = "point"
# What a clip of a person is summarised by: ranges of motion, length and cadence of steps.
OF_CLIPS = (
    *(f"range({side}_{joint}_flexion)" for joint in ("knee", "hip", "elbow", "shoulder") for side in ("left", "right")),
    *("peak(step_length)", "peak(-step_length)", "2 * pace(step_length)"),
)
USUAL = (
    *(f"{side}_{name}" for name in ("knee_flexion", "hip_flexion", "hip_abduction") for side in ("left", "right")),
    *(
        f"{side}_{name}"
        for name in ("elbow_flexion", "shoulder_flexion", "shoulder_abduction", "shoulder_elevation")
        for side in ("left", "right")
    ),
    *("trunk_elevation", "trunk_bend", "trunk_twist", "neck_bend", "step_length", "wrist_distance", "stature"),
)


class Measured(NamedTuple):
    """Values [H, N] of each hypothesis and frame, or [H] of each hypothesis, in a unit: "deg", "m/s", "" of numbers."""

    values: np.ndarray
    unit: str

    def quantiles(self, *shares: float, factor: float = 1.0) -> np.ndarray:
        """Quantiles [len(shares), N] over the hypotheses, `factor` times as far from their median.

        Angles of frames are taken about their mean direction, so that 179 and -179 degrees are neighbours.
        """
        values = near(self.values, self.direction) if self._turns else self.values
        middle, *ends = np.quantile(values, (0.5, *shares), axis=0)
        return middle + factor * (np.stack(ends) - middle)

    @property
    def _turns(self) -> bool:
        return self.unit == "deg" and self.values.ndim > 1

    @property
    def direction(self) -> np.ndarray:
        """Mean direction [N] of angles, degrees."""
        radians = np.radians(self.values)
        return np.degrees(np.arctan2(np.sin(radians).mean(0), np.cos(radians).mean(0)))

    def beside(self, truth: "Measured") -> tuple[np.ndarray, np.ndarray]:
        """Values, and the truth's one value [N] beside them; both within half a turn of angles' mean direction."""
        if not self._turns:
            return self.values, truth.values[0]
        return near(self.values, self.direction), near(truth.values[0], self.direction)

    def interval(self, level: float = 0.9, factor: float = 1.0) -> np.ndarray:
        """The two ends [2, N] of the central interval of a level in 0..1."""
        return self.quantiles((1 - level) / 2, (1 + level) / 2, factor=factor)


@checked
def measure(
    poses: Hypotheses | Array | np.ndarray,
    *quantities: Quantity,
    up: str | np.ndarray = "-y",
    seconds: np.ndarray | None = None,
    neutral: np.ndarray | None = None,
) -> dict[str, Measured]:
    """Measure poses of one person: values of each quantity, by its name, for every hypothesis.

    poses:      result of a task, or joints [H, N, 17, 3] or [N, 17, 3] of `H36M_17`, metres.
    quantities: names (`geometry/measures.py`), expressions (module docstring), or functions of joints [..., 17, 3];
                none: `USUAL`.
    up:         "-y" (the axes of a level camera), "y" or "z", or the unit vector [3] that points up.
    seconds:    [N] rising times of the frames, for what is over time.
    neutral:    [N] bool, frames in which the person stands still: angles are then differences from their mean there,
                whose error adds to that of each frame as an independent one.
    ValueError names the quantity that does not exist or fit, or the argument that is missing.
    """
    joints = np.asarray(poses.samples if isinstance(poses, Hypotheses) else poses)
    joints = joints[None] if joints.ndim == 3 else joints
    check_shape("poses", joints, ("H", "N", 17, 3), note=f" of {H36M_17.name}")
    _check(quantities, neutral, joints.shape[1])
    up = vertical(up) if isinstance(up, str) else np.asarray(up)
    check_shape("up", up, (3,))
    trees = {text: _parsed(text) for text in quantities or USUAL if isinstance(text, str)}
    used = {node.id for tree in trees.values() for node in ast.walk(tree) if isinstance(node, ast.Name)}
    names = tuple(name for name in measures.names() if name in used)
    joints = joints - joints[:, :, :1]
    clip = _Clip(joints, up, seconds, names)
    values: dict[str, Measured] = {}
    for quantity in quantities or USUAL:
        if callable(quantity):
            values[quantity.__name__] = Measured(np.asarray(quantity(jnp.asarray(joints))), "")
        else:
            values[quantity] = _named(quantity, trees[quantity], clip, neutral)
    return values


def _check(quantities: Sequence[Quantity], neutral: np.ndarray | None, frames: int) -> None:
    if strange := [q for q in quantities if not isinstance(q, str) and not callable(q)]:
        raise ValueError(f"quantities: needed names, expressions or functions, got {strange[0]!r}")
    if neutral is not None:
        check_shape("neutral", neutral, (frames,))
        if np.asarray(neutral).dtype != bool:
            raise ValueError(f"neutral: needed [{frames}] of True and False, got {np.asarray(neutral).dtype}")


def near(angle: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """The same angles in degrees, within half a turn of a centre."""
    return centre + (angle - centre + _TURN / 2) % _TURN - _TURN / 2


class _Clip:
    """Joints [H, N, 17, 3] of a person, the vertical, the times of frames, and the quantities that will be needed."""

    def __init__(
        self, joints: np.ndarray, up: np.ndarray, seconds: np.ndarray | None, names: tuple[str, ...] = ()
    ) -> None:
        self.joints, self.up, self._seconds, self._names = joints, up, seconds, names
        if seconds is not None and (np.shape(seconds) != joints.shape[1:2] or not (np.diff(seconds) > 0).all()):
            raise ValueError(f"seconds: needed {joints.shape[1]} rising times, got {np.shape(seconds)}")

    @functools.cached_property
    def moving(self) -> "_Clip":
        """The same clip with hypotheses that are motions."""
        from jaxpose.io.tracks import takes_of  # here, so that `import jaxpose` reads no formats

        joints = takes_of(self.joints.astype(np.float64), len(self.joints), np.random.default_rng(0))
        return _Clip(joints, self.up, self._seconds, self._names)

    @functools.cached_property
    def quantities(self) -> dict[str, np.ndarray]:
        """Values [H, N] of the quantities that are needed, by one program for any number of poses."""
        poses, lead = self.joints.reshape(-1, *self.joints.shape[2:]).astype(np.float32), self.joints.shape[:2]
        size, up = min(size_for(len(poses)), _AT_ONCE), np.asarray(self.up, np.float32)
        parts: list[list[np.ndarray]] = [[] for _ in self._names]
        for start in range(0, len(poses), size):
            block = poses[start : start + size]
            for part, values in zip(parts, _program(filled(block, len(block), size), up, self._names), strict=True):
                part.append(np.asarray(values)[: len(block)])
        return {name: np.concatenate(part).reshape(lead) for name, part in zip(self._names, parts, strict=True)}

    @property
    def coherent(self) -> bool:
        """Whether the hypotheses are motions as they were drawn."""
        from jaxpose.io.tracks import are_motions

        return are_motions(self.joints)

    def seconds(self, what: str) -> np.ndarray:
        """The times of the frames; ValueError without."""
        if self._seconds is None:
            raise ValueError(f"{what} is over time: needed the times of the frames (seconds; frames per second)")
        return np.asarray(self._seconds, np.float64)


def _named(text: str, tree: ast.expr, clip: _Clip, neutral: np.ndarray | None) -> Measured:
    """Values of a name or an expression, which `tree` is parsed of."""
    over_time = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)} & _OVER_TIME
    try:
        value = _value(tree, clip.moving if over_time else clip)
        if value.unit == _POINT:
            raise ValueError("a point; needed a number, such as distance(left_wrist, right_wrist)")
        if not np.ndim(value.values):
            raise ValueError("no joint or quantity is in it")
        if neutral is None or value.unit != "deg" or value.values.ndim < 2:
            return value
        still = _value(tree, clip.moving).values[:, neutral]
    except (ValueError, OverflowError, RecursionError) as error:
        raise ValueError(f"{text[:60]}: {error}") from None
    if not still.size:
        raise ValueError("neutral: no frame is in it; needed frames in which the person stands still")
    offset = near(still, still[:, :1]).mean(1, keepdims=True)
    # Hypothesis h of a frame has nothing to do with motion h, unless it is one.
    offset = offset if clip.coherent else np.roll(offset, len(offset) // 2, 0)
    return Measured(near(value.values - offset, np.zeros(1)), "deg")


def _parsed(text: str) -> ast.expr:
    try:
        if len(text) > _LONGEST:
            raise ValueError
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"{text[:60]!r}: no expression, such as angle(right_hip, right_knee, right_ankle)") from None


def _value(node: ast.expr, clip: _Clip) -> Measured:
    """Values of a part of an expression; nothing but what is listed here is run."""
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return Measured(np.float64(node.value), "")  # type: ignore[arg-type]  # no axes: it broadcasts
    if isinstance(node, ast.Name):
        return _operand(node.id, clip)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand, clip)
        return inner._replace(values=-inner.values)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _combined(node.op, _value(node.left, clip), _value(node.right, clip))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        if node.func.id not in _FUNCTIONS:
            raise ValueError(f"no function {node.func.id!r}; must be one of {', '.join(_FUNCTIONS)}")
        kinds, function = _FUNCTIONS[node.func.id]
        given = [_value(argument, clip) for argument in node.args]
        needed = kinds if len(kinds) != 1 or kinds != "*" else "p" * max(1, len(given))
        if [g.unit == _POINT for g in given] != [kind == "p" for kind in needed]:
            words = ", ".join("a point" if kind == "p" else "a number" for kind in needed)
            raise ValueError(f"{node.func.id}: needed {words}")
        return function(clip, *given)
    raise ValueError("not an expression of joints, quantities, numbers, + - * / and functions")


def _operand(name: str, clip: _Clip) -> Measured:
    if name in H36M_17.joints:
        return Measured(clip.joints[:, :, H36M_17.joints.index(name)], _POINT)
    if name not in measures.names():
        known = (*H36M_17.joints, *measures.names())
        raise ValueError(f"no joint or quantity {name!r}; must be one of {', '.join(known)}")
    return Measured(clip.quantities[name], measures.unit_of(name))


@functools.partial(jax.jit, static_argnames="names")
def _program(joints: Array | np.ndarray, up: np.ndarray, names: tuple[str, ...]) -> list[Array]:
    values = measures.measured(jnp.asarray(joints), up)
    return [values[name] for name in names]


def _combined(op: ast.operator, a: Measured, b: Measured) -> Measured:
    if _POINT in (a.unit, b.unit):
        raise ValueError("points have no arithmetic; distance(a, b) and middle(a, b) take them")
    scaled = isinstance(op, ast.Mult | ast.Div) and not b.unit
    kept = scaled or (isinstance(op, ast.Add | ast.Sub) and a.unit == b.unit)
    unit = a.unit if kept else b.unit if isinstance(op, ast.Mult) and not a.unit else ""
    with np.errstate(divide="ignore", invalid="ignore"):
        return Measured(_OPERATORS[type(op)](a.values, b.values), unit)


_OPERATORS: dict[type, Any] = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}
_OPERATORS[ast.Div] = operator.truediv


def _whole(x: Measured) -> np.ndarray:
    """Values without jumps by a turn from frame to frame."""
    return np.unwrap(x.values, period=_TURN, axis=1) if x.unit == "deg" else x.values


def _pace(clip: _Clip, x: Measured) -> Measured:
    seconds = clip.seconds("pace")
    every = [
        60 * (len(r) - 1) / (seconds[r[-1]] - seconds[r[0]]) if len(r) > 1 else np.nan for r in repetitions(_whole(x))
    ]
    return Measured(np.array(every), "1/min")


def _peak(clip: _Clip, x: Measured) -> Measured:
    whole = _whole(x)
    peaks = [[part.max() for part in np.split(row, r)[1:]] for row, r in zip(whole, repetitions(whole), strict=True)]
    return Measured(np.array([np.mean(row) if row else np.nan for row in peaks]), x.unit)


def repetitions(values: np.ndarray) -> list[np.ndarray]:
    """Frames at which each row of values [H, N] has risen from the lower to the upper quarter of its range."""
    low, high = values.min(1, keepdims=True), values.max(1, keepdims=True)
    place = np.where(values > high - (high - low) / 4, 1, np.where(values < low + (high - low) / 4, -1, 0))
    reached = [np.flatnonzero(row) for row in place * (high > low)]
    return [at[1:][np.diff(row[at]) > 0] for row, at in zip(place, reached, strict=True)]


def _slope(values: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Slope a second [H, N, ...] of the line of least squares through the values [H, N, ...] within `_WINDOW`.

    Where a frame has no other within it, NaN.
    """
    first, last = (np.searchsorted(seconds, seconds + side * (_WINDOW + 1e-6)) for side in (-1, 1))
    index = np.minimum(first[:, None] + np.arange((last - first).max()), len(seconds) - 1)
    counted = first[:, None] + np.arange(index.shape[1]) < last[:, None]
    time = np.where(counted, seconds[index], 0)
    time = np.where(counted, time - time.sum(1, keepdims=True) / counted.sum(1, keepdims=True), 0)
    with np.errstate(invalid="ignore"):
        weight = time / np.square(time).sum(1, keepdims=True)
    return np.einsum("nw,hnw...->hn...", weight, values[:, index].astype(np.float64))


# name -> kinds of its arguments (p a point, x a number, * points), and the function of the clip and these
_FUNCTIONS: dict[str, tuple[str, Callable[..., Measured]]] = {
    "angle": ("ppp", lambda _, *p: Measured(np.asarray(measures.angle_at(*(x.values for x in p))), "deg")),
    "distance": ("pp", lambda _, *p: Measured(np.asarray(measures.distance(*(x.values for x in p))), "m")),
    "elevation": ("pp", lambda c, a, b: Measured(np.asarray(measures.elevation(a.values, b.values, c.up)), "deg")),
    "height": ("p", lambda c, a: Measured(a.values @ c.up, "m")),
    "middle": ("*", lambda _, *p: Measured(np.mean([x.values for x in p], 0), _POINT)),
    "abs": ("x", lambda _, x: x._replace(values=abs(x.values))),
    "rate": ("x", lambda c, x: Measured(_slope(_whole(x), c.seconds("rate")), f"{x.unit or '1'}/s")),
    "speed": ("p", lambda c, p: Measured(np.linalg.norm(_slope(p.values, c.seconds("speed")), axis=-1), "m/s")),
    "range": ("x", lambda _, x: Measured(np.ptp(_whole(x), axis=1), x.unit)),
    "count": ("x", lambda _, x: Measured(np.array([len(rises) for rises in repetitions(_whole(x))]), "")),
    **{"pace": ("x", _pace), "peak": ("x", _peak)},
}
_OVER_TIME = {"rate", "speed", "range", "count", "pace", "peak"}
