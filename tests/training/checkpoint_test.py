"""What is saved comes back bit for bit; what does not fit is named."""

import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from training import tiny

from jaxpose.training import checkpoint
from jaxpose.training.step import init_state


def at_step(state, n):
    return state.replace(step=jnp.asarray(n, jnp.int32))


def same(a, b):
    a, b = (jax.tree.map(lambda x: jax.random.key_data(x) if checkpoint._is_key(x) else x, t) for t in (a, b))
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(left), np.asarray(right), strict=True)


@pytest.fixture(scope="module")
def trained():
    return tiny.train(tiny.runner_of())[0]


@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_round_trip(tmp_path, trained, make_key):
    state = trained.replace(key=make_key(3))
    checkpoint.save(tmp_path, state, {"config": {"width": 12}, "seed": 3})
    restored, meta = checkpoint.restore_latest(tmp_path, like=tiny.start().replace(key=make_key(0)))
    same(restored, state)
    assert meta == {"config": {"width": 12}, "seed": 3, "format": checkpoint.FORMAT, "step": 5}


def test_other_number_types(tmp_path):
    params = {"half": jnp.asarray([1.1, -2.7], jnp.bfloat16), "scalar": jnp.float32(0.1)}
    state = init_state(jax.random.key(0), params, optax.sgd(0.1, momentum=0.9))
    checkpoint.save(tmp_path, state, {})
    same(checkpoint.restore_latest(tmp_path, like=state)[0], state)


def test_nothing_there(tmp_path, trained):
    assert checkpoint.restore_latest(tmp_path / "none", like=trained) is None
    assert checkpoint.steps(tmp_path) == []


def test_keep_policy(tmp_path, trained):
    for n in range(1, 12):
        checkpoint.save(tmp_path, at_step(trained, n), {}, keep_last=2, keep_every=4)
    assert checkpoint.steps(tmp_path) == [4, 8, 10, 11]
    checkpoint.save(tmp_path, at_step(trained, 11), {}, keep_last=2, keep_every=4)  # again: no error
    assert checkpoint.steps(tmp_path) == [4, 8, 10, 11]


def test_another_architecture_is_named_with_both_shapes(tmp_path):
    def state(**shapes):
        return init_state(jax.random.key(0), {k: jnp.zeros(s) for k, s in shapes.items()}, optax.sgd(0.1))

    checkpoint.save(tmp_path, state(a=(2,), b=(3, 64)), {})
    cases = {
        r"params\.b is float32\[3, 64\] there, float32\[3, 32\] here": state(a=(2,), b=(3, 32)),
        r"params\.c is absent there, float32\[1\] here": state(a=(2,), b=(3, 64), c=(1,)),
        r"params\.b is float32\[3, 64\] there, absent here": state(a=(2,)),
    }
    for message, like in cases.items():
        with pytest.raises(ValueError, match=message):
            checkpoint.restore_latest(tmp_path, like=like)


def test_another_format_is_refused(tmp_path, trained, monkeypatch):
    monkeypatch.setattr(checkpoint, "FORMAT", 2)
    checkpoint.save(tmp_path, trained, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match="checkpoint of format 2, this version of jaxpose reads format 1"):
        checkpoint.restore_latest(tmp_path, like=trained)


def test_what_a_kill_left_is_neither_read_nor_kept(tmp_path, trained):
    for n in (1, 2, 3):
        checkpoint.save(tmp_path, at_step(trained, n), {})
    folder = tmp_path / "checkpoints"
    torn = folder / "9.orbax-checkpoint-tmp"
    shutil.copytree(folder / "3", torn)  # killed before the rename
    shutil.rmtree(folder / "1" / "state")  # killed while it removed an old one
    (folder / "1" / "_CHECKPOINT_METADATA").unlink()
    restored, _ = checkpoint.restore_latest(tmp_path, like=trained)
    same(restored, at_step(trained, 3))
    assert torn.exists(), "a reader must leave alone what another process may be writing"
    checkpoint.save(tmp_path, at_step(trained, 4), {}, keep_last=2)
    assert sorted(p.name for p in folder.iterdir()) == ["3", "4"]


def test_meta_is_json(tmp_path, trained):
    checkpoint.save(tmp_path, trained, {"commit": checkpoint.git_commit()})
    assert json.loads((tmp_path / "checkpoints" / "5" / "meta" / "metadata").read_text())["step"] == 5


def test_training_is_imported_without_orbax_and_tensorboard():
    code = "import sys, jaxpose.training.loop; print([m for m in ('orbax', 'tensorboard') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"
