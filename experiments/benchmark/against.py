"""Cases of `experiments.benchmark --against`: the originals in PyTorch and this library, in turn in one run.

A round times both sides, one after the other. A row's ratio is the median over the rounds of theirs / ours, with the
interval that a bootstrap over the rounds gives (the rounds drawn anew, 95 % of the medians). `cpu_ratio` is that of the
processor time of all threads, which other work on the machine disturbs less.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import jax
import numpy as np

from experiments.benchmark import timing
from experiments.benchmark.timing import Row, Run, Setup, num_cores

if TYPE_CHECKING:
    from experiments.against.folder import Original

_DRAWS = 10_000
# Largest difference of the two sides' results under the same noise, over the largest number in them: rounding gives
# 1e-5 at most; a GPU's products are in TF32.
TOLERANCE = {"cpu": 1e-3, "gpu": 1e-1}


def equal_calls(setup: Setup) -> Iterator[Row]:
    """The same weights and network calls on both sides, whose results are the same under the same noise.

    Of the recipes of 1000 calls --against_calls are timed; `ours_ms` and `original_ms` are of what was timed.
    """
    networks = originals(setup)
    from experiments.against import pairs

    legal = TOLERANCE.get(jax.default_backend(), TOLERANCE["gpu"])
    for pair in pairs.pairs(networks, setup.sizes.against_poses, setup.sizes.against_calls):
        difference = pair.difference()
        if not difference <= legal:
            raise ValueError(
                f"{pair.setting}: results are {difference:.2g} apart, must be within {legal:g}: not the same work"
            )
        figures = {"calls": pair.calls, "calls_timed": pair.timed, **in_turn(setup, pair.ours(), pair.theirs)}
        yield Row("equal_calls", pair.setting, figures | {"difference": difference}, higher=("ratio",))


def equal_quality(setup: Setup) -> Iterator[Row]:
    """Our released models by their own samplers, beside the originals' networks by the originals' recipes.

    `quality` and `recipe_quality` are errors on the benchmark's validation data, smaller is better: of our draws, and
    of the original's recipe on our weights, since no original is trained on these data. Not of MixSTE.
    """
    networks = originals(setup)
    from experiments.against import pairs, quality

    made: dict[str, list[quality.Ours]] = {}
    for pair in pairs.pairs(networks, setup.sizes.against_poses, setup.sizes.against_calls):
        for recipe in (r for r in quality.BESIDE if pair.setting.startswith(r)):
            if recipe not in made:
                made[recipe] = list(quality.BESIDE[recipe](setup))
            for ours in made[recipe]:
                figures = {"original_calls": pair.calls, "calls": ours.calls, **ours.figures}
                figures |= in_turn(setup, ours.run(pair.poses), pair.theirs, pair.calls / pair.timed)
                yield Row("equal_quality", f"{pair.setting}; {ours.name}", figures, higher=("ratio",))


def originals(setup: Setup) -> dict[str, "Original"]:
    """The networks of --against; ValueError where it is not given or torch is absent."""
    if setup.sizes.against is None:
        raise ValueError("cases equal_calls and equal_quality need --against=FOLDER or --against=random")
    try:
        from experiments.against import folder
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ValueError(
            "--against: torch is needed for this flag alone, and not installed; pip install torch"
        ) from error
    networks = folder.originals(setup.sizes.against)
    for kind, original in networks.items():
        print(f"{kind}: {original.source}", flush=True)
    return networks


def in_turn(setup: Setup, ours: Run, theirs: Run, times: float = 1) -> dict[str, float]:
    """Milliseconds of both sides, medians over the rounds, and the ratios; times: that theirs is taken."""
    wall, cpu = timing.in_turn(setup.sizes.repeats, ours, theirs)
    wall[1] *= times
    cpu[1] *= times
    ratio, low, high = ratio_of(wall[1], wall[0])
    return {
        "ours_ms": 1e3 * float(np.median(wall[0])),
        "original_ms": 1e3 * float(np.median(wall[1])),
        "ratio": ratio,
        "ratio_low": low,
        "ratio_high": high,
        "cpu_ratio": ratio_of(cpu[1], cpu[0])[0],
        "threads": num_cores(),
    }


def ratio_of(theirs: np.ndarray, ours: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Median over rounds [R] of theirs / ours, and the ends of its 95 % bootstrap interval over the rounds."""
    ratios = np.asarray(theirs) / np.asarray(ours)
    drawn = np.random.default_rng(seed).choice(ratios, (_DRAWS, len(ratios)))
    low, high = np.quantile(np.median(drawn, 1), (0.025, 0.975))
    return float(np.median(ratios)), float(low), float(high)
