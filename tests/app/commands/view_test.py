"""`jaxpose view`: what a dragged joint does to the answer, that no answer compiles anew, and what bad input gets."""

import functools
import http.client
import json
import socket
import threading

import numpy as np
import pytest
from browser import browser
from compilations import counted
from drawn import Read
from shared import refuses

from jaxpose.app.commands import view as command
from jaxpose.app.commands.options import View
from jaxpose.app.viz.scenes import Page
from jaxpose.files import ASSETS
from jaxpose.geometry.axes import from_camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.results import read_result
from jaxpose.model import load

J = len(H36M_17.joints)
WRIST, ELBOW, HIP = (H36M_17.joints.index(name) for name in ("left_wrist", "left_elbow", "hip"))


@pytest.fixture(scope="module")
def posed(tmp_path_factory):
    """A result of three frames, in a world with z up: a person of the bundled clip, with 40 mm of spread."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        joints = z["joints_cam"][:3]
    samples = joints + np.random.default_rng(0).normal(0, 0.04, (50, 3, J, 3))
    world = from_camera(samples.astype(np.float32), "z")
    root, mean = world[:, :, 0], world.mean(0)
    away = world - mean
    path = tmp_path_factory.mktemp("view") / "clip.npz"
    arrays = {
        **{"samples": world - world[:, :, :1], "mean": mean - root.mean(0)[:, None], "root": root},
        "covariance": np.einsum("hnji,hnjk->njik", away, away) / 50,
        **{"joints": H36M_17.joints, "up": "z", "frame": np.arange(3), "person": np.zeros(3, int)},
    }
    np.savez(path, **arrays)
    return path, joints


def test_what_the_model_is_told(posed):
    result = read_result(posed[0], H36M_17)
    place = np.array([1.0, 2, 3])
    joints, noise = command.observed(result, 1, {WRIST: place}, H36M_17)
    np.testing.assert_allclose(joints[WRIST], place)
    assert noise[WRIST] == 0
    arm = next(part for part in H36M_17.parts if WRIST in part)
    assert np.flatnonzero(np.isnan(joints).any(-1)).tolist() == sorted(set(arm) - {WRIST})
    rest = sorted(set(range(J)) - set(arm))
    np.testing.assert_allclose(joints[rest], result.mean[1, rest], atol=1e-6)
    np.testing.assert_allclose(noise[rest], np.maximum(result.std[1, rest], 0.01), rtol=1e-6)


def test_a_dragged_joint_is_where_it_was_put_the_pose_follows_and_nothing_is_compiled_anew(posed):
    result = read_result(posed[0], H36M_17)
    posterior = command.make_posterior(load("pose17_fast"), 20)
    start = posterior(result, 0, {})
    assert start.shape == (20, J, 3)
    np.testing.assert_allclose(start.mean(0), result.mean[0], atol=0.12)
    raised = result.mean[0, WRIST] + [0, -0.25, -0.1]
    with counted() as made:
        answer = posterior(result, 0, {WRIST: raised})
        both = posterior(result, 2, {WRIST: raised, HIP: result.mean[2, HIP]})
    assert made.count == 0
    # exact joints have no noise: all poses have them there, to the last bits of float32
    np.testing.assert_allclose(answer[:, WRIST], np.broadcast_to(raised, (20, 3)), atol=1e-5)
    np.testing.assert_allclose(both[:, HIP], np.broadcast_to(result.mean[2, HIP], (20, 3)), atol=1e-5)
    assert answer[:, ELBOW, 1].mean() < start[:, ELBOW, 1].mean() - 0.03  # y is down
    forearm = np.linalg.norm(answer[:, WRIST] - answer[:, ELBOW], axis=-1)
    assert 0.15 < np.median(forearm) < 0.4  # metres
    legs = [H36M_17.joints.index(f"{side}_ankle") for side in ("left", "right")]
    assert np.abs(answer[:, legs].mean(0) - start[:, legs].mean(0)).max() < 0.15


def fits(result, row, dragged):
    poses = np.tile(result.mean[row] + 1, (7, 1, 1))
    for joint, place in dragged.items():
        poses[:, joint] = place
    return poses


@pytest.fixture(scope="module")
def server(posed):
    result = read_result(posed[0], H36M_17)
    with command.Server("127.0.0.1", 0) as made:
        made.page = command.page(result, H36M_17, "clip", "drag a joint")
        made.answer = functools.partial(command.answer, fits, result, H36M_17)
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def said(server, method="POST", path="/answer", body="", **headers):
    """Status and text of a reply."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    headers = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    return (reply := connection.getresponse()).status, reply.read().decode()


def test_the_page_is_the_result_and_an_answer_has_the_joint_where_it_was_dragged(posed, server):
    """In the axes of the file, z up, within the 0.25 mm of pages."""
    result = read_result(posed[0], H36M_17)
    np.testing.assert_allclose(result.mean, posed[1], atol=0.03)
    np.testing.assert_allclose(result.std, 0.04, rtol=0.25)
    status, text = said(server, "GET", "/")
    page = Read(text)
    assert status == 200
    assert "default-src 'none'; connect-src 'self'" in text
    assert page.content["rows"] == [[0, 1, 2]]
    np.testing.assert_allclose(page.poses("mean")[0], result.mean, atol=2.6e-4)
    evenly = np.linspace(0, 49, 40).round().astype(int)
    np.testing.assert_allclose(page.poses("hypotheses"), result.samples[evenly], atol=2.6e-4)
    reply = said(server, body='{"row": 2, "joints": {"left_wrist": [0.1, 4, 1.3], "hip": [0, 4, 1]}}')
    answer = Read(Page(**json.loads(reply[1])).html())
    expected = fits(result, 2, {WRIST: [0.1, -1.3, 4], HIP: [0, -1, 4]})  # camera axes: y down, z forward
    np.testing.assert_allclose(answer.poses("hypotheses")[:, 0], expected, atol=2.6e-4)
    np.testing.assert_allclose(answer.poses("mean")[0, 0], expected[0], atol=2.6e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Host": "evil.example"}, "Host: got 'evil.example', must be an address or localhost"),
        ({"Content_Type": "text/plain"}, "Content-Type: got text/plain, must be application/json"),
        ({"Content_Length": "9" * 20}, "Content-Length: got '99999999999999999999', must be from 0 to 100000"),
        ({"path": "/other"}, "path: got '/other', must be / (GET) or /answer (POST)"),
        ({"method": "PUT"}, "Unsupported method ('PUT')"),
        ({"body": "{"}, 'request: must be JSON {"row": N, "joints": {name: [x, y, z]}}'),
        ({"body": "[" * 99_999}, "request: must be JSON"),
        ({"body": '{"row": 0, "joints": 3}'}, "request: must be JSON"),
        ({"body": '{"row": 3, "joints": {}}'}, "row: got 3, must be a whole number from 0 to 2"),
        ({"body": '{"row": 0, "joints": {"wing": [0, 0, 1]}}'}, "joints: got 'wing', must be one of hip, right_hip"),
        ({"body": '{"row": 0, "joints": {"hip": [0, NaN, 1]}}'}, "joints: hip is [0, nan, 1], must be three numbers"),
        ({"body": '{"row": 0, "joints": {"hip": [0, 1]}}'}, "joints: hip is [0, 1], must be three numbers of metres"),
    ],
)
def test_bad_requests_get_one_line_and_do_not_end_the_server(server, change, message):
    status, text = said(server, **change)
    assert 400 <= status < 600
    assert json.loads(text)["error"].startswith(message)
    assert text.count("\n") == 1
    assert said(server, "GET", "/", Host=f"localhost:{server.server_port}")[0] == 200


def test_a_joint_is_dragged_in_the_browser(server):
    with browser() as chromium:
        chromium.open(f"http://127.0.0.1:{server.server_port}/")
        place = f"viewer.show.joint(viewer.show.main, 0, 0, {WRIST})"
        box = "const box = viewer.canvas.getBoundingClientRect(), size = [box.width, box.height];"
        seen = f"projected(viewer.camera.matrix(size[0] / size[1]), {place}, size)"
        x, y, *start = chromium.run(f"{box} const at = {seen}; return [at[0] + box.left, at[1] + box.top, ...{place}]")
        chromium.drag((round(x), round(y)), (40, -60))
        chromium.until("document.getElementById('note').textContent.startsWith('poses that fit left wrist')")
        assert chromium.run(f"return {place}")[1] > start[1] + 0.05
        hips = chromium.run("return [0, 1].map((l) => viewer.show.joint(viewer.show.layers[l], 0, 0, 0))")
        np.testing.assert_allclose(*hips, atol=1e-3)  # of the answer, whose poses are alike
        chromium.press("Escape")
        assert chromium.run(f"return {place}") == start
        assert chromium.log() == []


def test_a_port_that_is_taken_is_named(posed):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        refuses(f"--port: 127.0.0.1:{port} is not free", next, command.view(View(posed[0], port=port)))
