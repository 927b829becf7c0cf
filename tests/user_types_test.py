"""A small project of a user, in the eyes of mypy: names have types, and arrays of numpy are arguments."""

import os
import subprocess
import sys

import pytest
from source_files import ROOT

PROJECT = """
import jax
import numpy as np

import jaxpose

print(jaxpose.__version__)
model = jaxpose.load("pose17")
keypoints, camera = np.zeros((3, 17, 2), np.float32), jaxpose.Camera(np.array([1000.0, 1000.0, 500.0, 500.0]))
lifted = jaxpose.lift(jax.random.key(0), model, keypoints, np.ones((3, 17)), camera=camera, height=np.full(3, 1.7))
mean: jax.Array = lifted.mean
pose = np.asarray(mean)
whole: jaxpose.Hypotheses = jaxpose.complete(jax.random.key(0), model, pose, noise=0.01)
jaxpose.denoise(jax.random.key(0), model, pose, noise=0.01)
jaxpose.lift_video(jax.random.key(0), model, keypoints, camera=camera, frame=np.arange(3))
jaxpose.log_density(model, pose)
jaxpose.typicality(model, pose)
jaxpose.to_world(pose, pose[:, 0]).root_paths.mean()
text: str = lifted.radius_90  # line 20
jaxpose.no_such_name
"""


@pytest.mark.slow
def test_a_users_project_passes_and_its_two_faults_are_found(tmp_path):
    (tmp_path / "project.py").write_text(PROJECT)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "project.py"]
    settings = os.environ | {"MYPYPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=settings, check=False)
    faults = [line for line in done.stdout.splitlines() if "error:" in line]
    assert len(faults) == 2, done.stdout
    assert 'variable has type "str"' in faults[0]
    assert 'no attribute "no_such_name"' in faults[1]
