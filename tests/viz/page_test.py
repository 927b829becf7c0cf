"""Pages: self-contained or sharing plotly.js, escaped, small, whole or not there; what bad arrays and options get."""

import base64
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from drawn import H, J, N, random_pose_set

from jaxpose.geometry.skeleton import H36M_17
from jaxpose.viz import contact_sheet, interactive_html, mesh_html, path_html
from jaxpose.viz.scene import LEFT, RIGHT


def _figure_call(page):
    """The arguments data and frames that the page gives to plotly."""
    decode = json.JSONDecoder().raw_decode
    start = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*", page).end()
    data, _ = decode(page, start)
    frames, _ = decode(page, re.search(r"Plotly\.addFrames\('[^']+',\s*", page).end())
    return data, frames


def test_html_is_self_contained_escaped_and_holds_the_data(tmp_path):
    samples, keypoints, confidence, truth = random_pose_set()
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\udcff\n"
    path = interactive_html(
        tmp_path / "page.html",
        samples,
        H36M_17,
        keypoints=keypoints,
        confidence=confidence,
        truth=truth,
        labels=[bad] * N,
        title=bad,
        note="scale: <i>height</i>",
        fps=25,
    )
    page = path.read_text(encoding="utf-8")
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)\s*=", page)
    assert "alert(1)</script>" not in page
    assert "<i>height" not in page
    assert "scale: &lt;i&gt;height" in page
    assert "plotly.js v" in page
    data, frames = _figure_call(page)
    assert len(frames) == N
    label = next(iter(re.findall(r'"label":"(frame 0 of 4[^"]*)"', page)))
    assert "<" not in json.loads(f'"{label}"')
    for n, frame in enumerate(frames):
        array = frame["data"][1]["x"]
        x = np.frombuffer(base64.b64decode(array["bdata"]), np.dtype(array["dtype"]))
        assert x[0] == pytest.approx(samples[0, n, 0, 0], abs=6e-4)
    assert {t["name"] for t in data if "legendgroup" in t and t.get("showlegend", True)} == {
        "hypotheses",
        "mean",
        "truth",
    }
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_page_of_90_frames_by_30_hypotheses_is_small(tmp_path):
    samples = np.random.default_rng(0).normal(size=(30, 90, J, 3))
    small = interactive_html(tmp_path / "a.html", samples[:, :1], H36M_17).stat().st_size
    large = interactive_html(tmp_path / "b.html", samples, H36M_17).stat().st_size
    assert large - small < 2e6


NAN = np.full((N, J, 3), np.nan)
GOOD = np.zeros((H, N, J, 3))
BLANK_ROW = np.where(np.arange(N)[:, None, None] == 2, np.nan, GOOD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": GOOD[0]}, r"samples: got shape \[4, 17, 3\], legal is \[H, N, 17, 3\]"),
        ({"samples": GOOD[:0]}, r"samples: got shape \[0, 4, 17, 3\]"),
        ({"samples": GOOD[:, :0]}, r"samples: got shape \[5, 0, 17, 3\]"),
        ({"samples": GOOD[:, :, :16]}, r"samples: .*16.*legal is \[H, N, 17, 3\]"),
        ({"samples": GOOD * np.nan}, "samples: found no finite joint"),
        ({"samples": BLANK_ROW}, "samples: pose 2 of 4 has no finite joint"),
        ({"truth": GOOD}, r"truth: got shape \[5, 4, 17, 3\], legal is \[4, 17, 3\]"),
        ({"truth": NAN}, "truth: found no finite joint"),
        ({"mean": NAN[:, :, :2]}, r"mean: got shape \[4, 17, 2\]"),
        ({"keypoints": NAN}, r"keypoints: got shape \[4, 17, 3\], legal is \[4, 17, 2\]"),
        ({"confidence": np.ones((N, J))}, "confidence: came without keypoints"),
        ({"keypoints": GOOD[0, ..., :2], "confidence": np.ones(J)}, r"confidence: got shape \[17\]"),
        ({"max_hypotheses": 0}, "max_hypotheses: got 0"),
    ],
)
@pytest.mark.parametrize("draw", [contact_sheet, interactive_html])
def test_bad_arrays_are_named_and_nothing_is_written(tmp_path, draw, change, message):
    arguments = {"samples": GOOD, **change}
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "x", arguments.pop("samples"), H36M_17, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("draw", "change", "message"),
    [
        (contact_sheet, {"titles": ["a"]}, "titles: got 1, legal is a list of one per pose: 4"),
        (contact_sheet, {"max_rows": 0}, "max_rows: got 0"),
        (interactive_html, {"labels": "abcd"}, "labels: got"),
        (interactive_html, {"max_frames": 0}, "max_frames: got 0"),
        (interactive_html, {"fps": 0}, "fps: got 0"),
        (interactive_html, {"fps": float("nan")}, "fps: got nan"),
    ],
)
def test_bad_options_are_named(tmp_path, draw, change, message):
    with pytest.raises(ValueError, match=message):
        draw(tmp_path / "x", GOOD, H36M_17, **change)


@pytest.mark.parametrize("draw", [contact_sheet, interactive_html])
def test_a_missing_folder_is_named_and_a_failed_write_leaves_nothing(tmp_path, draw, monkeypatch):
    with pytest.raises(ValueError, match=r"path: .*nowhere is not a folder"):
        draw(tmp_path / "nowhere" / "x", GOOD[:1, :1], H36M_17)
    (tmp_path / "x").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        draw(tmp_path / "x", GOOD[:1, :1], H36M_17)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x", "old")]


@pytest.mark.parametrize(
    ("draw", "module"), [(contact_sheet, "matplotlib.figure"), (interactive_html, "plotly.graph_objects")]
)
def test_without_the_extra_the_error_says_what_to_install(tmp_path, draw, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install jaxpose\[viz\]"):
        draw(tmp_path / "x", GOOD, H36M_17)


def test_importing_viz_imports_no_drawing_library():
    code = "import sys, jaxpose.viz; print(sorted({'matplotlib', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_pages_share_plotly_beside_them_and_know_where_else_it_is(tmp_path):
    states = np.random.default_rng(0).normal(size=(3, 2, 2, J, 3))
    pages = [path_html(tmp_path / f"{n}.html", states, H36M_17, library_beside=True) for n in "ab"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.html", "b.html", "plotly.min.js"]
    library = (tmp_path / "plotly.min.js").read_text(encoding="utf-8")
    version = re.search(r"plotly\.js v([0-9.]+)", library).group(1)
    for page in pages:
        text = page.read_text()
        local = text.index('<script src="plotly.min.js"></script>')
        other = text.index(
            f'window.Plotly || document.write(\'<script src="https://cdn.plot.ly/plotly-{version}.min.js">'
        )
        assert local < other < text.index("Plotly.newPlot(")
        assert len(text) < 100_000
    old = (tmp_path / "plotly.min.js").stat().st_mtime_ns
    path_html(tmp_path / "c.html", states, H36M_17, library_beside=True)
    assert (tmp_path / "plotly.min.js").stat().st_mtime_ns == old
    (tmp_path / "plotly.min.js").write_text("another version")
    path_html(tmp_path / "c.html", states, H36M_17, library_beside=True)
    assert (tmp_path / "plotly.min.js").read_text(encoding="utf-8") == library


def test_the_colours_of_left_and_right_are_explained_where_something_has_them(tmp_path):
    mesh, faces = np.random.default_rng(0).normal(size=(J, 3)), np.array([[0, 1, 2], [2, 3, 4]])
    pages = {
        "poses": path_html(tmp_path / "a.html", GOOD[None].repeat(2, 0), H36M_17, library_beside=True),
        "bones": mesh_html(tmp_path / "b.html", mesh, faces, joints=mesh, skeleton=H36M_17, library_beside=True),
        "mesh": mesh_html(tmp_path / "c.html", mesh, faces, observed=mesh, library_beside=True),
    }
    headers = {name: page.read_text().split("</header>")[0] for name, page in pages.items()}
    sides = {name: re.findall(r"<b style=\"color:(#\w{6})\">(left|right)</b>", h) for name, h in headers.items()}
    assert sides["poses"] == sides["bones"] == [(LEFT, "left"), (RIGHT, "right")]
    assert sides["mesh"] == []
    assert all("drag to orbit" in header for header in headers.values())


def test_a_page_of_a_path_is_escaped_and_holds_its_states(tmp_path):
    states = np.random.default_rng(0).normal(size=(3, 1, 2, J, 3))
    bad = "</script><img src=x>"
    path = path_html(
        tmp_path / "a.html",
        states,
        H36M_17,
        title=bad,
        note=bad,
        labels=[bad] * 2,
        per_line=2,
        on_floor=False,
        library_beside=True,
    )
    page = path.read_text()
    assert "<img" not in page
    assert page.count("&lt;/script&gt;&lt;img src=x&gt;") == 3  # page's title, heading, note
    _, frames = _figure_call(page)
    assert len(frames) == 3
    for state, frame in zip(states, frames, strict=True):
        array = frame["data"][1]["z"]
        z = np.frombuffer(base64.b64decode(array["bdata"]), np.dtype(array["dtype"]))
        hips = z[[0, len(z) // 2]]
        np.testing.assert_allclose(hips, -state[0, :, 0, 1], atol=6e-4)
