"""Programs that are compiled once for a shape and found again, in eager use too.

XLA compiles a program for each shape, which takes seconds and on a CPU some 500 memory maps of the process' 65,530. So
the public functions are jitted at module level, with settings that are hashable values, and their sizes (numbers of
observations N and of hypotheses H) are filled up to few, ten for each factor of ten (Renard's series R10, rounded): at
most a third is computed for nothing, and usual numbers are met exactly. Rows and hypotheses are independent of each
other, and their keys do not depend on how many there are. So filling up changes nothing but the last bits, which matrix
products of other sizes round differently.

Filling and cutting are done by numpy on the host, and `device_put` takes the result: in JAX each would be a program for
each shape (so is `jnp.asarray` of a part of an array). Inside another jit all shapes are fixed, and nothing is filled
up.
"""

import contextlib
import contextvars
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, get_args, get_origin

import jax
import numpy as np

from jaxpose.base import ROW_AXIS, Camera, Hypotheses

_SIZES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80)
_DECADE = (100, 125, 160, 200, 250, 315, 400, 500, 640, 800)
# What arguments of public functions are, by their names: whole numbers from 1; True or False; finite numbers from a
# least to a most; numbers of at most a size, among which NaN and infinity stand for what is missing; directions.
_MOST = 100_000_000
_COUNTS = ("num", "num_hypotheses", "num_steps", "first_steps", "steps", "chunk")
_FLAGS = ("return_path", "robust")
_RANGES = {
    **{"confidence": (0, 1), "known": (0, 1), "height": (0.3, 3), "camera_height": (1e-3, 1e6), "fps": (1e-3, 1e6)},
    **{"noise": (0, 1e6), "noise_px": (1e-3, 1e6), "offset": (0, 1e6), "temperature": (0, 1e3), "level": (1e-9, 1e6)},
    **{"frame": (-(2**53), 2**53), "person": (-(2**53), 2**53), "seconds": (-1e12, 1e12), "max_gap": (0, 1e9)},
    **{"first": (-1e3, 1e3), "second": (-1e3, 1e3), "weight": (0, 1e9), "distortion": (-1e3, 1e3)},
    **dict.fromkeys(("start_pose", "global_orient", "betas"), (-1e3, 1e3)),
    **{"learning_rate": (0, 1e3), "tolerance": (0, 1e9), "transl": (-1e9, 1e9), "cutoff": (0, 1e6)},
    **dict.fromkeys(("prior_weight", "prior_start", "shape_weight"), (0, 1e9)),
    **{"intrinsics": (-1e7, 1e7), "R_cam_world": (-2, 2), "t_cam": (-1e9, 1e9), "root": (-1e6, 1e6)},
}
_MISSING = dict.fromkeys(("joints", "pose", "poses", "targets"), 1e6)
_MISSING |= {"keypoints": 1e7, "uv_px": 1e7, "body_pose": 1e3}
_DIRECTIONS = ("up", "gravity")
_SHARES = ("confidence", "known")  # which may be True and False
_CAMERAS = ("camera", "cameras")
_MOST_SHEAR = 0.05  # of rotations in files with few digits


_Function = TypeVar("_Function", bound=Callable[..., Any])


def jitted(*static: str, check: Callable[..., None] | None = None) -> Callable[[_Function], _Function]:
    """Decorator of a public function: one program for a shape, found again in eager use, and inlined in another jit.

    static: names of the arguments that are hashable values; of other arguments, functions become pytrees (`as_pytree`).
    check:  is called with the arguments outside the program, where values can be read; raises what is wrong with them.
    """

    def decorate(function: _Function) -> _Function:
        program, signature = jax.jit(function, static_argnames=static), inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **named: Any) -> Any:
            if check is not None:
                given = signature.bind(*args, **named)
                _check_types(given)
                check_call(given)
                check(*args, **named)
            named = {k: v if k in static else as_pytree(v) for k, v in named.items()}
            return program(*(as_pytree(value) for value in args), **named)

        call.clear_cache = program.clear_cache  # type: ignore[attr-defined]  # as of a jitted function
        return call  # type: ignore[return-value]  # the same signature

    return decorate


_noted: contextvars.ContextVar[Callable[..., None] | None] = contextvars.ContextVar("noted", default=None)


def check_values(check: Callable[..., None], *values: Any) -> None:
    """Call `check`, which raises ValueError or does nothing, on values that are known.

    Values inside a transformation are not checked, unless they are arguments of `interactive`, which checks each call.
    """
    note = _noted.get()
    if not traced(values):
        check(*(np.asarray(value) for value in values))
    elif note is not None:
        note(check, values)


def check_shape(
    name: str,
    x: Any,
    *shapes: tuple[int | str | range, ...],
    note: str = "",
    low: float | None = None,
    high: float = np.inf,
) -> None:
    """ValueError where x is no array of numbers that computing can take, of one of `shapes`, from `low` to `high`.

    In a shape a word stands for any number; note: on the shapes. Numbers have 32 bits or more, in the order of this
    machine's bytes. low: None leaves values unchecked, and NaN is then legal; they are not checked inside of jit.
    """
    check_numbers(name, x, low, high)

    def fits(asked: int | str | range, got: int) -> bool:
        return isinstance(asked, str) or (got in asked if isinstance(asked, range) else got == asked)

    got = np.shape(x)
    if any(len(shape) == len(got) and all(map(fits, shape, got)) for shape in shapes):
        return
    words = [[f"{n[0]}..{n[-1]}" if isinstance(n, range) else str(n) for n in shape] for shape in shapes]
    needed = " or ".join(f"[{', '.join(shape)}]" if shape else "a number" for shape in words)
    raise ValueError(f"{name}: needed {needed}{note}, got {list(got)}")


def check_numbers(
    name: str, x: Any, low: float | None, high: float, *, missing: bool = False, direction: bool = False
) -> None:
    """ValueError where x is no array of numbers, or one is not from `low` to `high`; missing: NaN and inf are legal."""
    try:
        dtype = np.dtype(getattr(x, "dtype", None) or np.asarray(x).dtype)
    except (TypeError, ValueError):  # rows of different lengths; keys
        raise ValueError(f"{name}: needed an array of numbers, got {type(x).__name__}") from None
    if dtype.kind not in "biuf" or dtype.itemsize < 4 * (dtype.kind == "f") or not dtype.isnative:
        order = "" if dtype.isnative else " in another order of bytes"
        raise ValueError(f"{name}: needed float32 or whole numbers, got {dtype.name}{order}")
    if low is None:
        return

    def check(x: np.ndarray) -> None:
        finite = np.isfinite(x)
        bad = ~((low <= x) & (x <= high) & finite) & (finite | (not missing))
        if bad.any():
            raise ValueError(f"{name}: needed finite numbers from {low:g} to {high:g}, got {x[bad].flat[0]:g}")
        if direction and x.shape[-1:] != (3,):
            raise ValueError(f"{name}: needed [..., 3], got {_shown(x)}")
        if direction and not (np.linalg.norm(x, axis=-1) > 1e-6).all():
            raise ValueError(f"{name}: needed a direction, got a vector without a length")

    check_values(check, x)


def check_num(num: int, name: str = "num_hypotheses") -> None:
    """ValueError unless a number of poses or steps is whole, and from 1 to what memory may hold."""
    if not isinstance(num, int | np.integer) or isinstance(num, bool) or not 1 <= num <= _MOST:
        legal = "at least 1" if isinstance(num, int) and num < 1 else f"a whole number of at most {_MOST:,}"
        raise ValueError(f"{name}: needed {legal}, got {_shown(num)}")


def check_arguments(given: Mapping[str, Any], of: str = "") -> None:
    """ValueError naming an argument of a public function whose numbers cannot be what its name means.

    Shapes are the function's own. Values inside of jit are not checked. of: prefix of the names, of a camera's fields.
    """
    for name, value in given.items():
        if value is None or (name == "weight" and callable(value)):  # a function of time
            continue
        if name in _COUNTS:
            check_num(value, name)
        elif isinstance(value, Camera):
            check_arguments(value._asdict(), f"{name}: ")
        elif name in _CAMERAS:
            raise ValueError(f"{name}: needed a jaxpose.Camera, got {_shown(value)}")
        elif name == "key":
            _check_key(value)
        elif name == "seed":
            _check_seed(value)
        elif name in (*_RANGES, *_MISSING) and name not in _SHARES and _is_bool(value):
            raise ValueError(f"{of}{name}: needed numbers, got True and False")
        elif name == "sampler" and not callable(getattr(value, "make", None)):
            raise ValueError(f"sampler: needed one such as jaxpose.stochastic(), got {_shown(value)}")
        elif name in _FLAGS and not isinstance(value, bool | np.bool_):
            raise ValueError(f"{name}: needed True or False, got {_shown(value)}")
        elif name in _RANGES:
            _check_range(of + name, value, *_RANGES[name])
        elif name in _MISSING and not isinstance(value, Hypotheses):
            check_numbers(name, value, -_MISSING[name], _MISSING[name], missing=True)
            if not np.ndim(value) or not all(np.shape(value)[:-1]):
                raise ValueError(f"{name}: needed at least one row, got {_shown(value)}")
        elif name in _DIRECTIONS and not (name == "up" and isinstance(value, str)):  # the name of an axis
            check_numbers(name, value, -1e6, 1e6, direction=True)
        elif isinstance(value, Mapping):  # options
            check_arguments(value)
        elif name == "start" and hasattr(value, "_asdict"):
            check_arguments(value._asdict(), "start: ")


def _check_range(name: str, value: Any, low: float, high: float) -> None:
    check_numbers(name, value, low, high)
    if not np.size(value) and not name.endswith("betas"):  # a body may have no shapes
        raise ValueError(f"{name}: needed a number, got none")
    if name.endswith("R_cam_world") and np.shape(value)[-2:] == (3, 3):
        check_values(functools.partial(_check_rotation, name), value)


def _is_bool(x: Any) -> bool:
    return isinstance(x, bool) or getattr(x, "dtype", None) == np.bool_


def _check_rotation(name: str, R: np.ndarray) -> None:
    off = np.abs(R @ np.swapaxes(R, -1, -2) - np.eye(3)).max(initial=0)
    if off > _MOST_SHEAR:
        raise ValueError(f"{name}: needed rotations, got a matrix whose product with its transpose is off by {off:.2g}")


def _check_key(key: Any) -> None:
    typed = isinstance(key, jax.Array) and jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    raw = isinstance(key, jax.Array | np.ndarray) and key.dtype == np.uint32 and key.ndim == 1
    if not (raw or (typed and key.ndim == 0)):
        raise ValueError(f"key: needed one key, such as jax.random.key(0), got {_shown(key)}")


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, int | np.integer) or isinstance(seed, bool) or not 0 <= seed < 2**32:
        raise ValueError(f"seed: needed a whole number from 0 to 2**32 - 1, got {_shown(seed)}")


def _shown(x: Any) -> str:
    return f"shape {list(x.shape)}" if isinstance(x, jax.Array | np.ndarray) else " ".join(repr(x).split())[:40]


def check_call(call: inspect.BoundArguments) -> None:
    """`check_arguments` of a call, where None is legal for what has it as default or in its type."""
    for name, value in call.arguments.items():
        parameter = call.signature.parameters[name]
        if value is None and parameter.default is not None and type(None) not in get_args(parameter.annotation):
            raise ValueError(f"{name}: needed a value, got None")
    check_arguments(call.arguments)


def _check_types(call: inspect.BoundArguments) -> None:
    """ValueError for a value that is none of the classes of this package, texts or functions of its annotation."""
    for name, value in call.arguments.items():
        parameter = call.signature.parameters[name]
        kinds = [kind for kind in get_args(parameter.annotation) or (parameter.annotation,) if kind is not type(None)]
        if get_origin(parameter.annotation) is Callable or any(get_origin(kind) is Callable for kind in kinds):
            several = parameter.kind is parameter.VAR_POSITIONAL
            legal, needed = all(x is None or callable(x) for x in (value if several else (value,))), "a function"
        elif all(kind is str or getattr(kind, "__module__", "").startswith("jaxpose") for kind in kinds):
            legal, needed = value is None or isinstance(value, tuple(kinds)), kinds[0].__name__
        else:
            continue
        if not legal:
            raise ValueError(f"{name}: needed {needed}, got {_shown(value)}")


def checked(function: _Function) -> _Function:
    """Decorator of a public function whose arguments are checked by `check_arguments`."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        check_call(signature.bind(*args, **named))
        return function(*args, **named)

    return call  # type: ignore[return-value]  # the same signature


@contextlib.contextmanager
def noted_checks(arguments: Sequence[Any]) -> Iterator[list[tuple[Callable[..., None], list[int]]]]:
    """Context of a trace; yields the checks of its arguments: (check, places of the checked arguments)."""
    checks: list[tuple[Callable[..., None], list[int]]] = []
    places = {id(argument): place for place, argument in enumerate(arguments)}

    def note(check: Callable[..., None], values: tuple[Any, ...]) -> None:
        if all(id(value) in places for value in values):
            checks.append((check, [places[id(value)] for value in values]))

    token = _noted.set(note)
    try:
        yield checks
    finally:
        _noted.reset(token)


def as_pytree(value: Any) -> Any:
    """A function that is no pytree as a static one, found again where it is equal; any other value as it is."""
    plain = callable(value) and jax.tree_util.all_leaves([value])
    return jax.tree_util.Partial(value) if plain else value


def size_for(num: int) -> int:
    """The smallest size, of those that programs are compiled for, of at least `num`; ValueError below 1."""
    if num < 1:
        raise ValueError(f"needed at least 1 observation and 1 hypothesis, got {num}")
    if num <= _SIZES[-1]:
        return next(size for size in _SIZES if size >= num)
    factor = 10 ** max(0, len(str(num - 1)) - 3)
    return next((factor * size for size in _DECADE if factor * size >= num), 10 * factor * _DECADE[0])


def traced(*trees: Any) -> bool:
    """Whether any array of the trees is inside a transformation, so that shapes must stay as they are."""
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def filled(tree: Any, num: int, size: int) -> Any:
    """Arrays [num, ...] as [size, ...], the last row repeated."""
    if num == size:
        return tree
    rows = np.minimum(np.arange(size), num - 1)
    return jax.tree.map(lambda x: jax.device_put(np.asarray(x)[rows]), tree)


def cut(result: Hypotheses, num_hypotheses: int, num_rows: int) -> Hypotheses:
    """The first hypotheses and rows of a result."""
    if result.samples.shape[:2] == (num_hypotheses, num_rows):
        return result

    def first(name: str, x: Any) -> Any:
        axis = ROW_AXIS.get(name, 0)  # hypotheses are the axis before
        before = (*[slice(None)] * (axis - 1), slice(num_hypotheses)) if axis else ()
        return part(x, *before, slice(num_rows))

    fields = {k: x for k, x in result._asdict().items() if isinstance(x, jax.Array | np.ndarray)}
    return result._replace(**{k: first(k, x) for k, x in fields.items()})


def part(x: Any, *axes: slice) -> Any:
    """x[axes], of slices that begin at 0; on the host, but for what another program computes of constants."""
    if all(axis.stop in (None, size) for axis, size in zip(axes, x.shape, strict=False)):
        return x
    return x[axes] if traced(x) else jax.device_put(np.asarray(x)[axes])


def merged(x: Any, num: int) -> Any:
    """[H, N, ...] as [num, ...], the first of all H N."""
    if traced(x):
        return x.reshape(-1, *x.shape[2:])[:num]
    return jax.device_put(np.asarray(x).reshape(-1, *x.shape[2:])[:num])
