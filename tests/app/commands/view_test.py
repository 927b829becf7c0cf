"""`jaxpose view`: what a dragged joint does to the answer, that no answer compiles anew, and what bad input gets."""

import socket
import sys

import numpy as np
import pytest
from compilations import counted
from shared import refuses

from jaxpose.app.commands import view as command
from jaxpose.app.commands.options import View
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.results import read_result
from jaxpose.model import load

J = len(H36M_17.joints)
WRIST, ELBOW, HIP = (H36M_17.joints.index(name) for name in ("left_wrist", "left_elbow", "hip"))


@pytest.fixture(scope="module")
def posed(tmp_path_factory):
    """A result of three frames, in a world with z up: a person of the bundled clip, with 40 mm of spread."""
    from jaxpose.files import ASSETS
    from jaxpose.geometry.axes import from_camera

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


def test_a_result_is_read_as_it_stands(posed):
    path, joints = posed
    result = read_result(path, H36M_17)
    np.testing.assert_allclose(result.mean, joints, atol=0.03)
    np.testing.assert_allclose(result.std, 0.04, rtol=0.25)
    assert result.samples.shape == (50, 3, J, 3)
    assert result.up == "z"


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
    posterior = command.Posterior(load("pose17_fast"), 20)
    start = posterior(result, 0, {})
    assert start.samples.shape == (20, J, 3)
    np.testing.assert_allclose(start.samples.mean(0), result.mean[0], atol=0.12)
    raised = result.mean[0, WRIST] + [0, -0.25, -0.1]
    with counted() as made:
        answer = posterior(result, 0, {WRIST: raised})
        both = posterior(result, 2, {WRIST: raised, HIP: result.mean[2, HIP]})
    assert made.count == 0
    # exact joints have no noise: all poses have them there, to the last bits of float32
    np.testing.assert_allclose(answer.samples[:, WRIST], np.broadcast_to(raised, (20, 3)), atol=1e-5)
    np.testing.assert_allclose(both.samples[:, HIP], np.broadcast_to(result.mean[2, HIP], (20, 3)), atol=1e-5)
    assert answer.samples[:, ELBOW, 1].mean() < start.samples[:, ELBOW, 1].mean() - 0.03  # y is down
    forearm = np.linalg.norm(answer.samples[:, WRIST] - answer.samples[:, ELBOW], axis=-1)
    assert 0.15 < np.median(forearm) < 0.4  # metres
    legs = [H36M_17.joints.index(f"{side}_ankle") for side in ("left", "right")]
    assert np.abs(answer.samples[:, legs].mean(0) - start.samples[:, legs].mean(0)).max() < 0.15


class Handle:
    """A control of a page: a value, and what is called when the user changes it."""

    def __init__(self, value=None):
        self.value, self.position, self.content, self.calls = value, (0.0, 0.0, 0.0), "", []

    def on_update(self, call):
        self.calls.append(call)

    on_click = on_update

    def change(self, **values):
        for name, value in values.items():
            setattr(self, name, value)
        for call in self.calls:
            call(None)


class Server:
    """What the stage asks of viser: points that are drawn, by their names, and controls, by those of their calls."""

    def __init__(self):
        self.scene = self.gui = self.initial_camera = self
        self.drawn, self.made = {}, {}

    def set_up_direction(self, up):
        self.up = up

    def __getattr__(self, call):
        def add(label, *given, initial_value=None, **_):
            if call in ("add_line_segments", "add_point_cloud"):
                self.drawn[label] = given[0]
            value = given[-1] if call == "add_slider" else initial_value
            return self.made.setdefault(call.removeprefix("add_"), Handle(value))

        return add


def test_the_stage_draws_what_is_dragged_in_the_axes_of_the_file(posed):
    result, asked = read_result(posed[0], H36M_17), []

    def posterior(result, row, dragged):
        asked.append((row, dict(dragged)))
        return command.Answer(np.tile(result.mean[row] + 1, (7, 1, 1)), 0.012)

    server = Server()
    command._Stage(server, result, H36M_17, posterior, "a processor")
    assert server.up == "+z"
    assert "a processor" in server.made["markdown"].content
    bones = J - 1
    assert len(server.drawn["/hypotheses"]) == 40 * bones
    server.made["dropdown"].change(value="left_wrist")
    from jaxpose.geometry.axes import from_camera

    np.testing.assert_allclose(
        server.made["transform_controls"].position, from_camera(result.mean[0], "z")[WRIST], atol=1e-5
    )
    server.made["transform_controls"].change(position=(0.1, 0.2, 0.3))
    ((row, dragged),) = asked
    assert row == 0
    np.testing.assert_allclose(from_camera(dragged[WRIST], "z"), [0.1, 0.2, 0.3], atol=1e-6)
    assert len(server.drawn["/hypotheses"]) == 7 * bones
    assert "12 ms" in server.made["markdown"].content
    assert "dragged: left_wrist" in server.made["markdown"].content
    server.made["slider"].change(value=2)
    assert "dragged: none" in server.made["markdown"].content
    assert "frame 2" in server.made["markdown"].content


def test_a_missing_extra_and_a_port_that_is_taken_are_named(posed, monkeypatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(command, "package", lambda *_: None)
        refuses(f"--port: 127.0.0.1:{port} is not free", next, command.view(View(posed[0], port=port)))
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "viser", None)
    refuses(r'pip install "jaxpose\[view\]"', next, command.view(View(posed[0])))
