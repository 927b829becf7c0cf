"""`experiments.gallery`: whom it shows, what each page holds, how large the pages are, and whom the index thanks."""

import inspect
import re
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from drawn import Read

from experiments.gallery import __main__ as gallery
from jaxpose.base import Hypotheses
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import Spec
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.tasks.complete import complete
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.generate import generate
from jaxpose.tasks.lift import lift

N, H, STEPS = 6, 8, 10  # the defaults of the command


@pytest.fixture
def model(monkeypatch):
    """A model that is never run: the tasks are stand-ins with the arguments of the real ones."""

    def stand_in(task: Any, answer: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            inspect.signature(task).bind(*args, **options)
            assert options["return_path"]
            return answer(*args[2:], **options)

        return run

    def path(about: np.ndarray, num_hypotheses: int, num_steps: int) -> np.ndarray:
        noise = np.random.default_rng(0).normal(0, 0.3, (num_steps + 1, num_hypotheses, *about.shape))
        return np.asarray(np.nan_to_num(about) + noise * np.linspace(1, 0.1, num_steps + 1)[:, None, None, None, None])

    def found(states, **more):
        none = np.zeros(0)
        return Hypotheses(states[-1], states[-1].mean(0), none, none, none, path=states, **more)

    def posed(joints, *, num_hypotheses, sampler, return_path):
        states = path(np.asarray(joints), num_hypotheses, sampler.num_steps)
        return found(states, noise=np.full(joints.shape[:2], 0.05))

    def lifted(keypoints, confidence, *, camera, num_hypotheses, sampler, return_path):
        assert confidence.shape == keypoints.shape[:-1]
        assert camera.intrinsics.shape == (len(keypoints), 4)
        states = path(np.zeros((*keypoints.shape[:2], 3)), num_hypotheses, sampler.num_steps)
        return found(states, root=np.broadcast_to([0.0, 0, 4], (num_hypotheses, len(keypoints), 3)))

    def generated(num, *, sampler, return_path):
        return path(np.zeros((num, 17, 3)), 1, sampler.num_steps)[:, 0]

    answers = {
        "lift": (lift, lifted),
        "complete": (complete, posed),
        "denoise": (denoise, posed),
        "generate": (generate, generated),
    }
    for name, (task, answer) in answers.items():
        monkeypatch.setattr(gallery, name, stand_in(task, answer))
    return SimpleNamespace(spec=Spec("<tiny>", ScoreMLP()), skeleton=H36M_17)


@pytest.fixture
def people(monkeypatch, tmp_path):
    """Those of the bundled clip: there is no shared data at this place."""
    monkeypatch.setenv("JAXPOSE_DATA", str(tmp_path / "nowhere" / "data"))
    return gallery.find_people(N)


def test_people_are_of_cmu_and_spread_over_the_benchmark(monkeypatch, tmp_path):
    (tmp_path / "bench").mkdir()
    names = np.array(["cmu06/a"] * 4 + ["hdm_dg/b"] * 10 + ["cmu94/c"] * 4)
    which = np.arange(18.0)
    arrays = {
        "keypoints": which[:, None, None] + np.zeros((18, 17, 2)),
        "confidence": np.ones((18, 17)),
        "name": names,
        "intrinsics": which[:, None] + np.zeros((18, 4)),
        "joints_cam": which[:, None, None] + np.zeros((18, 17, 3)),
    }
    np.savez(tmp_path / "bench" / "val_frames.npz", **arrays)
    monkeypatch.setenv("JAXPOSE_DATA", str(tmp_path / "data"))
    found = gallery.find_people(4)
    for array in found[:4]:
        assert array.reshape(4, -1)[:, 0].tolist() in ([0, 2, 15, 17], [1.0] * 4)
    assert "CMU" in found.source


def test_every_task_has_a_page_small_enough_to_be_committed(tmp_path, model, people):
    assert "clip" in people.source
    found = list(gallery.pages(jax.random.key(0), model, people, H, STEPS))
    assert [page.name for page in found] == ["lift", "complete_2d", "complete_3d", "denoise", "generate"]
    for page in found:
        path = page.write(tmp_path, "Model: <tiny>.")
        assert path.stat().st_size < 400_000
        content = Read(path.read_text()).content
        assert [label.split(" · ")[0] for label in content["steps"]["labels"]] == [
            f"state {state} of {STEPS}" for state in range(STEPS + 1)
        ]
        assert "Model: <tiny>." in content["note"]
    index = gallery.write_index(tmp_path, found, model.spec.name, people.source).read_text()
    assert re.findall(r'href="([^"]+)"', index) == [f"{page.name}.html" for page in found]
    assert all((tmp_path / name).is_file() for name in re.findall(r'href="([^"]+)"', index))
    assert "mocap.cs.cmu.edu. The database was created with funding from NSF EIA-0196217." in index
    assert "obtained from HDM05" in index
    assert "<tiny>" not in index


def test_what_is_hidden_is_not_given_and_stands_out(model, people):
    pages = {p.name: p for p in gallery.pages(jax.random.key(0), model, people, H, STEPS)}
    arm = [H36M_17.joints.index(f"right_{joint}") for joint in ("shoulder", "elbow", "wrist")]
    hidden = np.isnan(pages["complete_3d"].options["given"]).any(-1)
    assert np.flatnonzero(hidden[0]).tolist() == arm
    assert pages["complete_3d"].options["labels"][0] == "right arm hidden"
    flat = pages["complete_2d"].options
    assert (flat["observed"] == ~hidden).all()
    assert np.isnan(flat["keypoints"][0, arm]).all()
    assert (flat["confidence"][hidden] == 0).all()
    np.testing.assert_array_equal(pages["complete_3d"].options["given"][~hidden], people.joints[~hidden])
