"""`jaxpose view RESULT`: a result of joints as a page whose joints can be dragged, served to browsers of this machine.

A dragged joint is exact. The joints of its limb are open, all others are observed as the result has them: the mean,
with the standard deviation per coordinate of their covariance as noise. The model's `complete` draws whole poses that
fit. Its program has one shape, so that after the first answer nothing is compiled.

`GET /` is the page. `POST /answer` takes JSON {"row": N, "joints": {name: [x, y, z]}}, metres in the axes of the file,
and gives content and arrays of a page of the poses that fit, or one line {"error": what is wrong}.
"""

import http.server
import json
import re
import statistics
import threading
import timeit
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxpose.app.commands import blocks, models
from jaxpose.app.commands.options import View
from jaxpose.app.viz.crowd import make_crowd
from jaxpose.app.viz.scenes import Page, motion_page
from jaxpose.geometry.axes import to_camera
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.results import Result, read_result
from jaxpose.model import Model
from jaxpose.runtime.interactive import interactive
from jaxpose.tasks.complete import complete

_LEAST_NOISE = 0.01  # metres: of a joint that is not dragged
_MOST_BYTES = 100_000  # of a request


Posterior = Callable[[Result, int, Mapping[int, np.ndarray]], np.ndarray]  # a row and joints (number -> [3]) -> poses


def make_posterior(model: Model, num_hypotheses: int, seed: int = 0) -> Posterior:
    """Poses [H, J, 3] that fit a row and joints, all in metres, camera axes, by one compiled program."""
    run = interactive(complete, jax.random.key(seed), model, num_hypotheses=num_hypotheses)

    def draw(result: Result, row: int, dragged: Mapping[int, np.ndarray]) -> np.ndarray:
        joints, noise = observed(result, row, dragged, model.skeleton)
        return np.asarray(run(joints[None], noise=noise[None]).samples)[:, 0]

    return draw


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
    model = models.load_model(options, "view", needs=("joints",))
    result, skeleton = read_result(options.input, model.skeleton), model.skeleton
    blocks.check("--hypotheses", options.num_hypotheses, options.num_hypotheses)
    with Server(options.host, options.port) as server:
        posterior = make_posterior(model, options.num_hypotheses, options.seed)
        server.answer = lambda request: answer(posterior, result, skeleton, request)
        request = json.dumps({"row": 0, "joints": {skeleton.joints[-1]: result.mean[0, 0].tolist()}}).encode()
        first, *times = timeit.repeat(lambda: server.answer(request), number=1, repeat=11)
        speed = f"an answer takes {1000 * statistics.median(times):.0f} ms on {jax.devices()[0].device_kind}"
        yield f"{options.input}: {len(result.mean)} poses; {speed}, the first took {first:.1f} s of compilation"
        note = f"drag a joint, and {model.spec.name} draws poses that fit it; {speed}"
        server.page = page(result, skeleton, options.input.stem, note)
        yield f"open http://{options.host}:{server.server_port} (Ctrl-C ends)"
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            yield "ended"


def page(result: Result, skeleton: Skeleton, title: str, note: str) -> bytes:
    """The page of a result, which may ask its own server alone; rows: of each person in each step, -1 for none."""
    made, num = _page(result, skeleton, title, note), len(result.mean)
    rows = make_crowd(num, result.frame, result.person).spread_out(np.arange(num), -1)
    text = made._replace(content=made.content | {"rows": rows.tolist()}).html()
    return text.replace("default-src 'none'", "default-src 'none'; connect-src 'self'", 1).encode()


def answer(posterior: Posterior, result: Result, skeleton: Skeleton, request: bytes) -> dict[str, Any]:
    """Content and arrays of a page of the one pose that fits a request; ValueError says what is wrong with it."""
    row, dragged = asked(request, result, skeleton)
    samples = posterior(result, row, dragged)[:, None]
    of_row = {name: getattr(result, name)[[row]] for name in ("frame", "person", "std")}
    return _page(result._replace(samples=samples, mean=samples.mean(0), **of_row), skeleton)._asdict()


def _page(result: Result, skeleton: Skeleton, title: str = "", note: str = "") -> Page:
    root = result.mean[:, :1]
    options: dict[str, Any] = {name: getattr(result, name) for name in ("frame", "person", "fps", "up")}
    options |= {"mean": result.mean - root, "root": root[:, 0], "title": title, "note": note}
    return motion_page(result.samples - root, skeleton, max_hypotheses=40, max_frames=len(root), **options)


def asked(request: bytes, result: Result, skeleton: Skeleton) -> tuple[int, dict[int, np.ndarray]]:
    """Row and joints (number -> [3] metres, camera axes) of a request; ValueError says what is wrong with it."""
    try:
        given = json.loads(request)
        row, joints = given["row"], given["joints"].items()
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise ValueError('request: must be JSON {"row": N, "joints": {name: [x, y, z]}}') from error
    if type(row) is not int or not 0 <= row < len(result.mean):
        raise ValueError(f"row: got {str(row)[:40]}, must be a whole number from 0 to {len(result.mean) - 1}")
    dragged = {}
    for name, place in joints:
        if name not in skeleton.joints:
            raise ValueError(f"joints: got {name[:40]!r}, must be one of {', '.join(skeleton.joints)}")
        if not isinstance(place, list) or [type(x) in (int, float) and abs(x) <= 1000 for x in place] != [True] * 3:
            raise ValueError(f"joints: {name} is {str(place)[:60]}, must be three numbers of metres within 1000")
        dragged[skeleton.joints.index(name)] = to_camera(np.array(place, np.float32), result.up)
    return row, dragged


class Server(http.server.ThreadingHTTPServer):
    """A server of a page, and of answers to requests, one at a time; ValueError where nobody can listen there."""

    page: bytes
    answer: Callable[[bytes], dict[str, Any]]

    def __init__(self, host: str, port: int) -> None:
        self.host, self.one = host, threading.Lock()
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise ValueError(f"--port: {host}:{port} is not free ({error.strerror}); choose another") from error


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server
    timeout = 20  # seconds without a byte

    def do_GET(self) -> None:
        self._reply("/", "text/html; charset=utf-8", lambda: self.server.page)

    def do_POST(self) -> None:
        self._reply("/answer", "application/json", self._answer)

    def _reply(self, path: str, kind: str, content: Callable[[], bytes]) -> None:
        try:
            # another site's name that was made to lead here (DNS rebinding) is none of these
            host = urllib.parse.urlsplit("//" + self.headers.get("Host", "")).hostname or ""
            if host not in ("localhost", self.server.host) and not re.fullmatch(r"[0-9.]+|[0-9a-f:.]*:.*", host):
                raise ValueError(f"Host: got {host[:60]!r}, must be an address or localhost")
            if self.path != path:
                raise ValueError(f"path: got {self.path[:60]!r}, must be / (GET) or /answer (POST)")
            self._send(200, kind, content())
        except ValueError as error:
            self.send_error(400, str(error))

    def _answer(self) -> bytes:
        kind, length = self.headers.get_content_type(), self.headers.get("Content-Length", "")
        if kind != "application/json":  # which browsers send to another site only after that has agreed
            raise ValueError(f"Content-Type: got {kind}, must be application/json")
        if not re.fullmatch("[0-9]{1,9}", length) or int(length) > _MOST_BYTES:
            raise ValueError(f"Content-Length: got {length[:40]!r}, must be from 0 to {_MOST_BYTES}")
        request = self.rfile.read(int(length))
        with self.server.one:
            return json.dumps(self.server.answer(request), allow_nan=False).encode()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """One line of JSON."""
        line = json.dumps({"error": message or http.HTTPStatus(code).phrase})
        self._send(code, "application/json", f"{line}\n".encode())

    def _send(self, code: int, kind: str, content: bytes) -> None:
        self.send_response(code)
        for name, value in (("Content-Type", kind), ("Content-Length", len(content)), ("Cache-Control", "no-store")):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the command has lines of its own."""
