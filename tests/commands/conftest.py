"""A small random model in a file, poses of the bundled clip, and a call of the command: quick, and of any quality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxpose import cli
from jaxpose.geometry.codec import fit_statistics
from jaxpose.model import ASSETS, Model, Spec, init_params, save
from jaxpose.networks.score_mlp import ScoreMLP


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
