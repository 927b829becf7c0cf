"""Scale on paper: the formulas by hand, and XLA's count beside that of the network's products."""

import jax
import numpy as np
import pytest

from experiments import scale
from experiments.models.pose17 import config as pose17
from experiments.scale import Costs, Line, Machine, break_even, largest_batch, line, lowered, step_on, tables

MACHINE = Machine("two", 2, 1, peak=1e12, memory=1e9, bandwidth=1e11, link=1e10)
COSTS = Costs(
    parameters=1000,
    operations=Line(1e6, 1e5),
    moved=Line(0, 0),
    temporaries=Line(2e6, 1e4),
    by_hand=9e4,
    state=16_000_000,
    reduced=4_000_000,
    row=100,
)


def test_a_step_is_products_or_memory_and_then_the_all_reduce():
    step = step_on(COSTS, MACHINE, 10)
    assert step.products == pytest.approx(2e6 / 0.4e12)
    assert step.memory == pytest.approx(2 * (16e6 + 4e6 + 10 * 1e4) / 0.7e11)
    assert step.reduce == pytest.approx(2 * (1 / 2) * 4e6 / 0.7e10)
    assert step.total == pytest.approx(step.memory + step.reduce)
    assert step_on(COSTS, MACHINE._replace(devices=1), 10).reduce == 0


def test_at_the_break_even_the_products_take_as_long_as_the_all_reduce():
    batch = break_even(COSTS, MACHINE)
    step = step_on(COSTS, MACHINE, batch)
    assert step.products == pytest.approx(step.reduce)
    assert batch == pytest.approx((4e6 / 0.7e10 * 0.4e12 - 1e6) / 1e5)


def test_what_fits_beside_the_state():
    assert largest_batch(COSTS, MACHINE, sharded=False) == pytest.approx((1e9 - 16e6 - 4e6) / 1e4)
    assert largest_batch(COSTS, MACHINE, sharded=True) == pytest.approx((1e9 - 8e6 - 4e6 - 4e6) / 1e4)
    assert largest_batch(COSTS._replace(state=2_000_000_000), MACHINE, sharded=False) == 0


def test_a_line_goes_through_its_points():
    assert line((2, 6), (10.0, 30.0)) == Line(0.0, 5.0)
    assert line((2, 6), (10.0, 30.0)).at(4) == 20


def test_the_page_has_the_tables_of_the_command():
    page = (scale.Path(__file__).parents[2] / "docs" / "scale.md").read_text()
    for name, table in tables({"pose17": (COSTS, 768)}).items():
        head = table.partition("\n")[0]
        block = page.partition(f"<!-- table: {name} -->")[2].partition("<!-- end -->")[0]
        assert head in block, "written by python -m experiments.scale --document=docs/scale.md"
        assert block.count("\n| pose17 |") == block.count("\n| large |") == (1 if name == "counts" else 3)


@pytest.mark.slow
def test_xla_counts_the_products_of_the_network_and_little_more():
    """Before compilation, of the recipe without drawn people, whose bodies take longer to trace."""
    config = pose17.get_config("0.7")
    bodies = scale.random_bodies()
    counts = []
    for batch in (64, 128):
        one = lowered(config, batch, bodies)
        counts.append(one.step.cost_analysis()["flops"])
    by_hand = scale.training_operations(one.state.params, examples=1, draws=config.loss.num_draws)
    assert by_hand < line((64, 128), counts).each < 1.1 * by_hand
    params = sum(np.prod(leaf.shape) for leaf in jax.tree.leaves(one.state.params))
    assert scale.num_bytes(one.state.replace(key=())) == pytest.approx(16 * params, abs=100)
