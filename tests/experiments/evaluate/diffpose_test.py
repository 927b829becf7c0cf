"""`experiments.evaluate diffpose` as a user runs it: rows, what they are compared with, bad input."""

import json
from functools import partial

import diffpose_models
import pytest
from command_line import called
from shared import needs_bench

from experiments.evaluate.__main__ import main
from jaxpose import model as released


@pytest.fixture
def run(capsys):
    return partial(called, capsys, main, "diffpose")


@pytest.mark.slow
@needs_bench
def test_rows_of_the_frames_benchmark(run, tmp_path):
    released.save(tmp_path / "tiny.safetensors", diffpose_models.tiny())
    code, text = run(
        f"--model={tmp_path / 'tiny.safetensors'}",
        "--stride=100",
        "--hypotheses=6",
        f"--out={tmp_path}",
        "--row=encoder alone",
        "--row=released",
        "--row=N = 1",
        "--row=aggregate: median",
    )
    assert code == 0, text
    record = json.loads((tmp_path / "diffpose_tiny.json").read_text())
    assert record["options"]["stride"] == 100
    rows = {row["name"]: row for row in record["rows"]}
    assert all("intrinsics" in row["privileges"] and "unknown" in row["tuned"] for row in rows.values())
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
def test_a_model_that_is_no_diffpose_is_refused(run):
    code, text = run("--model=pose17", "--stride=500")
    assert code == 2
    assert "needs a model with an encoder of keypoints" in text
    assert "got 'pose17', a ScoreMLP model" in text
