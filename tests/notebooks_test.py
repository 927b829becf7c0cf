"""The notebooks run from top to bottom, and are committed with the outputs of a run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COLABS = Path(__file__).resolve().parents[1] / "experiments" / "colabs"
SHELL = {
    "!python": f"{sys.executable} ",
    "!jaxpose": f'{sys.executable} -c "from jaxpose.app.cli import main; main()" ',
}
NOTEBOOKS = sorted(COLABS.glob("*.ipynb"))


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def execute(path: Path) -> dict[str, Any]:
    """The names that the cells leave behind; of lines for IPython and the shell (% and !) only our commands are run."""
    names: dict[str, Any] = {"__name__": "__main__"}
    for cell in code_cells(path):
        lines = "".join(cell["source"]).splitlines()
        for line in lines:
            if line.startswith(("!python ", "!jaxpose ")):
                subprocess.run(
                    SHELL[line.split()[0]] + line.split(maxsplit=1)[1].format(**names), shell=True, check=True
                )
        source = "\n".join(re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines)
        exec(compile(source, f"{path.name}:{cell['id']}", "exec"), names)
    return names


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == ["body_prior.ipynb", "lift.ipynb", "train.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_outputs_are_those_of_one_run_without_errors(path):
    """A reader sees them before running anything: every cell was run in order, something is shown, nothing failed."""
    cells = code_cells(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert "error" not in {output["output_type"] for output in outputs}
    assert any({"text/html", "image/png"} & output.get("data", {}).keys() for output in outputs)
    assert path.stat().st_size < (4e5 if path.stem == "lift" else 3e5)


@pytest.mark.slow
def test_lift_shows_every_frame_near_its_truth():
    names = execute(COLABS / "lift.ipynb")
    assert len(names["page"].content["steps"]["labels"]) == len(names["truth"]) == len(names["found"].xy)
    # the clip's mean pose, held still, is 116 mm off; mirrored poses or frames in another order are 160 mm and more
    assert names["best_mm"] < names["mean_mm"] < 80


@pytest.mark.slow
def test_body_prior_fills_in_makes_clean_and_finds():
    names = execute(COLABS / "body_prior.ipynb")
    known = np.asarray(names["known"]) > 0
    completed, drawn = np.asarray(names["completed"]), np.asarray(names["drawn"])
    np.testing.assert_allclose(completed[:, 0, known], np.tile(drawn[0, known], (10, 1, 1)), atol=1e-5)
    assert (completed[:, 0, ~known].std(0).max(-1) > 0.01).sum() > 1
    # 60 mm on each coordinate is 96 mm; measured: 26 mm after. In the median fits are 34 mm off, the mean pose 200 mm
    assert names["clean_mm"] < names["noisy_mm"] / 2
    assert np.median(names["fit_mm"]) < np.median(names["mean_mm"]) / 2


@pytest.mark.slow
def test_train_ends_with_a_model_that_knows_the_walk_better(tmp_path, monkeypatch):
    """In a copy of the folder, as the notebook works in the checkout that it finds above."""
    for name in ("experiments", "jaxpose"):
        (tmp_path / name).symlink_to(COLABS.parents[1] / name)
    monkeypatch.chdir(tmp_path)
    before, after = execute(COLABS / "train.ipynb")["errors_mm"].values()
    assert after < before
