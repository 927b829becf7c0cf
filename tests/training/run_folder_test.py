"""The lock of a work folder between processes, and what of a configuration may change."""

import subprocess
import sys

import pytest

from jaxpose.training.run_folder import check_config, locked

HOLDER = """
import sys
from jaxpose.training.run_folder import locked
with locked(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def test_a_second_run_is_refused_until_the_first_has_ended_however(tmp_path, holder):
    with pytest.raises(ValueError, match=f"another run is under way there .process {holder.pid} on "), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()  # the system frees a process' locks before it reports its end
    with locked(tmp_path):
        pass


def test_one_process_may_ask_twice_and_leaves_nothing_held(tmp_path):
    for _ in range(2):
        with locked(tmp_path / "new"), locked(tmp_path / "new"):
            pass


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    said = r"file/run: needed a folder that can be written \(Not a directory\)"
    with pytest.raises(ValueError, match=said), locked(tmp_path / "file" / "run"):
        pass


BEGUN = {"seed": 0, "train": {"steps": 10, "rate": 0.1}, "data": {"files": ["a"]}}


def test_a_changed_configuration_is_refused_with_the_difference_shown():
    here = {"seed": 0, "train": {"steps": 20, "rate": 0.1}, "data": {"files": ["a"], "share": 1.0}}
    with pytest.raises(ValueError, match="another configuration") as error:
        check_config(BEGUN, here, ("seed",), "runs/w")
    assert "train.steps: 10 there, 20 here" in str(error.value)
    assert "data.share: 'absent' there, 1.0 here" in str(error.value)
    assert "rate" not in str(error.value)
    with pytest.raises(ValueError, match=r"data\.share") as error:
        check_config(BEGUN, here, ("train.steps",), "runs/w")
    assert "train.steps" not in str(error.value)
    check_config(BEGUN, here, ("train.steps", "data"), "runs/w")
    check_config(BEGUN, BEGUN, (), "runs/w")


def test_a_group_is_named_whole():
    with pytest.raises(ValueError, match=r"train\.steps"):
        check_config(BEGUN, BEGUN | {"train": {"steps": 11, "rate": 0.1}}, ("train.s", "tra"), "w")
