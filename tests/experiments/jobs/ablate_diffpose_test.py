"""DiffPose's ablations: every row names what the config has, and a short run makes a table that goes on."""

import json
from functools import partial
from pathlib import Path

import diffpose_models
import pytest
from command_line import called
from shared import needs_bench

from experiments.jobs import ablate_diffpose as job
from experiments.options import run as run_job


@pytest.mark.parametrize("name", job.ROWS)
def test_a_row_changes_what_the_config_has(name):
    row = job.ROWS[name]
    plain, changed = (job.config_of(r, Path("encoder.safetensors"), 100) for r in (job.ROWS["residual"], row))
    for path, value in row.config.items():
        part = changed
        for group in path.split("."):
            part = part[group]
        assert part == value
    assert (changed != plain) == bool(row.config)
    assert row.weights is None or row.weights in job.ROWS
    assert changed.heatmaps.swap > 0


def test_the_encoder_alone_encodes_as_before():
    model = diffpose_models.tiny()
    alone = job.encoder_of(model)
    assert alone.capabilities == {"encoder", "joints"}
    assert set(alone.params["params"]) == {"frame"}


@pytest.mark.slow
@needs_bench
def test_a_table_of_short_runs(capsys, tmp_path):
    run = partial(called, capsys, lambda argv: run_job("ablate_diffpose", job.main, job.Options, "", argv))
    flags = [
        f"--workdir={tmp_path}",
        "--steps=2",
        "--stride=200",
        "--hypotheses=4",
        "--row=mixture, M = 2",
        "--row=N = 1",
    ]
    code, text = run(*flags)
    assert code == 0, text
    rows = json.loads((tmp_path / "table.json").read_text())["rows"]
    assert list(rows) == ["one Gaussian", "mixture, M = 2", "N = 1"]
    assert rows["one Gaussian"]["doubtful_ratio"] == [1, 1, 1]
    for row in rows.values():
        low, high = row["doubtful_ratio"][1:]
        assert low <= row["doubtful_ratio"][0] <= high
    code, text = run(*flags)
    assert code == 0, text
    assert "training" not in text
    assert run(*flags, "--steps=3")[0] == 2
    code, text = run(f"--workdir={tmp_path}", "--row=mixture")
    assert code == 2
    assert "--row: got ['mixture'], legal are one Gaussian" in text
