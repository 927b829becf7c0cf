"""`experiments.benchmark`: operations of known networks, ratios on record against those of a run, and the command."""

import dataclasses
import json
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import called
from shared import refuses

from experiments.benchmark import __main__ as command
from experiments.benchmark import timing as bench_timing
from experiments.benchmark.ratios import better_of, compare, document, line_of, ratios_of, read, record, rows_of, table
from experiments.benchmark.sampling import best_figures
from experiments.benchmark.timing import (
    Program,
    Row,
    Setup,
    Sizes,
    measured,
    operations_of,
    sampling_operations,
    training_operations,
)
from experiments.options import run
from jaxpose import model as released
from jaxpose.networks.score_mlp import ScoreMLP

ROOT = Path(__file__).parents[3]
NETWORK = ScoreMLP(hidden=64, time_width=16, num_blocks=1, encoder_blocks=1, dropout=0.0, num_groups=4)
SPEC = released.Spec("tiny", NETWORK)


@pytest.fixture(scope="module")
def params():
    """Shapes of the tiny network's weights, without the weights."""
    return jax.eval_shape(lambda: released.init_params(jax.random.key(0), SPEC))


def row(case="sampling", setting="", **ratios):
    return Row(case, setting, {"seconds": 1.5, **ratios}, higher=tuple(ratios))


def test_operations_of_a_known_network(params):
    found = operations_of(params)
    # a pose is 17 x 3 numbers, its condition value, mask and 17 confidences; three layers of 64 see time and condition
    assert found.hypothesis == 2 * (51 * 64 + 2 * 64 * 64 + 64 * 51)
    assert found.step == 2 * (16 * 16 + 3 * 16 * 64)
    assert found.pose == 2 * ((51 + 51 + 17) * 64 + 2 * 64 * 64 + 3 * 64 * 64)
    assert found.first == (2 * 16 * 16, 2 * 119 * 64, 2 * 51 * 64)


def test_operations_of_a_gradient_are_those_of_its_program(params):
    """Against XLA's own count for products alone: relu layers of the same sizes, forward and backward."""
    sizes = {"pre": (51, 64), "block0_0": (64, 64), "block0_1": (64, 64), "post": (64, 51)}
    tree = {name: {"kernel": jnp.zeros(size)} for name, size in sizes.items()}

    def loss(tree, x):
        for name in sizes:
            x = x @ tree[name]["kernel"]
        return x.sum()

    batch = 8
    cost = jax.jit(jax.grad(loss)).lower(tree, jnp.zeros((batch, 51))).compile().cost_analysis()
    # x.sum() has a constant gradient, whose own product with the last layer XLA still counts; all else is tiny
    work = training_operations({"params": tree}, examples=batch, draws=1)
    assert work == 2 * batch * (3 * (51 * 64 + 2 * 64 * 64 + 64 * 51) - 51 * 64)
    forward_of_last = 2 * batch * 64 * 51  # its value is not needed for the gradient, and XLA leaves it out
    assert cost["flops"] == pytest.approx(work - forward_of_last, rel=0.05)


def test_what_is_shared_is_counted_once(params):
    model = released.Model(params, None, SPEC)
    found = operations_of(params)
    one = sampling_operations(model, calls=9, poses=1, hypotheses=1)
    assert sampling_operations(model, calls=9, poses=1, hypotheses=200) - one == 9 * 199 * found.hypothesis
    assert sampling_operations(model, calls=9, poses=5, hypotheses=1) - one == 4 * (9 * found.hypothesis + found.pose)
    assert sampling_operations(model, calls=9, poses=0, hypotheses=1) == one - found.pose
    refuses("ScoreMLP alone", operations_of, {"params": {"encoder": {"kernel": jnp.zeros((2, 2))}}})


def test_shares_do_not_move_with_the_machine(monkeypatch):
    """A program of 10 operations and 3 bytes in 0.01 s; ceilings 2000 and 4000 a second, 500 bytes a second."""
    slow = 1.0

    def seconds(run):  # of a clock on which the machine takes longer at every look
        nonlocal slow
        slow *= 1.3
        return slow * float(np.sum(run()))

    monkeypatch.setattr(bench_timing, "_seconds", seconds)
    monkeypatch.setattr(bench_timing, "product_runs", lambda *_: [(lambda: 0.1, 200.0), (lambda: 0.1, 400.0)])
    monkeypatch.setattr(bench_timing, "copy_run", lambda _: (lambda: 0.02, 10.0))
    program = Program(lambda: 0.01, 0.5, 1.0)
    figures = measured(Setup(Sizes(repeats=5), None), program, width=8, operations=10.0, traffic=3.0)
    drift = (1.3, 1.3**2, 1.3**3)  # of the ceilings behind the program, within a round
    shares = (1000 / 2000 * drift[0], 1000 / 4000 * drift[1])
    assert figures["share_of_product_rate"] == pytest.approx(min(shares))
    assert figures["share_of_copy_rate"] == pytest.approx(300 / 500 * drift[2])
    assert figures["compile_seconds"] == 0.5
    assert figures["peak_rss_mb"] > 50


def test_ratios_say_what_got_slower():
    before = ratios_of([row(share=0.6, speedup=50.0), row("gone", ratio=2.0), row("tasks", "ik", share=0.2)])
    after = ratios_of([row(share=0.5, speedup=80.0), row("tasks", "fit", share=0.1)])
    verdicts = {v.name: v for v in compare(before, after, ["sampling", "tasks"])}
    assert "gone ratio" not in verdicts  # that case did not run
    assert verdicts["sampling share"].change == pytest.approx(0.5 / 0.6)
    assert verdicts["sampling share"].worse(0.15)
    assert not verdicts["sampling share"].worse(0.2)
    assert not verdicts["sampling speedup"].worse(0.15)
    assert math.isnan(verdicts["tasks ik share"].now)
    assert math.isnan(verdicts["tasks fit share"].before)
    assert not verdicts["tasks ik share"].worse(0.0)


def test_a_ratio_that_is_worse_is_measured_again(monkeypatch, capsys):
    """Two more times at most, its case alone, and the best counts; --record would keep the first measurement."""
    recorded = ratios_of([row(share=1.0, speed=5.0), row("tasks", share=1.0)])
    first = ratios_of([row(share=0.7, speed=5.0), row("tasks", share=0.95)])
    for later, worse, runs in (([0.95], False, 1), ([0.6, 0.91], False, 2), ([0.6, 0.8, 2.0], True, 2)):
        values = iter(later)
        case = lambda setup, values=values: [row(share=next(values), speed=1.0)]  # noqa: E731
        monkeypatch.setitem(command.CASES, "sampling", case)
        monkeypatch.delitem(command.CASES, "tasks", raising=False)
        options = command.Options()
        assert (options.tolerance, options.again) == (0.10, 2)
        best = command.measured_again(None, recorded, first, ["sampling", "tasks"], options)
        verdicts = {v.name: v for v in compare(recorded, best, ["sampling", "tasks"])}
        assert verdicts["sampling share"].worse(0.10) == worse
        assert verdicts["sampling speed"].now == 5.0
        assert capsys.readouterr().out.count("again: sampling, for sampling share") == runs
    assert first["sampling"][""]["share"]["value"] == 0.7
    lower = [ratios_of([Row("startup", "", {"beyond": v}, lower=("beyond",))]) for v in (0.2, 0.3)]
    assert better_of(lower[1], lower[0]) == lower[0]


def test_the_error_of_a_ratio_is_of_pairs():
    recipe = np.arange(1.0, 9)
    found = best_figures(recipe, 0.5 * recipe)
    assert (found["best_of_200_over_recipe"], found["standard_error"]) == (0.5, 0)


def test_record_keeps_other_cases_and_devices(tmp_path):
    path = tmp_path / "ratios.json"
    assert read(path) == {}
    record(path, "gpu", ratios_of([row(share=0.9)]), jax="1")
    record(path, "cpu", ratios_of([row(share=0.6), row("tasks", "ik", share=0.2)]), jax="1")
    record(path, "cpu", ratios_of([row(share=0.7)]), jax="2")
    found = read(path)
    assert found["gpu"] == {"jax": "1", "ratios": ratios_of([row(share=0.9)])}
    assert found["cpu"] == {"jax": "2", "ratios": ratios_of([row(share=0.7), row("tasks", "ik", share=0.2)])}


def test_rows_pass_through_lines():
    rows = [row(share=0.6), Row("startup", "a, b", {"beyond": 0.25}, lower=("beyond",))]
    output = "\n".join(["sampling: seconds 1.5", *(line_of(r, device="cpu") for r in rows), "took 3 s"])
    assert rows_of(output) == rows
    assert json.loads(line_of(rows[0], device="cpu"))["device"] == "cpu"


def test_tables_go_where_the_page_has_a_mark(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("# a\n\n<!-- table: one -->\nold\n<!-- end -->\n\ntext\n\n<!-- table: two -->\n<!-- end -->\n")
    rows = [row("two", "x", share=0.5), row("two", "y", speed=12345.0)]
    document(page, "2 x cpu", {"two": table(rows)})
    text = page.read_text()
    assert text.startswith("# a\n\n<!-- table: one -->\nold\n<!-- end -->\n\ntext\n\n<!-- table: two -->\n2 x cpu\n\n")
    assert (
        "| | seconds | share | speed |\n| --- | --- | --- | --- |\n| x | 1.5 | 0.5 |  |\n| y | 1.5 |  | 12,345 |"
        in text
    )
    document(page, "1 x cpu", {"two": table(rows[:1])})
    assert "| seconds | 1.5 |" in page.read_text()
    assert "2 x cpu" not in page.read_text()
    refuses("table: three", document, page, "", {"three": ""})


def test_the_command(tmp_path, monkeypatch, capsys):
    """With a case that takes no time, whose ratio is the number of --repeats."""
    shapes = jax.eval_shape(lambda: released.init_params(jax.random.key(0), SPEC))
    weights = jax.tree.map(lambda x: np.zeros(x.shape, np.float32), shapes)
    statistics = released.Statistics(jnp.zeros((17, 3)), jnp.ones((17, 3)))
    for name, times in (("tiny", ()), ("quick", (1.0, 0.15))):
        spec = dataclasses.replace(SPEC, name=name, times=times)
        released.save(tmp_path / f"{name}.safetensors", released.Model(weights, statistics, spec))
    quick = lambda setup: [Row("startup", "", {"ratio": float(setup.sizes.repeats)}, ("ratio",))]  # noqa: E731
    monkeypatch.setitem(command.CASES, "startup", quick)
    tiny, quick = (f"{tmp_path}/{name}.safetensors" for name in ("tiny", "quick"))
    own = f"--case=startup --model={tiny} --fast={quick} --ratios={tmp_path}/ratios.json"
    lines = {
        f"{own} --compare": (2, "nothing on record for"),
        f"{own} --record --repeats=10": (0, ""),
        f"{own} --compare --repeats=9": (0, "0 of 1 ratios worse by more than 10 %"),
        f"{own} --compare --repeats=8": (1, "SLOWER: startup ratio"),
        f"{own} --compare --repeats=8 --tolerance=0.3": (0, ""),
        f"{own} --case=nosuch": (2, "--case: got ['nosuch'], must be one of ['startup', "),
        f"{own} --grid_dtype=float8": (2, "--grid_dtype: got ['float8'], must be one of ['float32', "),
        f"{own} --grid_sampler=best": (2, "--grid_sampler: got ['best'], must be one of ['posterior', "),
        f"{own} --fast=nosuch": (2, "--fast: model: got 'nosuch'"),
        f"{own} --fast={tiny}": (2, "--fast needs a few-step model"),
        f"{own} nosuch": (2, "got 'nosuch', which is no flag"),
        f"{own} --document={tmp_path}/no.md": (2, "no.md: no such file"),
    }
    main = lambda argv: run("benchmark", command.main, command.Options, "", argv)  # noqa: E731
    for line, (code, text) in lines.items():
        left, said = called(capsys, main, *line.split())
        assert (left, text in said) == (code, True), (line, left, said)
    on_record = [entry["ratios"] for entry in read(tmp_path / "ratios.json").values()]
    assert on_record == [ratios_of([row("startup", ratio=10.0)])]
    page = (ROOT / "docs" / "benchmarks.md").read_text()
    marks = {f"<!-- table: {case} -->" for case in command.CASES}
    assert marks == {x for x in page.splitlines() if x.startswith("<!-- table")}
    on_record = read(command.RATIOS).values()
    assert {case for entry in on_record for case in entry["ratios"]} <= set(command.CASES)
