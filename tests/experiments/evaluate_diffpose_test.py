"""`experiments.evaluate_diffpose` as a user runs it: rows, what they are compared with, bad input."""

import json
import subprocess
import sys

import diffpose_models
import pytest
from shared import needs_bench

from jaxpose import model as released


def run(*flags):
    command = [sys.executable, "-m", "experiments.evaluate_diffpose", *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
@needs_bench
def test_rows_of_the_frames_benchmark(tmp_path):
    released.save(tmp_path / "tiny.safetensors", diffpose_models.tiny())
    done = run(
        f"--model={tmp_path / 'tiny.safetensors'}",
        "--stride=100",
        "--hypotheses=6",
        f"--out={tmp_path}",
        "--row=released",
        "--row=N = 1",
        "--row=aggregate: median",
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "tiny_frames.json").read_text())["rows"]
    assert list(rows) == ["encoder alone", "released", "N = 1", "aggregate: median"]
    assert rows["encoder alone"]["ratio"] == [1, 1, 1]
    for row in rows.values():
        ratio, low, high = row["ratio"]
        assert low <= ratio <= high
        assert ratio == pytest.approx(row["mean_mm"] / rows["encoder alone"]["mean_mm"])
    # the mean of many errs less than one of them, which has nothing to be calibrated
    assert rows["released"]["mean_mm"] < rows["N = 1"]["mean_mm"]
    assert rows["released"]["best_of_6_mm"] < rows["released"]["best_of_5_mm"]
    assert "ece" not in rows["N = 1"]


@needs_bench
def test_a_model_that_is_no_diffpose_is_refused():
    done = run("--model=pose17", "--stride=500")
    assert done.returncode == 2
    assert "needed a DiffPose model with a context, got 'pose17'" in done.stderr
