"""The viewer in headless Chromium: it draws what the page holds, plays, answers keys and pointers, logs no error."""

import base64
import io

import numpy as np
import pytest
from browser import browser
from drawn import J, Read
from PIL import Image

from jaxpose.app.viz import mesh_page, motion_page, skins_of
from jaxpose.geometry.body import full_rotations
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.anny_body import anny_body

F = 20


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two people who move apart, one missing in the end, with a joint that is not seen."""
    rng = np.random.default_rng(0)
    rest = np.asarray(anny_body().shape().joints[:J]) * [1, -1, -1]
    samples = rest - rest[:1] + rng.normal(0, 0.04, (12, 2 * F, J, 3))
    person, frame = np.repeat([0, 1], F), np.tile(np.arange(F), 2)
    root = np.stack([np.where(person, 0.5, -0.5) + 0.02 * frame * (2 * person - 1), 0 * frame, 4 + 0 * frame], -1)
    keypoints = rng.uniform(0, 500, (2 * F, J, 2))
    keypoints[3, 2] = np.nan
    rows = {"frame": frame, "person": person, "root": root, "keypoints": keypoints, "unusual": frame == 2}
    keep = np.arange(2 * F) < 2 * F - 4
    shown = {name: value[keep] for name, value in rows.items()}
    made = motion_page(samples[:, keep], H36M_17, **shown, fps=30, title="<i>two</i>")
    return made.write(tmp_path_factory.mktemp("page") / "two.html")


def colours(chromium):
    """The pixels of the 3D canvas, [height, width, 3]."""
    data = chromium.run("viewer.draw(); return viewer.canvas.toDataURL('image/png').split(',')[1]")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")).astype(int)


def test_the_page_draws_plays_and_answers_without_an_error(chromium, page):
    chromium.size(1000, 700)
    chromium.media(prefers_color_scheme="light", prefers_reduced_motion="reduce")
    chromium.open(page)
    light = colours(chromium)
    saturated = np.ptp(light, axis=-1) > 60
    assert saturated.mean() > 0.003  # people, in colours; the stage and the floor are grey
    assert chromium.run("return document.getElementById('title').textContent") == "<i>two</i>"
    # steps
    chromium.press("ArrowRight")
    chromium.press("ArrowRight")
    assert chromium.run("return viewer.timeline.step") == 2
    chromium.until("document.getElementById('now').textContent.startsWith('frame 2')")
    chromium.press("End")
    assert chromium.run("return viewer.timeline.step") == F - 1
    chromium.press("Home")
    chromium.press(" ")
    chromium.until("viewer.timeline.step > 4")
    assert chromium.run("return document.getElementById('play').getAttribute('aria-label')") == "Pause"
    chromium.press(" ")
    step = chromium.run("return viewer.timeline.step")
    assert chromium.run("return new Promise((done) => setTimeout(() => done(viewer.timeline.step), 300))") == step
    # views
    for key, yaw in (("2", -np.pi / 2), ("1", 0)):
        chromium.press(key)
        assert chromium.run("return viewer.camera.yaw") == pytest.approx(yaw)
    chromium.press("a")
    assert chromium.run("return viewer.camera.yaw") != pytest.approx(0)
    before = chromium.run("return viewer.camera.distance")
    chromium.press("+")
    assert chromium.run("return viewer.camera.distance") < before
    chromium.press("0")
    # what is shown
    chromium.press("h")
    assert chromium.run("return viewer.show.hidden.has('hypotheses')")
    chromium.press("u")
    assert not chromium.run("return viewer.show.hidden.has('capsules')")
    assert np.abs(colours(chromium) - light).max(-1).mean() > 1
    chromium.press("?")
    assert "Reading the picture" in chromium.run("return document.getElementById('keys').innerText")
    chromium.press("Escape")
    chromium.run("document.getElementById('theme').click()")
    assert colours(chromium)[5, 5].max() < 60 < light[5, 5].min()
    assert chromium.log() == []


def test_positions_in_the_browser_are_those_of_the_file(chromium, page):
    chromium.open(page)
    read = Read(page.read_text())
    for place, layer in enumerate(read.content["layers"]):
        wanted = read.positions(layer["poses"])
        got = chromium.run(f"return [...viewer.show.layers[{place}].poses].map((v) => (v === v ? v : null))")
        np.testing.assert_allclose(np.array(got, float).reshape(wanted.shape), wanted, atol=1e-5)
    radius = read.whole(read.content["uncertainty"]["radius_mm"])
    assert chromium.run("return viewer.show.uncertainty.radius(1, 7, 5)") == radius[1, 7, 5]
    ends = [radius[(radius > 0) & (radius < 65535)].min(), radius[radius < 65535].max()]
    assert chromium.run("return viewer.show.range()") == ends
    assert chromium.run(f"return {[*map(int, ends)]}.map((mm) => viewer.show.shade(mm))") == [0, 64]
    assert chromium.run("return document.querySelector('#scale .ramp').textContent").endswith(
        f"{ends[0]} mm{ends[1]} mm"
    )
    assert chromium.run("return [viewer.show.marks.missing(0, 3, 2), viewer.show.marks.missing(0, 3, 3)]") == [
        True,
        False,
    ]
    assert chromium.run("return [2, 3].map((f) => viewer.show.marks.unusual(1, f))") == [True, False]


@pytest.mark.slow
def test_a_joint_is_told_by_pointer_key_and_touch(chromium, page):
    chromium.open(page)
    chromium.press("j")
    chromium.until("document.getElementById('tip').textContent")
    said = chromium.run("return document.getElementById('tip').textContent").split("\n")
    assert said[0] == "hip · person 0"
    assert said[1].startswith("x −0.5")
    assert said[1].endswith("m")
    assert said[2].startswith("90 % radius")
    chromium.press("Escape")
    where = chromium.run(
        """const box = viewer.canvas.getBoundingClientRect(), size = [box.width, box.height];
        const p = viewer.show.joint(viewer.show.main, 1, viewer.timeline.step, 9);
        const at = projected(viewer.camera.matrix(size[0] / size[1]), p, size);
        return [Math.round(at[0] + box.left), Math.round(at[1] + box.top)]"""
    )
    for kind in ("mouse", "touch"):
        chromium.run("viewer.select(null)")
        chromium.drag(tuple(where), (0, 0), kind)
        chromium.until("viewer.selected !== null")
        assert chromium.run("return [viewer.selected.person, viewer.selected.joint]") == [1, 9]
    yaw = chromium.run("return viewer.camera.yaw")
    chromium.drag(tuple(where), (120, 0), "touch")
    assert chromium.run("return viewer.camera.yaw") != pytest.approx(yaw)


def test_a_hash_opens_a_step_and_a_phone_sees_it_all(chromium, page):
    chromium.size(390, 844, phone=True)
    chromium.media(prefers_color_scheme="dark")
    chromium.open(page.resolve().as_uri() + "#7")
    assert chromium.run("return viewer.timeline.step") == 7
    assert chromium.run("return document.documentElement.scrollWidth") <= 390
    assert chromium.run("return document.getElementById('legend').open") is False
    image = colours(chromium)
    assert image[3, 3].max() < 60
    columns = np.flatnonzero((np.ptp(image, axis=-1) > 60).any(0))
    assert columns.min() > 0  # both people are inside
    assert columns.max() < image.shape[1] - 1
    assert chromium.log() == []


@pytest.mark.slow
def test_a_skin_is_drawn_where_its_vertices_are(chromium, tmp_path):
    """The same body by its skin and by its vertices covers the same pixels."""
    body, rng = anny_body(), np.random.default_rng(1)
    pose, root = rng.normal(0, 0.3, (3, 21, 3)), rng.normal(0, 0.3, (3, 3))
    posed = body.shape().pose(full_rotations(body, pose, root))
    by_skin = mesh_page(skins_of(posed), body.faces).write(tmp_path / "skin.html")
    stiff = skins_of(posed)[0]._replace(rest=posed.skin()[2], transforms=np.tile(np.eye(3, 4), (3, 24, 1, 1)))
    by_vertices = mesh_page([stiff], body.faces).write(tmp_path / "vertices.html")
    chromium.size(800, 700)
    chromium.media(prefers_color_scheme="light")
    seen = []
    for path in (by_skin, by_vertices):
        chromium.open(path)
        chromium.run("document.querySelector('footer').remove()")  # of one line or two
        chromium.until("viewer.canvas.clientHeight === document.getElementById('space').clientHeight")
        chromium.run("viewer.camera.box = {low: [-1, -1.2, -1], high: [1, 1, 1]}; viewer.timeline.go(2); viewer.draw()")
        chromium.run("viewer.camera.look('start', 1, 1)")
        image = colours(chromium)
        seen.append(image[..., 2] - image[..., 0] > 50)
    assert seen[1].sum() > 2000
    assert (seen[0] != seen[1]).sum() < 0.02 * seen[1].sum()
    assert chromium.log() == []
