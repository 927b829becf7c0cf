"""Pictures show the data they were given: coordinates, gaps, frames, escaping, and what bad input gets."""

from __future__ import annotations

import base64
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxpose.geometry.skeleton import H36M_17, Skeleton
from jaxpose.viz import contact_sheet, interactive_figure, interactive_html
from jaxpose.viz import scene as sc

H, N, J = 5, 4, 17
DATA = Path(os.environ.get("JAXPOSE_DATA", Path(__file__).parents[1].parent / "shared/data"))


def _random_pose_set(seed=0):
    rng = np.random.default_rng(seed)
    samples = rng.normal(0, 0.5, (H, N, J, 3)).astype(np.float32)
    keypoints = rng.uniform(100, 900, (N, J, 2)).astype(np.float32)
    return samples, keypoints, rng.uniform(0, 1, (N, J)), samples.mean(0) + 0.1


def _bones(points, skeleton, joints):
    """Every bone below `joints` as a set of rounded end-point pairs; those with a gap are left out."""
    pairs = [(points[skeleton.parents[j]], points[j]) for j in joints if skeleton.parents[j] >= 0]
    return {_pair(a, b) for a, b in pairs if np.isfinite([a, b]).all()}


def _pair(a, b):
    return tuple(sorted(tuple(np.round(np.asarray(p, float), 2) + 0.0) for p in (a, b)))


def _drawn(trace):
    """The segments a line trace draws, in camera axes: consecutive points without a gap between them."""
    x, y, z = (np.asarray(trace[k], float) for k in "xyz")
    points = np.stack([x, -z, y], -1)
    return {_pair(a, b) for a, b in itertools.pairwise(points) if np.isfinite([a, b]).all()}


def _groups():
    middle = sorted(set(range(J)) - set(H36M_17.left) - set(H36M_17.right))
    return [H36M_17.left, H36M_17.right, middle]


@pytest.fixture(scope="module")
def pose_set():
    # Rounded to the centimetre first, so that bones compare as sets; the millimetre has its own test.
    return tuple(np.round(a, 2) for a in _random_pose_set())


def test_every_frame_draws_exactly_the_bones_of_its_row(pose_set):
    samples, _, _, truth = pose_set
    mean = samples[0] * 0.5
    samples, mean = samples.copy(), np.round(mean, 2)
    samples[2, 1, 3] = np.nan
    figure = interactive_figure(samples, H36M_17, truth=truth, mean=mean)
    assert [f.name for f in figure.frames] == [str(n) for n in range(N)]
    for n, frame in enumerate(figure.frames):
        layers = [samples[:, n], mean[None, n], truth[None, n]]
        wanted = [
            set().union(*(_bones(p, H36M_17, joints) for p in layer))
            for layer in layers
            for joints in _groups()
        ]
        assert [_drawn(t) for t in frame.data] == wanted


def test_coordinates_are_within_a_millimetre_and_first_frame_is_the_first_row():
    samples = _random_pose_set()[0]
    figure = interactive_figure(samples, H36M_17)
    for group, path in enumerate(sc.bone_paths(H36M_17)):
        trace = figure.data[group]
        wanted = np.concatenate(
            [np.where(np.array(path)[:, None] >= 0, p[list(path)], np.nan) for p in samples[:, 0]]
        )
        got = np.stack([trace.x, -np.asarray(trace.z), trace.y], -1)
        np.testing.assert_allclose(got, wanted, atol=6e-4)
        assert np.isnan(got).any()


def test_mean_defaults_to_that_of_all_hypotheses_and_skips_gaps():
    samples = _random_pose_set()[0]
    samples[1, 0, 16] = [0.3, np.nan, 0.3]
    figure = interactive_figure(samples, H36M_17, max_hypotheses=2)
    right = sc.bone_paths(H36M_17)[1]
    hypotheses, mean = figure.data[1], figure.data[4]
    assert hypotheses.name == "hypotheses"
    assert mean.name == "mean"
    assert len(hypotheses.x) == 2 * len(right)
    wanted = samples[[0, 2, 3, 4], 0, 16].mean(0)
    at = right.index(16)
    np.testing.assert_allclose([mean.x[at], -mean.z[at], mean.y[at]], wanted, atol=6e-4)


def test_scene_does_not_move_and_people_stand(pose_set):
    samples = pose_set[0]
    figure = interactive_figure(samples, H36M_17)
    scene = figure.layout.scene
    spans = [np.ptp(scene[a].range) for a in ("xaxis", "yaxis", "zaxis")]
    ratio = scene.aspectratio
    np.testing.assert_allclose(np.array([ratio.x, ratio.y, ratio.z]) / spans, ratio.x / spans[0], rtol=1e-6)
    for frame in figure.frames:
        for trace in frame.data:
            for key in "xyz":
                low, high = scene[f"{key}axis"].range
                assert low <= np.nanmin(trace[key])
                assert np.nanmax(trace[key]) <= high
    ground = next(t for t in figure.data if t.name == "ground")
    assert np.nanmax(ground.z) <= -samples[..., 1].max()
    assert all("layout" not in f.to_plotly_json() for f in figure.frames)


def test_input_panel_follows_the_frames(pose_set):
    samples, keypoints, confidence, _ = pose_set
    keypoints = keypoints.copy()
    keypoints[2, 5] = np.nan
    figure = interactive_figure(samples, H36M_17, keypoints=keypoints, confidence=confidence)
    low, high = figure.layout.yaxis.range
    assert low > high  # v points down
    for n, frame in enumerate(figure.frames):
        joints = frame.data[-1]
        np.testing.assert_allclose(np.stack([joints.x, joints.y], -1), keypoints[n], atol=0.051)
        order = np.argsort(confidence[n])
        assert np.all(np.diff(np.asarray(joints.marker.opacity)[order]) >= 0)
        assert np.ptp(joints.marker.opacity) > 0.3


@pytest.mark.parametrize(
    ("count", "limit", "rows"), [(10, 4, [0, 3, 6, 9]), (10, 10, range(10)), (3, 300, range(3)), (7, 1, [0])]
)
def test_frames_are_thinned_with_a_constant_stride_and_the_page_says_so(tmp_path, count, limit, rows):
    samples = np.random.default_rng(0).normal(size=(2, count, J, 3))
    figure = interactive_figure(samples, H36M_17, max_frames=limit, fps=30)
    if len(rows) > 1:
        labels = [step.label for step in figure.layout.sliders[0].steps]
        assert labels == [f"frame {r} of {count} · {r / 30:.2f} s" for r in rows]
        play = figure.layout.updatemenus[0].buttons[0].args[1]
        assert play["frame"]["duration"] == pytest.approx(1000 / 30 * (rows[1] - rows[0]))
        hips = [np.asarray(f.data[1].x)[0] for f in figure.frames]
        np.testing.assert_allclose(hips, samples[0, list(rows), 0, 0], atol=6e-4)
    else:
        assert not figure.frames
    page = interactive_html(tmp_path / "p.html", samples, H36M_17, max_frames=limit).read_text()
    assert f"2 of 2 hypotheses · {len(rows)} of {count} frames" in page


def _figure_call(page):
    """The arguments data and frames that the page gives to plotly."""
    decode = json.JSONDecoder().raw_decode
    start = re.search(r"Plotly\.newPlot\(\s*\"[^\"]+\",\s*", page).end()
    data, _ = decode(page, start)
    frames, _ = decode(page, re.search(r"Plotly\.addFrames\('[^']+',\s*", page).end())
    return data, frames


def test_html_is_self_contained_escaped_and_holds_the_data(tmp_path):
    samples, keypoints, confidence, truth = _random_pose_set()
    bad = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\udcff\n"
    path = interactive_html(
        tmp_path / "page.html", samples, H36M_17, keypoints=keypoints, confidence=confidence, truth=truth,
        labels=[bad] * N, title=bad, note="scale: <i>height</i>", fps=25,
    )  # fmt: skip
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
        "hypotheses", "mean", "truth",
    }  # fmt: skip
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_page_of_90_frames_by_30_hypotheses_is_small(tmp_path):
    samples = np.random.default_rng(0).normal(size=(30, 90, J, 3))
    small = interactive_html(tmp_path / "a.html", samples[:, :1], H36M_17).stat().st_size
    large = interactive_html(tmp_path / "b.html", samples, H36M_17).stat().st_size
    assert large - small < 2e6


def _ink(path, box=None):
    """Share of pixels that are not near white, in a box given as fractions (left, top, right, bottom)."""
    with Image.open(path) as image:
        image.verify()
    pixels = np.asarray(Image.open(path).convert("RGB"), float)
    height, width = pixels.shape[:2]
    left, top, right, bottom = box or (0, 0, 1, 1)
    part = pixels[int(top * height) : int(bottom * height), int(left * width) : int(right * width)]
    return float((part.min(-1) < 200).mean())


def test_contact_sheet_is_a_picture_with_a_row_per_pose(tmp_path):
    samples, keypoints, confidence, truth = _random_pose_set()
    full = contact_sheet(
        tmp_path / "a.png", samples, H36M_17, keypoints=keypoints, confidence=confidence, truth=truth,
        titles=["$x_{1", "<b>", "long " * 50, "\udcff\n"], note="scale: height 1.75 m",
    )  # fmt: skip
    small = contact_sheet(tmp_path / "b.png", samples, H36M_17, max_rows=2)
    with Image.open(full) as a, Image.open(small) as b:
        assert a.format == "PNG"
        assert a.height > b.height + 400
        assert a.width > b.width + 200
    for column in range(4):
        left = 0.06 + 0.235 * column
        assert 0.01 < _ink(full, (left, 0.1, left + 0.2, 0.85)) < 0.7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_contact_sheet_draws_up_as_up_and_the_truth_in_its_own_colour(tmp_path):
    """A T: the arms are at the upper end of the trunk, the joint at +x on the right."""
    skeleton = Skeleton("stick", ("root", "head", "l", "r"), (-1, 0, 1, 1), (2,), (3,), ())
    pose = np.array([[0, 0, 0], [0, -1.0, 0], [0.5, -1.0, 0], [-0.5, -1.0, 0]])[None]
    path = contact_sheet(tmp_path / "a.png", pose[None], skeleton)
    pixels = np.asarray(Image.open(path).convert("RGB"), int)
    front = pixels[: int(pixels.shape[0] * 0.7), : pixels.shape[1] // 3]
    blue = np.argwhere(np.abs(front - [0, 114, 178]).sum(-1) < 30)
    red = np.argwhere(np.abs(front - [213, 94, 0]).sum(-1) < 30)
    trunk = np.argwhere(np.abs(front - [138, 145, 158]).sum(-1) < 30)
    assert max(blue[:, 0].mean(), red[:, 0].mean()) < trunk[:, 0].mean() - 20
    assert blue[:, 1].min() > trunk[:, 1].mean() - 5 > red[:, 1].mean()
    with_truth = contact_sheet(tmp_path / "b.png", pose[None], skeleton, truth=pose + 0.05)
    dark = [(np.asarray(Image.open(p).convert("RGB")).max(-1) < 50).sum() for p in (path, with_truth)]
    assert dark[1] > dark[0] + 100


def test_gaps_and_a_single_hypothesis_are_drawn(tmp_path):
    samples, keypoints, _, truth = _random_pose_set()
    samples, keypoints, truth = samples[:1].copy(), keypoints.copy(), truth.copy()
    samples[0, 0, 2:] = np.inf
    keypoints[0], truth[1] = np.nan, np.nan
    common = {"keypoints": keypoints, "truth": truth}
    assert _ink(contact_sheet(tmp_path / "a.png", samples, H36M_17, **common)) > 0.005
    figure = interactive_figure(samples, H36M_17, **common)
    assert np.isnan(figure.frames[1].data[6].x).all()
    assert np.isfinite(figure.frames[2].data[6].x).any()


def test_a_diverged_hypothesis_is_drawn_in_bounded_time_and_size(tmp_path):
    samples = _random_pose_set()[0][:, :1].copy()
    samples[0] *= 1e9
    assert _ink(contact_sheet(tmp_path / "a.png", samples, H36M_17)) > 0.001
    figure = interactive_figure(samples, H36M_17)
    assert len(next(t for t in figure.data if t.name == "ground").x) < 1000
    assert np.nanmax(np.abs(figure.data[0].x)) > 1e8


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
    monkeypatch.setattr(sc.os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
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


def test_bone_paths_hold_every_bone_once():
    for group, path in zip(_groups(), sc.bone_paths(H36M_17), strict=True):
        bones = [(a, b) for a, b in itertools.pairwise(path) if a >= 0 and b >= 0]
        assert sorted(bones) == sorted((H36M_17.parents[j], j) for j in group if H36M_17.parents[j] >= 0)
        assert path[-1] == -1


def test_real_poses_of_the_benchmark(tmp_path):
    path = DATA.parent / "bench" / "val_frames.npz"
    if not path.is_file():
        pytest.skip(f"{path}: not there; set JAXPOSE_DATA")
    with np.load(path) as z:
        poses, keypoints = z["joints_cam"][:3], z["keypoints"][:3]
    truth = poses - poses[:, :1]
    samples = truth + np.random.default_rng(0).normal(0, 0.05, (4, *truth.shape)) * [0, 0, 1]
    figure = interactive_figure(samples, H36M_17, keypoints=keypoints, truth=truth)
    middle = figure.data[5]
    names = list(middle.text)
    assert middle.z[names.index("head")] > middle.z[names.index("hip")]
    assert contact_sheet(tmp_path / "a.png", samples, H36M_17, keypoints=keypoints).stat().st_size > 20_000
