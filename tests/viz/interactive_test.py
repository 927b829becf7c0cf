"""A figure of frames shows the data it was given: coordinates, gaps, layers, the 2D input and the slider."""

import itertools

import numpy as np
import pytest
from drawn import J, N, bones, drawn, groups, points_of, random_pose_set, traces_of
from PIL import Image
from shared import DATA

from jaxpose.geometry.skeleton import H36M_17
from jaxpose.viz import contact_sheet, interactive_figure, interactive_html
from jaxpose.viz import scene as sc


@pytest.fixture(scope="module")
def pose_set():
    # Rounded to the centimetre first, so that bones compare as sets; the millimetre has its own test.
    return tuple(np.round(a, 2) for a in random_pose_set())


def test_every_frame_draws_exactly_the_bones_of_its_row(pose_set):
    samples, _, _, truth = pose_set
    mean = samples[0] * 0.5
    samples, mean = samples.copy(), np.round(mean, 2)
    samples[2, 1, 3] = np.nan
    given = np.where(np.arange(J)[:, None] < 9, truth, np.nan)
    figure = interactive_figure(samples, H36M_17, truth=truth, mean=mean, given=given, observed=truth[..., 0] < 9)
    assert [f.name for f in figure.frames] == [str(n) for n in range(N)]
    layers = {"hypotheses": samples, "mean": mean[None], "given": given[None], "truth": truth[None]}
    for row in range(N):
        for name, poses in layers.items():
            for joints, trace in zip(groups(), traces_of(figure, name, row=row), strict=True):
                assert drawn([trace]) == set().union(*(bones(p, H36M_17, joints) for p in poses[:, row]))


def test_bones_with_a_hidden_end_are_a_layer_of_their_own(pose_set):
    """Which bones are hidden differs from row to row; none is lost and none is drawn twice."""
    samples = pose_set[0]
    observed = np.ones((N, J), bool)
    observed[0, [2, 3]] = observed[1, 9] = False
    figure = interactive_figure(samples, H36M_17, observed=observed)
    for row in range(N):
        hidden = [j for j in range(1, J) if not observed[row, [j, H36M_17.parents[j]]].all()]
        seen = sorted(set(range(1, J)) - set(hidden))
        for name, joints in (("hidden", hidden), ("observed", seen)):
            found = drawn(traces_of(figure, f"hypotheses, {name} part", row=row))
            assert found == set().union(*(bones(p, H36M_17, joints) for p in samples[:, row]))
    assert len(hidden) == 0
    colours = [traces_of(figure, f"hypotheses, {name} part")[0].line.color for name in ("hidden", "observed")]
    assert colours == [sc.LEFT, sc.PALE_LIMBS[0]]


def test_coordinates_are_within_a_millimetre_and_first_frame_is_the_first_row():
    samples = random_pose_set()[0]
    figure = interactive_figure(samples, H36M_17)
    for path, trace in zip(sc.bone_paths(H36M_17), traces_of(figure, "hypotheses"), strict=True):
        wanted = np.concatenate([np.where(np.array(path)[:, None] >= 0, p[list(path)], np.nan) for p in samples[:, 0]])
        np.testing.assert_allclose(points_of(trace), wanted, atol=6e-4)
        assert np.isnan(wanted).any()


def test_mean_defaults_to_that_of_all_hypotheses_and_skips_gaps():
    samples = random_pose_set()[0]
    samples[1, 0, 16] = [0.3, np.nan, 0.3]
    figure = interactive_figure(samples, H36M_17, max_hypotheses=2)
    assert len(traces_of(figure, "hypotheses")[1].x) == 2 * len(sc.bone_paths(H36M_17)[1])
    wanted = samples[[0, 2, 3, 4], 0].mean(0)
    wanted[:16] = samples[:, 0, :16].mean(0)
    (dots,) = traces_of(figure, "mean", "markers")
    np.testing.assert_allclose(points_of(dots), wanted, atol=6e-4)
    assert list(dots.text) == list(H36M_17.joints)


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
    for n in range(N):
        (joints,) = traces_of(figure, "2D input", "markers", n)
        np.testing.assert_allclose(points_of(joints), keypoints[n], atol=0.051)
        order = np.argsort(confidence[n])
        assert np.all(np.diff(np.asarray(joints.marker.opacity)[order]) >= 0)
        assert np.ptp(joints.marker.opacity) > 0.3


def test_reprojected_hypotheses_lie_over_the_input_and_an_image_behind_it(tmp_path):
    samples, keypoints, _, _ = random_pose_set()
    keypoints = np.round(keypoints)
    shift = 10.0 * np.arange(len(samples))[:, None, None, None]
    Image.new("RGB", (640, 480), "red").save(tmp_path / "photo.jpg")
    options = {"keypoints": keypoints, "image": tmp_path / "photo.jpg", "max_hypotheses": 3}
    figure = interactive_figure(samples, H36M_17, reprojected=keypoints + shift, **options)
    for row in range(N):
        wanted = [bones(keypoints[row] + 10 * h, H36M_17, range(1, J)) for h in (0, 2, 4)]
        lines = traces_of(figure, "reprojected", row=row)
        assert drawn(lines) == set().union(*wanted)
    assert [trace.line.color for trace in traces_of(figure, "reprojected")] == list(sc.LIMBS)
    assert traces_of(figure, "reprojected")[0].legendgroup == traces_of(figure, "hypotheses")[0].legendgroup
    (picture,) = figure.layout.images
    assert (picture.x, picture.y, picture.sizex, picture.sizey, picture.layer) == (0, 0, 640, 480, "below")
    assert picture.source.startswith("data:image/jpeg;base64,/9j/")
    plain = contact_sheet(tmp_path / "a.png", samples, H36M_17, keypoints=keypoints).read_bytes()
    assert contact_sheet(tmp_path / "b.png", samples, H36M_17, **options).read_bytes() != plain


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
        hips = [points_of(f.data[1])[0] for f in figure.frames]
        np.testing.assert_allclose(hips, samples[0, list(rows), 0], atol=6e-4)
    else:
        assert not figure.frames
    page = interactive_html(tmp_path / "p.html", samples, H36M_17, max_frames=limit).read_text()
    assert f"2 of 2 hypotheses · {len(rows)} of {count} frames" in page


def test_gaps_and_a_single_hypothesis_are_drawn():
    samples, keypoints, _, truth = (np.round(a, 2) for a in random_pose_set())
    samples = samples[:1]
    samples[0, 0, 2:] = np.inf
    keypoints[0], truth[1] = np.nan, np.nan
    figure = interactive_figure(samples, H36M_17, keypoints=keypoints, truth=truth)
    assert drawn(traces_of(figure, "truth", row=1)) == set()
    assert drawn(traces_of(figure, "truth", row=2)) == bones(truth[2], H36M_17, range(1, J))


def test_a_diverged_hypothesis_is_drawn_in_bounded_time_and_size():
    samples = random_pose_set()[0][:, :1].copy()
    samples[0] *= 1e9
    figure = interactive_figure(samples, H36M_17)
    assert len(next(t for t in figure.data if t.name == "ground").x) < 1000
    assert np.nanmax(np.abs(figure.data[0].x)) > 1e8


def test_bone_paths_hold_every_drawn_bone_once():
    chosen = (2, 3, 9, 16)
    for keep in (range(J), chosen):
        paths = sc.bone_paths(H36M_17, tuple(j in keep for j in range(J)))
        for group, path in zip(groups(), paths, strict=True):
            pairs = [(a, b) for a, b in itertools.pairwise(path) if a >= 0 and b >= 0]
            wanted = [(H36M_17.parents[j], j) for j in group if j in keep and H36M_17.parents[j] >= 0]
            assert sorted(pairs) == sorted(wanted)
            assert not path or path[-1] == -1
    assert sc.bone_paths(H36M_17) == sc.bone_paths(H36M_17, (True,) * J)


def test_real_poses_of_the_benchmark(tmp_path):
    path = DATA.parent / "bench" / "val_frames.npz"
    if not path.is_file():
        pytest.skip(f"{path}: not there; set JAXPOSE_DATA")
    with np.load(path) as z:
        poses, keypoints = z["joints_cam"][:3], z["keypoints"][:3]
    truth = poses - poses[:, :1]
    samples = truth + np.random.default_rng(0).normal(0, 0.05, (4, *truth.shape)) * [0, 0, 1]
    figure = interactive_figure(samples, H36M_17, keypoints=keypoints, truth=truth)
    (mean,) = traces_of(figure, "mean", "markers")
    height = dict(zip(mean.text, mean.z, strict=True))
    assert height["head"] > height["hip"] > height["left_ankle"]
    assert contact_sheet(tmp_path / "a.png", samples, H36M_17, keypoints=keypoints).stat().st_size > 20_000
