"""A small random model in a file, poses of the bundled clip, and a call of the command: quick, and of any quality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose import cli
from jaxpose.model import ASSETS, Model, Spec, init_params, save
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import fit_statistics
from jaxpose.spaces.rotations import z_score


@pytest.fixture(scope="session")
def poses():
    """[3, 17, 3] float32 metres, camera axes, 4 m away."""
    with np.load(ASSETS / "demo_clip.npz") as clip:
        return clip["joints_cam"][::30].astype(np.float32)


@pytest.fixture(scope="session")
def model_file(tmp_path_factory, poses):
    network = ScoreMLP(hidden=32, time_width=16, num_groups=4, encoder_blocks=1)
    spec = Spec(name="tiny", network=network, target="edm", num_steps=2)
    statistics = fit_statistics(jnp.asarray(poses - poses.mean(1, keepdims=True)))
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save(path, Model(init_params(jax.random.key(0), spec), statistics, spec))
    return path


@pytest.fixture
def run(model_file):
    """The command with the small model, 4 hypotheses and, unless asked for, no pictures."""

    def call(command, *arguments, pictures=False):
        hypotheses = [] if command == "generate" else ["--hypotheses", "4"]
        flags = ["--model", str(model_file), *hypotheses, *([] if pictures else ["--no-pictures"])]
        cli.main([command, *map(str, arguments), *flags])

    return call


@pytest.fixture
def refused(run, capsys):
    """The one line with which the command refuses, with code 2 and without a file in --out."""

    def call(command, *arguments):
        with pytest.raises(SystemExit) as exit_info:
            run(command, *arguments)
        assert exit_info.value.code == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return call


@pytest.fixture(scope="session")
def prior_file(tmp_path_factory):
    """A prior over joint rotations about the rest pose, of any quality."""
    network = ScoreMLP(hidden=32, time_width=16, num_groups=4, encoder_blocks=0)
    spec = Spec("tinyrot", network, skeleton="smpl22", context=0, codec="axis_angle", target="edm", num_steps=2)
    poses = np.random.default_rng(0).normal(0, 0.3, (50, 21, 3))
    path = tmp_path_factory.mktemp("prior") / "tinyrot.safetensors"
    save(path, Model(init_params(jax.random.key(0), spec), z_score(poses), spec))
    return path


@pytest.fixture
def run_prior(prior_file):
    """The command with the small prior, without pictures."""

    def call(command, *arguments):
        cli.main([command, *map(str, arguments), "--model", str(prior_file), "--no-pictures"])

    return call


@pytest.fixture
def refused_prior(run_prior, capsys, tmp_path):
    """The one line with which the command refuses, with code 2 and without a file in --out, which it is given."""

    def call(command, *arguments):
        with pytest.raises(SystemExit) as exit_info:
            run_prior(command, *arguments, "--out", tmp_path / "refused")
        assert exit_info.value.code == 2
        assert not (tmp_path / "refused").exists()
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    return call
