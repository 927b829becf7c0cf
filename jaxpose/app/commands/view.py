"""`jaxpose view RESULT`: a result of joints in the browser, served live, where joints can be dragged (viser).

A dragged joint is exact. The joints of its limb are open, all others are observed as the result has them: the mean,
with the standard deviation per coordinate of their covariance as noise. The model's `complete` draws whole poses that
fit. Its program has one shape, so that after the first answer nothing is compiled.
"""

import os
import platform
import socket
import statistics
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.app.commands import blocks, models
from jaxpose.app.commands.options import View
from jaxpose.geometry.axes import from_camera, to_camera
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.results import Result, read_result
from jaxpose.model import Model
from jaxpose.reading import package
from jaxpose.runtime.interactive import interactive
from jaxpose.tasks.complete import complete

_LEAST_NOISE = 0.01  # metres: of a joint that is not dragged
_TIMED = 10  # answers
_LEFT, _RIGHT, _MIDDLE, _DRAGGED = (0, 114, 178), (213, 94, 0), (125, 134, 148), (0, 158, 115)


class Answer(NamedTuple):
    """Poses [H, J, 3] metres, camera axes, that fit the dragged joints, and the seconds that they took."""

    samples: np.ndarray
    seconds: float


class Posterior:
    """Answers for one model and number of hypotheses, by one compiled program."""

    def __init__(self, model: Model, num_hypotheses: int, seed: int = 0) -> None:
        self._skeleton = model.skeleton
        self._run = interactive(complete, jax.random.key(seed), model, num_hypotheses=num_hypotheses)

    def __call__(self, result: Result, row: int, dragged: Mapping[int, np.ndarray]) -> Answer:
        """The poses of a row given joints (number -> [3] metres, camera axes)."""
        started = time.perf_counter()
        joints, noise = observed(result, row, dragged, self._skeleton)
        drawn = self._run(joints[None], noise=noise[None])
        return Answer(np.asarray(drawn.samples)[:, 0], time.perf_counter() - started)


def observed(
    result: Result, row: int, dragged: Mapping[int, np.ndarray], skeleton: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Joints [J, 3], NaN where open, and their noise [J]."""
    joints, noise = result.mean[row].copy(), np.maximum(result.std[row], _LEAST_NOISE)
    for part in skeleton.parts:
        if any(joint in dragged for joint in part):
            joints[list(part)] = np.nan
    for joint, place in dragged.items():
        joints[joint], noise[joint] = place, 0
    return joints.astype(np.float32), noise.astype(np.float32)


def view(options: View) -> Iterator[str]:
    """Read, compile, serve until interrupted."""
    model = models.load_model(options, command="view", needs=("joints",))
    result = read_result(options.input, model.skeleton)
    viser = package("viser", "view: needs viser", "view")
    _check_port(options.host, options.port)
    blocks.check("--hypotheses", options.num_hypotheses, options.num_hypotheses)
    posterior = Posterior(model, options.num_hypotheses, options.seed)
    first = posterior(result, 0, {})
    times = [posterior(result, 0, {model.skeleton.parts[3][-1]: result.mean[0, 0]}).seconds for _ in range(_TIMED)]
    device = f"{jax.devices()[0].device_kind} ({processor()})"
    speed = f"an answer takes {1000 * statistics.median(times):.0f} ms on {device}"
    yield f"{options.input}: {len(result.mean)} poses; {speed}, the first took {first.seconds:.1f} s of compilation"
    server = viser.ViserServer(host=options.host, port=options.port, label="jaxpose", verbose=False)
    _Stage(server, result, model.skeleton, posterior, device)
    yield f"open http://{options.host}:{options.port} (Ctrl-C ends)"
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        yield "ended"
    finally:
        server.stop()


class _Stage:
    """The scene and the controls of one server."""

    def __init__(self, server: Any, result: Result, skeleton: Skeleton, posterior: Posterior, device: str) -> None:
        self.server, self.result, self.skeleton = server, result, skeleton
        self.posterior, self.device = posterior, device
        self.dragged: dict[int, np.ndarray] = {}
        self.one = threading.Lock()
        up = {"-y": "-y", "y": "+y", "z": "+z"}[result.up]
        server.scene.set_up_direction(up)
        centre = from_camera(result.mean[0, :1], result.up)[0]
        server.initial_camera.look_at = tuple(centre)
        server.initial_camera.position = tuple(centre + from_camera(np.array([0.8, -0.4, -2.1]), result.up))
        floor = from_camera(result.mean[0, 0] * [1, 0, 1] + [0, float(result.mean[0, :, 1].max()), 0], result.up)
        plane: Any = "xy" if result.up == "z" else "xz"
        server.scene.add_grid("/floor", 8, 8, plane=plane, cell_size=0.5, section_size=2.5, position=tuple(floor))
        self.row = server.gui.add_slider("row", 0, len(result.mean) - 1, 1, 0) if len(result.mean) > 1 else None
        self.joint = server.gui.add_dropdown("joint to drag", tuple(skeleton.joints), initial_value=skeleton.joints[-1])
        reset = server.gui.add_button("Let all joints go")
        self.words = server.gui.add_markdown("")
        self.handle = server.scene.add_transform_controls("/handle", scale=0.25, disable_rotations=True)
        self.handle.on_update(lambda _: self.drag())
        self.joint.on_update(lambda _: self.place_handle())
        reset.on_click(lambda _: self.let_go())
        if self.row is not None:
            self.row.on_update(lambda _: self.let_go())
        self.let_go()

    def at(self) -> int:
        return 0 if self.row is None else int(self.row.value)

    def let_go(self) -> None:
        self.dragged = {}
        self.show(self.result.samples[:, self.at()], "the result as it is")
        self.place_handle()

    def drag(self) -> None:
        """Draw the posterior given all dragged joints, after the handle has moved."""
        with self.one:  # viser calls from several threads: the last to enter has the newest place
            joint = self.skeleton.joints.index(self.joint.value)
            self.dragged[joint] = to_camera(np.asarray(self.handle.position, np.float32), self.result.up)
            answer = self.posterior(self.result, self.at(), self.dragged)
            self.show(answer.samples, f"answered in **{1000 * answer.seconds:.0f} ms**")

    def place_handle(self) -> None:
        joint = self.skeleton.joints.index(self.joint.value)
        self.handle.position = tuple(from_camera(self.mean[joint], self.result.up).tolist())

    def show(self, samples: np.ndarray, caption: str) -> None:
        """Draw poses [H, J, 3], their mean, and the joints; at most 40 poses."""
        poses = from_camera(samples[:40].astype(np.float32), self.result.up)
        self.mean = samples.mean(0)
        bones = [(parent, joint) for joint, parent in enumerate(self.skeleton.parents) if parent >= 0]
        left, right = self.skeleton.left, self.skeleton.right
        tints = np.array([_LEFT if j in left else _RIGHT if j in right else _MIDDLE for _, j in bones], float)
        lines = poses[:, np.array(bones)].reshape(-1, 2, 3)
        # viser's lines take colours in linear light
        light = (np.rint(255 * (x / 255) ** 2.2).astype(np.uint8) for x in (0.6 * tints + 102, tints))
        pale, full = (np.repeat(colours[:, None], 2, 1) for colours in light)
        mean = poses.mean(0)
        scene = self.server.scene
        scene.add_line_segments(
            "/hypotheses", lines, np.tile(pale, (len(poses), 1, 1)), thickness=1.0, thickness_units="screen"
        )
        scene.add_line_segments("/mean", mean[np.array(bones)], full, thickness=0.03)
        places = np.array(sorted(self.dragged), int)
        shown = mean[places] if len(places) else np.zeros((1, 3), np.float32) + np.float32(1e4)
        scene.add_point_cloud("/dragged", shown, _DRAGGED, point_size=0.025, point_shape="circle")
        row = self.at()
        held = ", ".join(self.skeleton.joints[joint] for joint in sorted(self.dragged)) or "none"
        self.words.content = (
            f"frame {self.result.frame[row]}, person {self.result.person[row]}\n\n{len(poses)} poses, {caption}\n\n"
            f"dragged: {held}\n\nblue left, orange right, green dragged; computed on {self.device}"
        )


def processor() -> str:
    """The name of the processor of this machine, and how many threads of it there are."""
    name, table = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    lines = table.read_text(encoding="utf-8").splitlines() if table.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    return f"{names[0] if names else name}, {os.cpu_count()} threads"


def _check_port(host: str, port: int) -> None:
    """ValueError where nobody can listen there: viser would take another port without a word."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(f"--port: {host}:{port} is not free ({error.strerror}); choose another") from error
