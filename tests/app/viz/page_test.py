"""Pages: self-contained, escaped, whole or not there; what bad arrays and options get."""

import base64
import os
import re
import sys

import numpy as np
import pytest
from drawn import H, J, N, Read, random_pose_set
from shared import refuses

from jaxpose.app.viz import Skin, contact_sheet, mesh_page, motion_page, path_page
from jaxpose.geometry.skeleton import H36M_17

BAD = "</script><script>alert(1)</script><img src=x onerror=alert(2)>@ARRAYS@<!--\udcff\n"


def write_motion(path, samples, skeleton, **options):
    return motion_page(samples, skeleton, **options).write(path)


def _pages(tmp_path):
    """A page of each kind, whose texts are hostile."""
    samples, keypoints, confidence, truth = random_pose_set()
    still = np.tile(np.eye(3, 4), (3, 1, 1, 1))
    skins, faces = [Skin(truth[0], np.ones((J, 1)), still, truth[0, :1])] * 2, np.array([[0, 1, 2], [2, 3, 4]])
    said = {"title": BAD, "note": BAD}
    flat = {"keypoints": keypoints, "confidence": confidence}
    yield motion_page(samples, H36M_17, labels=[BAD] * N, truth=truth, mean_name=BAD, fps=25, **flat, **said)
    yield path_page(samples[None].repeat(3, 0), H36M_17, labels=[BAD] * N, per_line=2, **flat, **said)
    yield mesh_page(skins, faces, names=[BAD, "b"], labels=[BAD] * 3, observed=truth[:3], **said)


def test_pages_ask_no_network_and_hold_hostile_text_as_text(tmp_path):
    for number, page in enumerate(_pages(tmp_path)):
        path = page.write(tmp_path / f"{number}.html")
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"<(script|link|img|iframe|video|source)[^>]*\b(src|href)\s*=", text)
        assert not re.search(r"(https?:)?//[a-z0-9-]+\.[a-z]", text)
        assert "default-src 'none'" in text
        assert "url(" not in text
        assert not re.search(r"^(import|export)\b|import\(", text, re.MULTILINE)  # modules are joined
        assert "alert(1)</script>" not in text
        assert text.count("</script>") == 3
        found = Read(text).content
        assert found["title"].startswith("</script><script>alert(1)")
        assert found["note"].isprintable()
        assert "@ARRAYS@" in found["note"]


def test_a_notebook_shows_the_page_in_a_frame_of_its_own():
    page = motion_page(random_pose_set()[0], H36M_17, title='a "b" <c>')
    shown = page._repr_html_()
    assert shown.startswith('<iframe title="a &quot;b&quot; &lt;c&gt;"')
    assert "<script" not in shown
    assert base64.b64decode(page.arrays)


NAN = np.full((N, J, 3), np.nan)
GOOD = np.zeros((H, N, J, 3))
BLANK_ROW = np.where(np.arange(N)[:, None, None] == 2, np.nan, GOOD)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": GOOD[0]}, r"samples: needed \[H, N, 17, 3\], got \[4, 17, 3\]"),
        ({"samples": GOOD * np.nan}, "samples: found no finite joint"),
        ({"samples": BLANK_ROW}, "samples: pose 2 of 4 has no finite joint"),
        ({"truth": GOOD}, r"truth: needed \[4, 17, 3\], got \[5, 4, 17, 3\]"),
        ({"keypoints": NAN}, r"keypoints: needed \[4, 17, 2\], got \[4, 17, 3\]"),
        ({"confidence": np.ones((N, J))}, "confidence: came without keypoints"),
        ({"keypoints": GOOD[0, ..., :2], "confidence": np.ones(J)}, r"confidence: needed \[4, 17\], got \[17\]"),
        ({"max_hypotheses": 0}, "max_hypotheses: got 0"),
    ],
)
@pytest.mark.parametrize("draw", [contact_sheet, write_motion])
def test_bad_arrays_are_named_and_nothing_is_written(tmp_path, draw, change, message):
    arguments = {"samples": GOOD, **change}
    refuses(message, draw, tmp_path / "x", arguments.pop("samples"), H36M_17, **arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("draw", [contact_sheet, write_motion])
def test_a_missing_folder_is_named_and_a_failed_write_leaves_nothing(tmp_path, draw, monkeypatch):
    refuses(r"path: .*nowhere is not a folder", draw, tmp_path / "nowhere" / "x", GOOD[:1, :1], H36M_17)
    (tmp_path / "x").write_text("old")
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        draw(tmp_path / "x", GOOD[:1, :1], H36M_17)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x", "old")]


def test_without_the_extra_the_error_says_what_to_install_and_pages_need_none(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install \"jaxpose\[viz\]\"") as error:
        contact_sheet(tmp_path / "x", GOOD, H36M_17)
    assert isinstance(error.value, ValueError)  # with which a command ends in one line
    assert write_motion(tmp_path / "x", GOOD, H36M_17).stat().st_size > 10_000
