"""Every public function is compiled once for a shape and found again, in eager use too; filling up changes no number.

For each function with a tiny network: a second call of one shape compiles nothing, nor do other numbers of rows and
hypotheses within the same sizes; results equal those of exact shapes inside another jit and vmap; programs and memory
maps do not grow.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
import rotation_oracle
from compilations import counted
from diffpose_models import tiny
from shared import refuses

from jaxpose.base import Camera, Hypotheses
from jaxpose.compiled import check_arguments, checked, cut, filled, size_for
from jaxpose.model import Model
from jaxpose.runtime.program_bound import num_maps
from jaxpose.tasks import complete as completion
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.draw import draw
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.methods import Method, dposer, pseudo_inverse
from jaxpose.tasks.posterior import Observed, posterior
from jaxpose.tasks.priors import prior_of
from jaxpose.tasks.samplers import stochastic
from jaxpose.tasks.score import log_density
from jaxpose.tasks.stream import start_stream, step_stream

RNG = np.random.default_rng(0)
JOINTS = pose_oracle.draw(RNG, 14).astype(np.float32)
KEYPOINTS = (500 + 1000 * JOINTS[..., :2] / JOINTS[..., 2:]).astype(np.float32)
TRUST = RNG.uniform(0.2, 1, (14, 17)).astype(np.float32)
CAMERA = Camera(np.array([1000.0, 1000, 500, 500], np.float32))
BODIES = rotation_oracle.draw(0, 14).astype(np.float32)
KEY, FEW = jax.random.key(3), stochastic(2)
MASK = (np.arange(17) < 4)[:, None] * np.ones((17, 3), np.float32)


small = functools.cache(pose_oracle.tiny)


class Case(NamedTuple):
    """call(key, arrays, num) -> arrays with leading axes `axes` ("h" num, "n" rows), where they are filled up."""

    call: Callable[..., Any]
    arrays: tuple[np.ndarray, ...]
    axes: str = ""


def lifted(model: Model) -> Case:
    def call(key, arrays, num):
        found = lift(key, model, *arrays, camera=CAMERA, num_hypotheses=num, sampler=FEW)
        return found.samples, found.root

    return Case(call, (KEYPOINTS, TRUST), "hn")


def drawn() -> Case:
    model = small()
    problem = jax.jit(completion.problem)(model, JOINTS, np.full((14, 17), 0.1, np.float32))
    return Case(lambda key, arrays, num: draw(key, model, problem, num, FEW).samples, (), "h")


def itself(x):
    return x


def of_posterior(method: Method) -> Case:
    prior = prior_of(small())

    def call(key, arrays, num):
        observed = Observed(jnp.where(MASK > 0, arrays[0][0], jnp.nan), itself, 0.05)
        return posterior(key, prior, observed, method=method, num_hypotheses=num).samples

    return Case(call, (JOINTS,))


def streamed(model: Model) -> Case:
    stream = start_stream(KEY, model, num_hypotheses=6)

    def call(key, arrays, num):
        return step_stream(model, stream, arrays[0][0], arrays[1][0], camera=CAMERA, height=1.7)[0].samples

    return Case(call, (KEYPOINTS, TRUST))


def completed(key, arrays, num):
    return complete(key, small(), *arrays, noise=0.1, num_hypotheses=num, sampler=FEW).samples


def denoised(key, arrays, num, noise=None):
    return denoise(key, small(), *arrays, noise=noise, num_hypotheses=num, sampler=FEW).samples


def density(model: Model, poses: np.ndarray) -> Case:
    return Case(lambda key, arrays, num: log_density(model, *arrays, num_steps=2), (poses,), "n")


CASES: dict[str, Callable[[], Case]] = {
    "lift": lambda: lifted(small()),
    "lift, DiffPose of frames": lambda: lifted(tiny()),
    "lift, DiffPose of video": lambda: lifted(tiny(3)),
    "complete": lambda: Case(completed, (np.where(MASK > 0, np.nan, JOINTS).astype(np.float32),), "hn"),
    "denoise, noise given": lambda: Case(lambda *given: denoised(*given, noise=0.05), (JOINTS,), "hn"),
    "denoise, noise estimated": lambda: Case(denoised, (JOINTS,), "hn"),
    "generate": lambda: Case(lambda key, _, num: generate(key, small(), num, sampler=FEW), (), "h"),
    "draw": drawn,
    "pseudo_inverse": lambda: of_posterior(pseudo_inverse(2)),
    "pseudo_inverse of particles": lambda: of_posterior(pseudo_inverse(2, smc=True)),
    "dposer": lambda: of_posterior(dposer(2)),
    "log_density of joints": lambda: density(small(), JOINTS),
    "log_density of rotations": lambda: density(rotation_oracle.correlated(), BODIES),
    "step_stream": lambda: streamed(tiny()),
    "step_stream of video": lambda: streamed(tiny(3)),
}


QUICK = ("lift", "complete", "generate", "draw", "pseudo_inverse")  # the rest compiles for 2 minutes


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]
)
def test_it_is_compiled_once_and_equals_exact_shapes_under_jit_and_vmap(name):
    call, arrays, axes = CASES[name]()
    rows, num = (13 if "n" in axes else 14), (13 if "h" in axes else 14)  # of 16, as 14 are
    part = tuple(x[:rows] for x in arrays)
    first = on_host(call(KEY, part, num))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(first))

    maps = num_maps() or 0
    with counted() as compiled:
        again = [on_host(call(KEY, part, num)) for _ in range(50)]
        others = on_host(call(KEY, arrays, 14))
    assert compiled.count == 0
    assert (num_maps() or 0) - maps < 20, "a program takes hundreds"
    jax.tree.map(np.testing.assert_array_equal, again[-1], first)
    assert all(x.shape[: len(axes)] == (14,) * len(axes) for x in jax.tree.leaves(others))
    if "video" not in name:  # the windows of a longer clip are others
        begins_alike(others, first, name)

    # fewer rows and hypotheses, as many as they are: in a program of its own nothing is filled up
    fewer = 5 if "h" in axes else num
    inside = jax.jit(jax.vmap(lambda key, arrays: call(key, arrays, fewer), (0, None)))
    keys = jnp.stack([jax.random.key(9), KEY])
    fewer_rows = tuple(x[:4] for x in arrays) if "n" in axes and "video" not in name else part
    begins_alike(first, jax.tree.map(lambda x: x[1], on_host(inside(keys, fewer_rows))), name)


def test_sizes_are_few_and_hold_what_is_asked():
    refuses("needed at least 1 observation and 1 hypothesis, got 0", size_for, 0)
    sizes = sorted({size_for(num) for num in range(1, 20_001)})
    assert sizes[:17] == [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 25, 32, 40, 50, 64, 80]
    decade = np.array([100, 125, 160, 200, 250, 315, 400, 500, 640, 800])
    assert sizes[17:37] == [*decade, *10 * decade]
    assert sizes[37:] == [10_000, 12_500, 16_000, 20_000]
    for num in range(1, 20_001):
        size = size_for(num)
        assert num <= size
        assert num < 7 or size < 4 * num / 3
    assert [size_for(num) for num in (10, 11, 50, 64, 65, 200, 201, 999, 1001, 123_456)] == [
        *(10, 12, 50, 64, 80, 200, 250, 1000, 1250, 125_000)
    ]


def test_filling_repeats_the_last_row_and_cutting_takes_it_off():
    tree = {"a": np.arange(6.0).reshape(3, 2), "b": (np.array([1, 2, 3]), None)}
    full = filled(tree, 3, 5)
    np.testing.assert_array_equal(full["a"], [[0, 1], [2, 3], [4, 5], [4, 5], [4, 5]])
    np.testing.assert_array_equal(full["b"][0], [1, 2, 3, 3, 3])
    assert full["b"][1] is None
    assert filled(tree, 3, 3) is tree

    shapes = {"samples": "hn", "mean": "n", "covariance": "n", "radius_90": "n", "weights": "hn", "root": "hn"}
    shapes |= {"noise": "n", "path": "thn"}
    size = {"h": 4, "n": 5, "t": 2}
    count = iter(range(1000))
    whole = Hypotheses(
        **{
            name: np.reshape([next(count) for _ in range(np.prod([size[a] for a in axes]))], [size[a] for a in axes])
            for name, axes in shapes.items()
        }
    )
    part = cut(whole, 3, 2)
    for name, axes in shapes.items():
        keep = tuple({"h": slice(3), "n": slice(2), "t": slice(None)}[a] for a in axes)
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[keep], err_msg=name)
    assert cut(whole, 4, 5) is whole
    assert cut(whole._replace(root=None), 3, 2).root is None


def on_host(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def begins_alike(more: Any, fewer: Any, name: str = "") -> None:
    """The first rows and hypotheses of `more` are `fewer` to 5 digits of the largest number.

    Where the noise is estimated, to 2: expectation maximisation goes on from numbers that differ in their last digits.
    """
    digits = 1e-2 if "estimated" in name else 1e-5
    for a, b in zip(jax.tree.leaves(more), jax.tree.leaves(fewer), strict=True):
        np.testing.assert_allclose(
            a[tuple(slice(n) for n in b.shape)], b, rtol=0, atol=digits * max(1.0, float(np.abs(b).max()))
        )


def test_arguments_are_checked_by_their_names():
    good = {"confidence": np.ones(3), "up": np.array([0.0, -1, 0]), "keypoints": np.full((3, 2), np.nan), "num": 3}
    check_arguments({**good, "up": "z", "fps": None, "other": object(), "options": {"chunk": 2}})
    wrong = {
        "confidence": (np.nan, np.inf, -0.1, 1.1, "sure"),
        "height": (0.0, -1, np.nan, 1e9),
        "fps": (0, -1.0, np.inf),
        "up": (np.zeros(3), np.full(3, np.nan), np.array([0, -1, 0], ">f4")),
        "joints": (np.full((3, 3), 1e20, np.float32), np.zeros((3, 3), np.float16)),
        "num_hypotheses": (0, -5, 10**12, 1.5, True, "3"),
        "options": ({"chunk": -5}, {"noise": -1.0}),
        "chunk": (Camera(np.ones(4)), np.zeros((30, 30)), "2"),
        "return_path": ([], 1, "yes", np.zeros(2)),
        "cameras": tuple(Camera(np.array([x, 1000.0, 500, 500])) for x in (np.nan, 1e30)),
    }
    for name, values in wrong.items():
        for value in values:
            refuses(f"^({name}|chunk|noise)", check_arguments, {name: value})


def test_a_checked_function_takes_traced_arguments_as_they_are():
    double = checked(lambda height: 2 * height)
    refuses("height: needed", double, -1.0)
    assert jax.jit(double)(-1.0) == -2
