"""What is saved comes back bit for bit; what does not fit is named."""

import resource
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from shared import refuses
from training import tiny

from jaxpose.training import checkpoint
from jaxpose.training.parallel import is_key
from jaxpose.training.step import init_state


def at_step(state, n):
    return state.replace(step=jnp.asarray(n, jnp.int32))


def same(a, b):
    a, b = (jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, t) for t in (a, b))
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


def test_keep_policy(tmp_path, trained):
    for n in (1, 2, 3, 4, 4):  # the last again: no error
        checkpoint.save(tmp_path, at_step(trained, n), {})
    assert checkpoint.steps(tmp_path) == [2, 3, 4]


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
        refuses(message, checkpoint.restore_latest, tmp_path, like=like)


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
    checkpoint.save(tmp_path, at_step(trained, 4), {})
    assert sorted(p.name for p in folder.iterdir()) == ["2", "3", "4"]


def test_training_is_imported_without_orbax_and_tensorboard():
    code = "import sys, jaxpose.training.loop; print([m for m in ('orbax', 'tensorboard') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.fixture(scope="module")
def three(tmp_path_factory, trained):
    """A work folder with the steps 1, 2, 3; a test leaves it as it was."""
    workdir = tmp_path_factory.mktemp("three")
    for n in (1, 2, 3):
        checkpoint.save(workdir, at_step(trained, n), {})
    return workdir


def newest_files(workdir):
    folder = workdir / "checkpoints" / "3"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_a_flipped_bit_in_any_file_is_noticed_and_the_one_before_counts(three, trained, capsys):
    rng, files = np.random.default_rng(0), newest_files(three)
    assert len(files) >= 5
    for name in files:
        file = three / "checkpoints" / "3" / name
        before = file.read_bytes()
        if not before:
            continue
        flipped = bytearray(before)
        flipped[rng.integers(len(before))] ^= 1 << rng.integers(8)
        file.write_bytes(flipped)
        restored, meta = checkpoint.restore_latest(three, like=trained)
        file.write_bytes(before)
        same(restored, at_step(trained, 2))
        assert meta["step"] == 2
        said = capsys.readouterr().err
        assert "3: damaged (" in said, name
        assert "going on from step 2" in said
    same(checkpoint.restore_latest(three, like=trained)[0], at_step(trained, 3))


@pytest.mark.parametrize("how", ["cut", "emptied", "removed"])
def test_a_file_that_is_cut_or_missing_is_noticed(tmp_path, three, trained, how, capsys):
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    file = tmp_path / "checkpoints" / "3" / "meta" / "metadata"
    if how == "removed":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[: -1 if how == "cut" else 0])
    same(checkpoint.restore_latest(tmp_path, like=trained)[0], at_step(trained, 2))
    assert "meta/metadata" in capsys.readouterr().err


def test_a_damaged_one_is_written_anew_and_where_all_are_nothing_is_begun(tmp_path, three, trained):
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    for n in (2, 3):
        (tmp_path / "checkpoints" / str(n) / "meta" / "metadata").write_text("{")
    restored, _ = checkpoint.restore_latest(tmp_path, like=trained)
    same(restored, at_step(trained, 1))
    checkpoint.save(tmp_path, at_step(trained, 2), {"again": True})
    assert checkpoint.restore_latest(tmp_path, like=trained)[1]["again"]
    assert checkpoint.steps(tmp_path) == [1, 2]
    for n in (1, 2):
        (tmp_path / "checkpoints" / str(n) / "meta" / "metadata").write_text("{")
    refuses("no whole checkpoint is left", checkpoint.restore_latest, tmp_path, like=trained)


def test_checkpoints_of_an_earlier_version_are_refused_and_kept(tmp_path, three, trained):
    shutil.copytree(three, tmp_path, dirs_exist_ok=True)
    for n in (1, 2, 3):
        (tmp_path / "checkpoints" / str(n) / "sha256.json").unlink()
    refuses(r"the checkpoints \[1, 2, 3\] have no hashes", checkpoint.restore_latest, tmp_path, like=trained)
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["1", "2", "3"]


def test_a_first_save_that_was_killed_is_begun_anew(tmp_path, trained):
    checkpoint.save(tmp_path, at_step(trained, 0), {})
    (tmp_path / "checkpoints" / "0" / "sha256.json").unlink()
    assert checkpoint.restore_latest(tmp_path, like=trained) is None


def test_too_little_room_is_said_before_anything_is_written(tmp_path, trained, monkeypatch):
    big = trained.replace(params={"w": jnp.zeros(200_000)})
    monkeypatch.setattr(shutil, "disk_usage", lambda _: types.SimpleNamespace(free=700_000))
    with pytest.raises(OSError, match=r"could not be written \(it takes [\d,]+ bytes, 700,000 are free"):
        checkpoint.save(tmp_path, at_step(big, 2), {})
    assert not list(tmp_path.rglob("*"))


def test_a_full_disk_is_one_line_and_the_last_good_one_stays(tmp_path, trained, caplog):
    big = trained.replace(params={"w": jnp.asarray(np.random.default_rng(0).random(200_000))})
    checkpoint.save(tmp_path, at_step(big, 1), {})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))  # Python ignores the signal: writing fails
    try:
        with pytest.raises(OSError, match="2: the checkpoint could not be written") as error:
            checkpoint.save(tmp_path, at_step(big, 2), {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert not [record for record in caplog.records if record.name in ("absl", "asyncio")]
    assert checkpoint.steps(tmp_path) == [1]
    same(checkpoint.restore_latest(tmp_path, like=big)[0], at_step(big, 1))
    checkpoint.save(tmp_path, at_step(big, 2), {})
    assert checkpoint.steps(tmp_path) == [1, 2]
