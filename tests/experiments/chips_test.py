"""Figures of compiled programs, from programs whose figures are known."""

import jax
import jax.numpy as jnp
import pytest
from shared import refuses

from experiments.chips import __main__ as chips
from experiments.chips import program, targets
from experiments.chips.programs import RECIPES, TASKS
from experiments.options import run

# A copy; then a loop of unknown length with one of 3 turns, a branch, all-gathers alone, in a fusion and in three.
TEXT = """HloModule step, is_scheduled=true

%fused (p: f32[8]) -> f32[8] {
  ROOT %x = f32[8]{0} add(%p, %p), backend={"estimated_cycles":"1000"}
}
%gather (p: bf16[4]) -> bf16[32] {
  ROOT %gathered = bf16[32]{0} all-gather(%p), channel_id=1
}
%async_collective_fusion.1 (p: bf16[4]) -> bf16[32] {
  ROOT %gathered = bf16[32]{0} all-gather(%p), channel_id=1
}
%inner (t: (f32[8])) -> (f32[8]) {
  %a = f32[8]{0} fusion(%t), metadata={op_name="jvp(vmap(examples))/add"}, backend={"estimated_cycles":"10"}
  %c = f32[8]{0} reduce-scatter(%a), to_apply=%fused
  ROOT %b = (f32[8]{0}) tuple(%a)
}
%body (t: (f32[8])) -> (f32[8]) {
  %loop = (f32[8]{0}) while(%t), condition=%not_counted, body=%inner, backend_config={"known_trip_count":{"n":"3"}}
  %forward = f32[4,2]{1,0} fusion(%t), metadata={op_name="jvp(vmap(network))/dot"}, backend={"estimated_cycles":"100"}
  %back = f32[4,2]{1,0} fusion(%t), metadata={op_name="transpose(jvp(network))/dot"}, backend={"estimated_cycles":"200"}
  %sum = bf16[4,2]{1,0} all-reduce(%back), to_apply=%fused
  %start = (f32[4]{0}, f32[16]{0}) all-gather-start(%sum)
  %done = f32[16]{0} all-gather-done(%start)
  %async-collective-start.1 = (bf16[4]{0}, bf16[32]{0}) fusion(%sum), kind=kCustom, calls=%gather
  %product = (f32[8]{0}, bf16[32]{0}) fusion(%async-collective-start.1), calls=%async_collective_fusion.1
  %async-collective-done.1 = bf16[32]{0} fusion(%product), kind=kCustom, calls=%gather
  %cast = f32[32]{0} fusion(%sum), calls=%gather
  %either = (f32[8]{0}) conditional(%done), branch_computations={%other, %other}
  ROOT %update = (f32[8]{0}) fusion(%done), metadata={op_name="optimiser/add"}, backend={"estimated_cycles":"7"}
}
%other (t: (f32[8])) -> (f32[8]) {
  ROOT %d = (f32[8]{0}) fusion(%t), metadata={op_name="optimiser/add"}, backend={"estimated_cycles":"3"}
}
%condition (t: (f32[8])) -> pred[] {
  ROOT %less.1 = pred[] compare(%t, %t), direction=LT
}
ENTRY %main (p: f32[8]) -> (f32[8]) {
  %copy = f32[8]{0} copy(%p), backend={"estimated_cycles":"5000"}
  ROOT %steps = (f32[8]{0}) while(%copy), condition=%condition, body=%body
}
"""


def test_cycles_are_those_of_one_step_by_part_and_a_loop_counts_its_turns():
    expected = {"examples": 30, "network": 100, "backward": 200, "optimiser": 13, "other": 0}
    assert program.cycles_by_part(program.costs(TEXT)) == expected
    once = TEXT.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"1"}}')
    assert program.cycles_by_part(program.costs(once)) == expected | {"other": 5000}


def test_collectives_are_counted_by_kind_in_bytes_of_their_results():
    moved = {"all-reduce": (1, 16), "all-gather": (3, 3 * 64), "reduce-scatter": (3, 3 * 32)}
    assert program.collectives(program.costs(TEXT)) == moved


def test_kernels_are_what_the_device_starts():
    assert program.kernels(program.costs(TEXT)) == 12


def test_operations_of_products_count_the_turns_of_loops_and_the_rows_of_maps():
    W = jnp.ones((5, 5))

    def one(x):
        return jax.lax.scan(lambda h, _: (jnp.tanh(h @ W), None), x, length=3)[0]

    traced = jax.make_jaxpr(lambda x: jax.jit(jax.vmap(one))(x))(jnp.ones((7, 5)))
    assert program.product_operations(traced) == 3 * 7 * 2 * 25


def test_a_figure_above_its_ratchet_and_a_program_that_does_not_compile_are_named():
    held = {"v5e-1": {"pose17": {"cycles_M": 4.0}, "lift pose17": {"cycles_M": 1.0}, "complete": {"cycles_M": 1.0}}}
    now = {"v5e-1": {"pose17": {"cycles_M": 5.0}, "lift pose17": {"cycles_M": 1.01}, "complete": {}}}
    grown, missing = chips.passed(held, now)
    assert "pose17: cycles_M 5, at most 4" in grown
    assert missing == "v5e-1, complete: does not compile"
    assert list(chips.passed(held, {})) == []  # not compiled this time


def test_lists_have_known_programs_and_tasks_without_rows_are_for_one_chip():
    for target, names in chips.SHORT.items():
        assert target in targets.TARGETS
        assert set(names) <= {*RECIPES, *TASKS}
    everything = chips.chosen(chips.Options())
    assert "generate" in everything["v5e-1"]
    assert "generate" not in everything["v5e-8"]


def test_without_the_environment_the_command_says_how_it_is_made(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(targets, "ENVIRONMENT", tmp_path)
    with pytest.raises(SystemExit) as left:
        run("chips", chips.main, chips.Options, "", ["--target=v5e-1"])
    assert left.value.code == 2
    assert "make chips" in capsys.readouterr().err


def test_an_unknown_program_is_refused(capsys, monkeypatch):
    monkeypatch.setattr(targets, "python", lambda: None)
    refuses("'pose18'", chips.chosen, chips.Options(program=("pose18",)))
