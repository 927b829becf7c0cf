"""A page for each task: from noise to 3D poses, with a slider over the denoising, and an index of them.

    python -m experiments.gallery --model=pose17 --out=docs/gallery

Bodies of the prior over joint rotations have pages of their own (bodies.py).

The people are CMU subjects of the benchmark's validation half, which no model is trained on; where JAXPOSE_DATA is
not there, frames of the bundled procedural clip. Each page is one file, small enough to be committed.
"""

import dataclasses
import html
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.evaluate.bench import bench_path
from experiments.gallery.bodies import Page, body_pages
from experiments.options import option, run
from jaxpose.app.viz import path_page
from jaxpose.base import Camera, Key
from jaxpose.diffusion import time_grid
from jaxpose.files import atomic
from jaxpose.geometry.camera import project
from jaxpose.io.arrays import load_arrays
from jaxpose.model import ASSETS, Model, load
from jaxpose.runtime.program_cache import use_compilation_cache
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift
from jaxpose.tasks.samplers import stochastic


@dataclasses.dataclass(frozen=True)
class Options:
    model: str = option("pose17", "A bundled model's name or a .safetensors file.")
    prior: str = option("prior21", "The same of a prior over joint rotations.")
    out: str = option("docs/gallery", "Folder for the pages.")
    people: int = option(6, "People on a page.", low=1)
    hypotheses: int = option(8, "3D poses of each.", low=2)
    steps: int = option(10, "Solver steps: the slider has one position more.", low=1)
    seed: int = option(0, "Of the one key.")


# Parts of the body (`Skeleton.parts`) that are hidden, person by person.
HIDDEN = (
    ("right arm", (3,)),
    ("left leg", (1,)),
    ("left arm", (2,)),
    ("right leg", (0,)),
    ("both arms", (2, 3)),
    ("both legs", (0, 1)),
)
NOISE_MM = (20, 40, 60, 80, 100, 150)
GENERATED, PER_LINE = 40, 8
# The lines that shared/data/README.md asks to carry.
ACKNOWLEDGEMENTS = (
    "The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF "
    "EIA-0196217.",
    "The data used in this project was obtained from HDM05. M. Mueller, T. Roeder, M. Clausen, B. Eberhardt, B. "
    "Krueger, A. Weber, Documentation Mocap Database HDM05, Technical report CG-2007-2, Universitaet Bonn, 2007; "
    "CC BY-SA 3.0.",
    "The keypoints of the body from four cameras are demo data of Pose2Sim (BSD 3-Clause, Copyright (c) 2022, "
    "perfanalytics). D. Pagnon, M. Domalain, L. Reveret, Pose2Sim, JOSS 2022.",
)


class People(NamedTuple):
    """Whom the pages show.

    keypoints [N, J, 2] px with confidence [N, J]; intrinsics [N, 4] px; joints [N, J, 3] metres, camera frame.
    """

    keypoints: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    joints: np.ndarray
    source: str


def main(options: Options) -> None:
    """Write all pages and the index."""
    use_compilation_cache()
    model, prior, out = load(options.model), load(options.prior), Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    people = find_people(options.people)
    key = jax.random.key(options.seed)
    written: list[Page] = []
    of_joints = pages(key, model, people, options.hypotheses, options.steps)
    for page in itertools.chain(of_joints, body_pages(jax.random.fold_in(key, 5), prior)):
        source = f" People: {people.source}." if page.viewer is path_page and page.name != "generate" else ""
        path = page.write(out, f"Model: {(model if page.viewer is path_page else prior).spec.name}.{source}")
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB", flush=True)
        written.append(page)
    print(write_index(out, written, f"{model.spec.name} and {prior.spec.name}", people.source))


def find_people(num: int) -> People:
    """`num` people, evenly spaced over the CMU subjects of the benchmark's validation half, or over the clip."""
    path = bench_path("val_frames.npz")
    source = "validation subjects of the CMU motion capture database"
    if not path.is_file():
        path, source = ASSETS / "demo_clip.npz", "frames of a procedural clip"
    z = load_arrays(path)
    count = len(z["keypoints"])
    names = z["name"] if "name" in z else np.full(count, "clip")
    rows = np.flatnonzero([not name.startswith("hdm") for name in names])
    rows = rows[np.linspace(0, len(rows) - 1, num).round().astype(int)]
    intrinsics = np.broadcast_to(z["intrinsics"], (count, 4))
    return People(z["keypoints"][rows], z["confidence"][rows], intrinsics[rows], z["joints_cam"][rows], source)


def pages(key: Key, model: Model, people: People, num_hypotheses: int, num_steps: int) -> Iterator[Page]:
    """The pages one after another, each with a key of its own."""
    counts = {"num_hypotheses": num_hypotheses, "sampler": stochastic(num_steps), "return_path": True}
    makers = (lift_page, complete_2d_page, complete_3d_page, denoise_page, generate_page)
    times = np.asarray(time_grid(model.spec.sde(), num_steps, model.spec.spacing))
    for index, make in enumerate(makers):
        page = make(jax.random.fold_in(key, index), model, people, counts)
        yield page._replace(options={**page.options, "times": times})


def lift_page(key: Key, model: Model, people: People, counts: dict[str, Any]) -> Page:
    """3D from 2D detections."""
    states, options = _lifted(key, model, people, people.confidence, counts)
    line = "Many 3D poses that explain the same 2D keypoints; they differ in what a picture does not show: depth."
    return _page("lift", "Lifting: 3D poses from 2D keypoints", line, model, states, options)


def complete_2d_page(key: Key, model: Model, people: People, counts: dict[str, Any]) -> Page:
    """3D from 2D detections of which some are missing."""
    names, hidden = _hidden(model, len(people.joints))
    states, options = _lifted(key, model, people, np.where(hidden, 0, people.confidence), counts)
    line = "2D keypoints with arms or legs missing: what is seen is lifted, what is hidden is filled in many ways."
    options |= {"labels": [f"{name} hidden" for name in names], "observed": ~hidden}
    return _page("complete_2d", "Completion from incomplete 2D keypoints", line, model, states, options)


def complete_3d_page(key: Key, model: Model, people: People, counts: dict[str, Any]) -> Page:
    """3D from some 3D joints."""
    names, hidden = _hidden(model, len(people.joints))
    given = np.where(hidden[..., None], np.nan, people.joints)
    posed = complete(key, model, jnp.asarray(given), **counts)
    line = "3D joints with arms or legs missing: the given joints stay where they are, the rest is filled in many ways."
    labels = [f"{name} hidden" for name in names]
    options = {"given": given, "truth": people.joints, "labels": labels}
    return _page("complete_3d", "Completion of 3D joints", line, model, posed.path, options)


def denoise_page(key: Key, model: Model, people: People, counts: dict[str, Any]) -> Page:
    """3D from noisy 3D joints, with the noise estimated."""
    noise_key, key = jax.random.split(key)
    noise = np.resize(NOISE_MM, len(people.joints)) / 1000
    given = people.joints + noise[:, None, None] * np.asarray(jax.random.normal(noise_key, people.joints.shape))
    posed = denoise(key, model, jnp.asarray(given, jnp.float32), **counts)
    estimated = 1000 * np.asarray(posed.noise).mean(-1)
    labels = [f"{1000 * n:.0f} mm, found {f:.0f}" for n, f in zip(noise, estimated, strict=True)]
    line = "3D joints with 20 to 150 mm of noise in each coordinate, made clean; how much noise is found, not told."
    options = {"given": given, "truth": people.joints, "labels": labels}
    return _page("denoise", "Denoising of 3D joints", line, model, posed.path, options)


def generate_page(key: Key, model: Model, people: People, counts: dict[str, Any]) -> Page:
    """Unconditional 3D poses."""
    del people
    steps = {name: counts[name] for name in ("sampler", "return_path")}
    states = np.asarray(generate(key, model, GENERATED, **steps))[:, None]
    line = f"{GENERATED} poses out of noise: nothing is given but what the model knows of people."
    return _page("generate", "Generation: people who do not exist", line, model, states, {"per_line": PER_LINE})


def _page(name: str, title: str, line: str, model: Model, states: Any, options: dict[str, Any]) -> Page:
    """The page of states [T+1, H, N, J, 3] metres."""
    return Page(name, title, line, path_page, (np.asarray(states), model.skeleton), options)


def write_index(out: Path, written: Sequence[Page], models: str, source: str) -> Path:
    """A plain page that links the others, and says whose poses they show."""
    links = "\n".join(
        f'<li><a href="{page.name}.html">{html.escape(page.title)}</a><br>{html.escape(page.line)}</li>'
        for page in written
    )
    thanks = "\n".join(f"<p>{html.escape(line)}</p>" for line in ACKNOWLEDGEMENTS)
    text = _INDEX.format(links=links, thanks=thanks, models=html.escape(models), source=html.escape(source))
    with atomic(out / "index.html") as file:
        file.write(text.encode())
    return out / "index.html"


def _lifted(
    key: Key, model: Model, people: People, confidence: np.ndarray, counts: dict[str, Any]
) -> tuple[np.ndarray, dict[str, Any]]:
    """States of the lifting, placed before the camera for the 2D panel, and what is shown with them."""
    seen = jnp.asarray(people.keypoints), jnp.asarray(confidence, jnp.float32)
    lifted = lift(key, model, *seen, camera=Camera(jnp.asarray(people.intrinsics)), **counts)
    assert lifted.path is not None and lifted.root is not None, "the path is asked for"  # noqa: PT018
    # the place of the result serves for all states: a state of noise has none
    reprojected = project(jnp.asarray(people.intrinsics), lifted.path + lifted.root[:, :, None])
    options = {
        "keypoints": np.where(confidence[..., None] > 0, people.keypoints, np.nan),
        "confidence": confidence,
        "truth": people.joints - people.joints[:, :1],
        "reprojected": np.asarray(reprojected),
    }
    return np.asarray(lifted.path), options


def _hidden(model: Model, num: int) -> tuple[list[str], np.ndarray]:
    """Names of the hidden parts of `num` people, and the hidden joints [N, J]."""
    chosen = [HIDDEN[i % len(HIDDEN)] for i in range(num)]
    hidden = np.zeros((num, len(model.skeleton.joints)), bool)
    for row, (_, parts) in zip(hidden, chosen, strict=True):
        row[[joint for part in parts for joint in model.skeleton.parts[part]]] = True
    return [name for name, _ in chosen], hidden


_INDEX = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>jaxpose: gallery</title>
<style>
:root {{ --ink: #1b2430; --soft: #5b6675; --link: #0072b2; --paper: #ffffff; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8edf4; --soft: #9aa7b8; --link: #58b3ea; --paper: #10141a; }}
}}
body {{ max-width: 44em; margin: 3em auto; padding: 0 1.5em; line-height: 1.5;
  color: var(--ink); background: var(--paper);
  font-family: system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif; }}
h1 {{ font-size: 1.5em; }}
ul {{ list-style: none; padding: 0; }}
li {{ margin: 0 0 1em; }}
a {{ color: var(--link); font-weight: 600; }}
footer {{ margin-top: 3em; font-size: 0.85em; color: var(--soft); }}
</style></head>
<body><h1>jaxpose: from noise to 3D poses</h1>
<p>Each page can be played, turned and zoomed, and works offline. Of joints there is a slider over the denoising; blue
is left, vermilion right, green what the task was given. Bodies are meshes; their truth is grey.</p>
<ul>
{links}
</ul>
<footer><p>Models {models}. People: {source}. Made by <code>python -m experiments.gallery</code>.</p>
{thanks}</footer>
</body></html>
"""

if __name__ == "__main__":
    run("gallery", main, Options, __doc__)
