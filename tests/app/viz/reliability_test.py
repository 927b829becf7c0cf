"""The picture of reliability: what each panel draws, read back from the figure, and a file that is a PNG."""

import numpy as np
import pytest

from jaxpose.app.viz import reliability_png
from jaxpose.geometry.skeleton import H36M_17

LEVELS = np.linspace(0, 1, 5)
RNG = np.random.default_rng(0)
DISTANCE, AXES = RNG.uniform(size=(5, 17)), RNG.uniform(size=(5, 17, 3))


def test_each_panel_draws_the_curves_of_all_joints_but_the_root(tmp_path, monkeypatch):
    figures = pytest.importorskip("matplotlib.figure")
    kept = []
    save = figures.Figure.savefig
    monkeypatch.setattr(figures.Figure, "savefig", lambda f, *a, **k: (kept.append(f), save(f, *a, **k)))
    path = reliability_png(tmp_path / "r.png", LEVELS, DISTANCE, AXES, H36M_17, title="a row")
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    expected = [DISTANCE, *np.moveaxis(AXES, -1, 0)]
    for panel, curves in zip(kept[0].axes, expected, strict=True):
        diagonal, *lines = panel.get_lines()
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        assert [line.get_label() for line in lines] == list(H36M_17.joints[1:])
        np.testing.assert_array_equal([line.get_ydata() for line in lines], curves[:, 1:].T)
