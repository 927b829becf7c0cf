"""A small random model in a file, poses of the bundled clip, and a call of the command: quick, and of any quality."""

import cameras
import pytest
from command_line import refusal
from small_models import clip_poses, write_joint_model, write_prior

from jaxpose.app import cli


@pytest.fixture(scope="session")
def poses():
    """[3, 17, 3] float32 metres, camera axes, 4 m away."""
    return clip_poses()


@pytest.fixture(scope="session")
def two_cameras(poses):
    return cameras.two_cameras(poses[:2])


@pytest.fixture(scope="session")
def model_file(tmp_path_factory):
    return write_joint_model(tmp_path_factory.mktemp("model"))


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
        return refusal(capsys, lambda argv: run(*argv), command, *arguments)

    return call


@pytest.fixture(scope="session")
def prior_file(tmp_path_factory):
    return write_prior(tmp_path_factory.mktemp("prior"))


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
        error = refusal(capsys, lambda argv: run_prior(*argv), command, *arguments, "--out", tmp_path / "refused")
        assert not (tmp_path / "refused").exists()
        return error

    return call
