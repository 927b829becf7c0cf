"""A figure of meshes shows the vertices it was given, where and when it says; a sheet, their outlines and light."""

import itertools
import re

import numpy as np
import pytest
from drawn import bones, drawn
from PIL import Image

from jaxpose.geometry.skeleton import H36M_17
from jaxpose.viz.mesh import mesh_figure, mesh_html
from jaxpose.viz.sheet import _painted, mesh_sheet

H, F, V = 3, 5, 9
FACES = np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6], [6, 7, 8]])


@pytest.fixture
def meshes():
    return np.random.default_rng(0).normal(0, 0.5, (H, F, V, 3)).astype(np.float32)


def traces(figure, name, row=None):
    """The traces of that name as the figure opens, or in a row."""
    numbers = [i for i, t in enumerate(figure.data) if t.name == name and t.x[0] is not None]
    if row is None:
        return [figure.data[i] for i in numbers]
    moved = dict(zip(figure.frames[row].traces, figure.frames[row].data, strict=True))
    return [moved[i] for i in numbers]


def points(trace, up="y"):
    """A trace's points [*, 3] in the axes that were given: of plotly's x right, y into the screen, z up."""
    x, y, z = (np.asarray(trace[k], float) for k in "xyz")
    return np.stack([x, z, -y] if up == "y" else [x, -z, y], -1)


@pytest.mark.parametrize("up", ["y", "-y"])
def test_every_frame_shows_every_body_with_its_faces(meshes, up):
    truth = meshes[0] * 0.5
    figure = mesh_figure(meshes, FACES, up=up, truth=truth, truth_faces=FACES[:2], names=["a", "b", "c"])
    for row in range(F):
        for name, wanted in zip(("a", "b", "c", "truth"), (*meshes, truth), strict=True):
            (trace,) = traces(figure, name, row)
            np.testing.assert_allclose(points(trace, up), wanted[row], atol=1e-6)
            np.testing.assert_allclose(points(traces(figure, name)[0], up), wanted[0], atol=1e-6)
    for name, faces in (("b", FACES), ("truth", FACES[:2])):
        (trace,) = traces(figure, name)
        np.testing.assert_array_equal(np.stack([trace.i, trace.j, trace.k], -1), faces)
    colours = [traces(figure, name)[0].color for name in ("a", "b", "c", "truth")]
    assert len(set(colours)) == 4
    low, high = zip(*(figure.layout.scene[f"{a}axis"].range for a in "xyz"), strict=True)
    everything = np.concatenate([points(t, "-y") for f in figure.frames for t in f.data]) @ np.array(
        [[1, 0, 0], [0, 0, -1], [0, 1, 0]]
    )
    assert (everything >= low).all()
    assert (everything <= high).all()


def test_skeletons_and_observed_points_are_those_of_the_row_with_gaps(meshes):
    rng = np.random.default_rng(1)
    joints = np.round(rng.normal(0, 0.4, (H, F, 17, 3)), 2)
    observed = np.round(rng.normal(0, 0.4, (F, 6, 3)), 2)
    observed[2, 3] = np.nan
    figure = mesh_figure(meshes, FACES, up="-y", joints=joints, skeleton=H36M_17, observed=observed)
    for row in range(F):
        shown = zip(traces(figure, "joints", row), traces(figure, "joints"), strict=True)
        lines = [trace for trace, whole in shown if whole.mode == "lines"]
        wanted = set().union(*(bones(pose, H36M_17, range(1, 17)) for pose in joints[:, row]))
        assert drawn([line.update(type="scatter3d") for line in lines]) == wanted
        (dots,) = traces(figure, "observed", row)
        np.testing.assert_allclose(points(dots, "-y"), observed[row], atol=6e-4)
    assert all(t.opacity == 0.5 for t in figure.data if t.type == "mesh3d")
    alone = mesh_figure(meshes[0], FACES)
    assert [t.opacity for t in alone.data if t.type == "mesh3d"] == [1.0]


def test_bodies_beside_one_another_keep_their_shape_and_take_along_what_is_theirs(meshes):
    joints = np.repeat(meshes[:, :, :1], 17, axis=2)
    options = {"truth": meshes[0] + 3, "observed": meshes[0, :, :2] + 3, "joints": joints, "skeleton": H36M_17}
    figure = mesh_figure(meshes, FACES, arrange="beside", **options)
    shown = [[points(traces(figure, f"body {h}", row)[0]) for row in range(F)] for h in range(H)]
    true = [points(traces(figure, "truth", row)[0]) for row in range(F)]
    edges = [(np.min(np.array(s)[..., 0]), np.max(np.array(s)[..., 0])) for s in (true, *shown)]
    for (_, right), (left, _) in itertools.pairwise(edges):
        assert left - right == pytest.approx(0.25, abs=1e-5)
    for got, given in zip((true, *shown), (meshes[0] + 3, *meshes), strict=True):
        moved = np.array(got) - given
        np.testing.assert_allclose(moved, np.broadcast_to([moved[0, 0, 0], 0, 0], moved.shape), atol=1e-5)
    for row in range(F):
        np.testing.assert_allclose(points(traces(figure, "observed", row)[0]), true[row][:2], atol=6e-4)
        dots = points(traces(figure, "joints", row)[-1]).reshape(H, 17, 3)
        np.testing.assert_allclose(dots[:, 4], [s[row][0] for s in shown], atol=6e-4)


@pytest.mark.parametrize(
    ("fps", "limits", "rows"),
    [
        (30, {}, range(40)),
        (120, {}, range(0, 40, 4)),
        (None, {"max_frames": 10}, range(0, 40, 4)),
        (10, {"max_frames": 39}, range(0, 40, 2)),
        (None, {"max_megabytes": 20 * V * 8 / 1e6}, range(0, 40, 5)),
    ],
)
def test_frames_are_left_out_evenly_and_play_keeps_the_motions_speed(tmp_path, fps, limits, rows):
    mesh = np.random.default_rng(0).normal(size=(40, V, 3)).astype(np.float32)
    labels = [f"label {n}" for n in range(40)]
    figure = mesh_figure(mesh, FACES, fps=fps, labels=labels, **limits)
    times = [f" · {row / fps:.2f} s" if fps else "" for row in rows]
    words = [f"frame {r} of 40{t} · label {r}" for r, t in zip(rows, times, strict=True)]
    assert [step.label for step in figure.layout.sliders[0].steps] == words
    for frame, row in zip(figure.frames, rows, strict=True):
        np.testing.assert_allclose(points(frame.data[0]), mesh[row], atol=1e-6)
    if fps:
        play = figure.layout.updatemenus[0].buttons[0].args[1]
        assert play["frame"]["duration"] == pytest.approx(1000 * (rows[1] - rows[0]) / fps)
    page = mesh_html(tmp_path / "p.html", mesh, FACES, fps=fps, library_beside=True, **limits).read_text()
    apart = f", {rows[1] - rows[0]} apart" if rows[1] - rows[0] > 1 else ""
    assert f"1 body · {V} vertices · {len(rows)} of 40 frames{apart} · world metres, y up" in page


def test_a_page_is_binary_and_escapes_what_it_is_told(tmp_path):
    mesh = np.random.default_rng(0).normal(size=(2, 10, 2000, 3)).astype(np.float32)
    sizes = []
    for num in (2, 10):
        path = mesh_html(
            tmp_path / "p.html",
            mesh[:, :num],
            FACES,
            title="<b>t",
            note="<i>n",
            names=["<u>", "w"],
            labels=["<s>"] * num,
            library_beside=True,
        )
        sizes.append(path.stat().st_size)
    assert (sizes[1] - sizes[0]) / (8 * 2 * 2000) == pytest.approx(20, rel=0.1)
    page = path.read_text()
    assert not re.search(r"<(b>t|i>n|u>|s>)", page)
    assert "&lt;b&gt;t" in page
    assert (tmp_path / "plotly.min.js").is_file()


def test_what_stands_still_is_in_no_frame(meshes):
    figure = mesh_figure(meshes[0], FACES, truth=meshes[1, 0], observed=meshes[1, 0])
    assert {figure.data[i].name for frame in figure.frames for i in frame.traces} == {"body"}
    assert not mesh_figure(meshes[0, 0], FACES).frames
    assert [t.name for t in mesh_figure(meshes, FACES, max_bodies=2).data][:2] == ["body 0", "body 2"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"fps": 0}, "fps: got 0"),
        ({"up": "z"}, "up: got 'z'"),
        ({"arrange": "row"}, "arrange: got 'row'"),
        ({"names": ["a"]}, "names: got 1, legal are 3"),
        ({"labels": ["a"]}, "labels: got 1, legal are 5"),
        ({"truth": np.zeros((4, V, 3))}, "truth: got 4 frames, legal are 5 or 1"),
        ({"truth": np.zeros((F, 3, 3))}, r"truth_faces: got vertices 0\.\.8, legal are 0\.\.2"),
        ({"joints": np.zeros((H, F, 17, 3))}, "skeleton: got None"),
        ({"joints": np.zeros((H, F, 16, 3)), "skeleton": H36M_17}, r"joints: got \[3, 5, 16, 3\]"),
        ({"max_frames": 0}, "max_frames: got 0"),
    ],
)
def test_what_does_not_fit_is_named(meshes, options, said):
    with pytest.raises(ValueError, match=said):
        mesh_figure(meshes, FACES, **options)


def box(size):
    """A closed box about the origin, faces outwards."""
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * np.array(size) / 2
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return corners, np.array([[a, b, c] for a, *rest in quads for b, c in (rest[:2], rest[1:])])


def test_a_sheet_shows_the_outline_of_each_view_at_one_scale(tmp_path):
    vertices, faces = box([0.5, 1.5, 0.25])
    path = mesh_sheet(tmp_path / "a.png", np.stack([vertices, vertices * 0.5]), faces)
    picture = np.asarray(Image.open(path).convert("RGB")).astype(int)
    painted = np.ptp(picture, axis=-1) > 40
    half, third = picture.shape[0] // 2, picture.shape[1] // 3
    area = [[painted[r * half :][:half, c * third :][:, :third].sum() for c in range(3)] for r in range(2)]
    # front 0.5 wide, side 0.25, oblique 0.6 * 0.5 + 0.8 * 0.25
    np.testing.assert_allclose(np.array(area) / area[0][0], [[1, 1, 0.5], [0.25, 0.25, 0.125]], atol=0.04)
    with pytest.raises(ValueError, match="titles: got 1"):
        mesh_sheet(tmp_path / "a.png", np.stack([vertices] * 2), faces, titles=["a"])


def test_faces_are_painted_from_far_to_near_and_lit_by_their_angle_to_the_lamp():
    vertices, faces = box([1, 1, 1])
    two = np.concatenate([vertices, vertices * 0.3 + [0, 0, 2]])
    front = _painted(two, np.concatenate([faces + 8, faces]), "front")
    heights = [np.ptp(path.vertices[:, 1]) for path in front.get_paths()]
    np.testing.assert_allclose(heights, [1, 1, 0.3, 0.3], atol=1e-6)  # only what looks at the viewer
    oblique = _painted(vertices, faces, "oblique")  # from +x and +z: those faces, as the viewer has them
    lamp = np.array([-0.4, 0.6, 0.7]) / np.sqrt(1.01)
    wanted = sorted(0.35 + 0.65 * lamp @ normal for normal in ([-0.8, 0, 0.6], [0.6, 0, 0.8]))
    light = np.unique(np.asarray(oblique.get_facecolor())[:, 2].round(5))
    assert light[1] / light[0] == pytest.approx(wanted[1] / wanted[0], rel=1e-4)
