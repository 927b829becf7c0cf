"""Sets against sets: the original's numbers, brute force in numpy and scipy, closed forms and invariances."""

import numpy as np
from shared import BENCH, DATA, GOLDEN, needs

from jaxpose.datasets.mocap import load_mocap
from jaxpose.evaluation import generation as g
from jaxpose.evaluation.protocols import load_lifting_bench

FRAMES = BENCH / "val_frames.npz"


def test_figures_of_the_original():
    with np.load(GOLDEN / "dposer/io.npz") as z:
        golden = {k.removeprefix("metric/"): z[k] for k in z.files if k.startswith("metric/")}
    np.testing.assert_allclose(g.apd(golden["joints"]), golden["apd"], rtol=2e-6)
    np.testing.assert_allclose(g.neighbour_metrics(golden["real"], golden["fake"]), golden["prdc"], atol=1e-6)
    # 60 and 80 points in 63 dimensions: the original takes the root of a singular product
    np.testing.assert_allclose(g.frechet_distance(golden["real"], golden["fake"]), golden["fid"], rtol=1e-5)


def test_a_copy_is_at_its_distance_even_when_that_is_a_tenth_of_a_millimetre():
    """Where a matrix product in float32 would say about a millimetre."""
    reference = np.random.default_rng(13).normal(size=(60, 17, 3)).astype(np.float32)
    samples = reference[:37].copy()
    samples[:, 4, 0] += 1e-4
    np.testing.assert_allclose(g.nearest_distance(samples, reference), 1e-4 / 17, rtol=5e-3)
    np.testing.assert_array_equal(g.nearest_distance(reference[:37], reference), 0)


def test_a_vertical_hip_line_has_no_heading():
    pose = np.random.default_rng(15).normal(size=(17, 3)).astype(np.float32)
    pose[4] = pose[1] + np.array([0, 0.3, 0], np.float32)
    np.testing.assert_array_equal(g.align_heading(pose), pose)


@needs(FRAMES, DATA / "mocap/cmu.npz")
def test_real_people_are_plausible_and_their_reflections_are_not():
    """Subjects that are not in the reference; reflected with their labels as they were, their knees are backwards."""
    train = load_mocap(DATA, "train").joints[::40]
    val = load_lifting_bench(FRAMES).joints_cam
    real = g.bone_plausibility(val, train), g.angle_plausibility(val, train)
    assert real[0].plausible > 0.9
    assert real[1].plausible > 0.8
    assert g.angle_plausibility(val * np.array([-1, 1, 1], np.float32), train).plausible < 0.2
    assert g.bone_plausibility(1.25 * val, train).plausible < 0.1
