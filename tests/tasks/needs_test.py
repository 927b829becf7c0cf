"""A task refuses a model that lacks what it needs, in the words of one table; a base answers where it can."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pose_oracle
import pytest
import rotation_oracle
from diffpose_models import tiny
from shared import refuses

from jaxpose.base import Camera, Condition
from jaxpose.fitting.priors import dposer_prior
from jaxpose.model import needs
from jaxpose.tasks.complete_rotations import FewSteps, complete_rotations
from jaxpose.tasks.denoise import denoise
from jaxpose.tasks.diffpose import initial_distribution
from jaxpose.tasks.lift import lift
from jaxpose.tasks.priors import prior_of
from jaxpose.tasks.score import lifted_log_density
from jaxpose.tasks.stream import start_stream

KEY = jax.random.key(0)
XY, CAMERA = np.zeros((1, 17, 2), np.float32), Camera(np.array([1000.0, 1000, 500, 500], np.float32))
POSE, SURE = jnp.zeros((1, 17, 3)), jnp.ones((1, 17))
FULL = pose_oracle.make()
FEW = FULL.replace(spec=dataclasses.replace(FULL.spec, name="few", times=(1.0, 0.3)))
TOLD = {"camera": CAMERA, "num_hypotheses": 1}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: lift(KEY, FULL, XY, **TOLD, up=jnp.array([0.0, -1, 0])), "up needs a model that can be told the"),
        (lambda: lift(KEY, FULL, XY, **TOLD, depth="ensemble"), "depth needs a DiffPose model with a context"),
        (lambda: denoise(KEY, FEW, POSE), "denoise needs a model that starts at any level of noise"),
        (lambda: prior_of(FEW), "posterior needs a model that knows the score .* got 'few', a few-step model"),
        (lambda: prior_of(pose_oracle.make(codec="screen")), "posterior needs a model of joint positions .* 'screen'"),
        (
            lambda: lifted_log_density(KEY, tiny(), POSE[None], XY, SURE, intrinsics=CAMERA.intrinsics),
            "lifted_log_density needs a model that knows the score .*, a DiffPose model",
        ),
        (lambda: dposer_prior(FULL), "a fit needs a prior over joint rotations, such as 'prior21'; got 'oracle'"),
        (lambda: start_stream(KEY, rotation_oracle.correlated()), "stream needs a model of joint positions"),
        (lambda: initial_distribution(KEY, FULL, None, depth="ensemble"), "start needs a DiffPose model"),
        (
            lambda: complete_rotations(
                KEY, rotation_oracle.independent(), jnp.zeros((1, 21, 3)), jnp.ones(21), method=FewSteps()
            ),
            "complete needs a few-step model",
        ),
    ],
)
def test_a_model_that_lacks_what_a_task_needs_is_refused(call, message):
    refuses(message, call)


def test_a_prior_over_rotations_takes_no_condition():
    zeros = jnp.zeros((21, 3))
    refuses("takes no condition", prior_of, rotation_oracle.correlated(), Condition(zeros, zeros))


def test_a_task_is_called_with_the_base_of_a_few_step_model_that_lacks_what_it_needs():
    of_name = needs("task", "score")(lambda model, other=0: (model, other))
    based = FEW.replace(base=FULL)
    assert of_name(based, other=3) == (FULL, 3)
    assert of_name(model=based)[0] is FULL
    assert needs("task", "joints")(lambda model: model)(based) is based
