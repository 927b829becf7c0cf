"""Measuring: known values for every hypothesis, quantiles, what is over time, a neutral stance, expressions."""

import numpy as np
import pytest
from bent_bodies import bent
from shared import refuses

from jaxpose.geometry import measures
from jaxpose.tasks.measure import OF_CLIPS, Measured, measure, repetitions

H, N, FPS = 40, 31, 30.0
SECONDS = np.arange(N) / FPS


def legs(knee):
    """Bodies [..., 17, 3], y up, whose knees are bent by degrees [...]."""
    knee = np.asarray(knee, float)[..., None] * np.ones(2)
    return bent(0 * knee, knee, 0 * knee, 0 * knee)


@pytest.fixture(scope="module")
def drawn():
    """Knees [H, N] degrees of hypotheses that are motions: a shift of each about a bending that takes a second."""
    rng = np.random.default_rng(0)
    return 60 - 20 * np.cos(2 * np.pi * SECONDS) + rng.normal(0, 5, (H, 1))


def test_values_are_of_every_hypothesis_and_intervals_their_quantiles(drawn):
    knee = measure(legs(drawn), "left_knee_flexion", up="y")["left_knee_flexion"]
    np.testing.assert_allclose(knee.values, drawn, atol=0.02)
    np.testing.assert_allclose(knee.interval(0.9), np.quantile(drawn, (0.05, 0.95), axis=0), atol=0.02)
    low, high = knee.interval(0.9, factor=2.0)
    middle, ends = np.median(drawn, 0), np.quantile(drawn, (0.05, 0.95), axis=0)
    np.testing.assert_allclose([low, high], middle + 2 * (ends - middle), atol=0.05)


def test_an_expression_is_the_function_that_it_names(drawn):
    x = legs(drawn)
    names = {
        "180 - angle(left_hip, left_knee, left_ankle)": drawn,
        "left_knee_flexion - right_knee_flexion": 0 * drawn,
        "abs(-left_knee_flexion) / 2 * 2 + 1 - 1": drawn,
        "distance(left_hip, left_knee)": 0 * drawn + 0.4,
        "elevation(left_knee, left_ankle)": drawn,
        "height(middle(left_hip, right_hip)) - height(left_knee)": 0 * drawn + 0.4,
        "left_thigh_length / left_shank_length": 0 * drawn + 0.4 / 0.43,
    }
    values = measure(x, *names, up="y")
    units = {"180 - angle(left_hip, left_knee, left_ankle)": "", "distance(left_hip, left_knee)": "m"}
    units |= {"left_knee_flexion - right_knee_flexion": "deg", "left_thigh_length / left_shank_length": ""}
    for text, expected in names.items():
        np.testing.assert_allclose(values[text].values, expected, atol=0.05, err_msg=text)
        assert values[text].unit == units.get(text, values[text].unit)

    def reach(joints):
        return measures.distance(joints[..., 13, :], joints[..., 11, :])

    np.testing.assert_allclose(measure(x, reach, up="y")["reach"].values, 0.57, atol=1e-4)


def test_what_is_over_time_is_that_of_calculus(drawn):
    """A wave of 20 degrees and 1 Hz: its slope, over a window of 0.2 s, is 0.96 of that at the frame."""
    texts = ("rate(left_knee_flexion)", "range(left_knee_flexion)", "count(left_knee_flexion)", "speed(left_ankle)")
    rate, span, count, speed = measure(legs(drawn), *texts, up="y", seconds=SECONDS).values()
    inside = slice(3, N - 3)
    expected = 20 * 2 * np.pi * np.sin(2 * np.pi * SECONDS)[inside]
    np.testing.assert_allclose(rate.values[:, inside], 0.96 * expected[None] + 0 * drawn[:, inside], atol=3)
    np.testing.assert_allclose(speed.values[:, inside], abs(0.43 * np.radians(rate.values[:, inside])), atol=0.02)
    assert (rate.unit, speed.unit) == ("deg/s", "m/s")
    np.testing.assert_allclose(span.values, np.ptp(drawn, axis=1), atol=0.05)
    assert span.values.shape == (H,)
    assert (count.values == 1).all()


def test_slopes_follow_the_times_of_frames_that_are_missing():
    seconds = np.array([0.0, 0.04, 0.1, 0.2, 0.31, 0.33])
    rate = measure(legs(30 + 50 * seconds), "rate(left_knee_flexion)", up="y", seconds=seconds)
    np.testing.assert_allclose(rate["rate(left_knee_flexion)"].values[0], 50, atol=0.2)


def test_hypotheses_of_single_frames_do_not_make_a_still_limb_move():
    """Draws of each frame by itself, 5 degrees about 60: as motions their range is that of nothing that moves."""
    apart = 60 + np.random.default_rng(1).normal(0, 5, (200, N))
    still = measure(legs(apart), "range(left_knee_flexion)", "left_knee_flexion", up="y", seconds=SECONDS)
    assert np.median(still["range(left_knee_flexion)"].values) < 0.4 * np.median(np.ptp(apart, axis=1))
    np.testing.assert_allclose(still["left_knee_flexion"].values, apart, atol=0.02)


def test_a_neutral_stance_is_zero_with_its_own_error(drawn):
    """Motions that are all shifted alike: the shift cancels. Single frames: the errors of both add as independent."""
    neutral = np.arange(N) < 5
    knee = measure(legs(drawn), "left_knee_flexion", up="y", neutral=neutral)["left_knee_flexion"].values
    expected = drawn - drawn[:, :5].mean(1, keepdims=True)
    np.testing.assert_allclose(knee, expected, atol=0.05)
    rng = np.random.default_rng(2)
    apart = 60 + rng.normal(0, 5, (400, N))
    both = measure(legs(apart), "left_knee_flexion", "left_thigh_length", up="y", neutral=neutral)
    assert abs(both["left_knee_flexion"].values.mean()) < 0.7
    assert 5.5 < both["left_knee_flexion"].values.std() < 8  # 5 times the square root of 2
    np.testing.assert_allclose(both["left_thigh_length"].values, 0.4, atol=1e-4)


def test_angles_near_half_a_turn_are_neighbours():
    values = np.array([[179.0, 10], [-179, 20], [-177, 30]])
    turn = Measured(values, "deg")
    np.testing.assert_allclose(turn.interval(0.98)[:, 1], np.quantile(values[:, 1], (0.01, 0.99)))
    low, high = turn.interval(0.999)[:, 0]
    np.testing.assert_allclose([low % 360, high % 360], [179, 183], atol=0.01)
    values, truth = turn.beside(Measured(np.array([[-178.0, 15]]), "deg"))
    assert (abs(values[:, 0] - truth[0]) < 4).all()


def test_repetitions_are_counted_by_hand():
    """Rises from the lower quarter to the upper: small waves between, a flat line and a fall are none."""
    rows = ([0, 4, 0, 4, 0], [0, 2, 1, 2, 4], [4, 3, 2, 1, 0], [1, 1, 1, 1, 1])
    assert [list(repetitions(np.array([row], float))[0]) for row in rows] == [[1, 3], [4], [], []]


def test_steps_of_a_walk_have_their_length_and_cadence():
    """Legs that swing 20 degrees and once in 1.25 s against each other: 96 steps a minute, 0.83 m times 2 sin 20."""
    seconds = np.arange(180) / FPS
    swing = 20 * np.cos(2 * np.pi * seconds / 1.25 + 2)
    hips = np.stack([swing, -swing], -1)
    walk = bent(hips, 0 * hips, 0 * hips, 0 * hips)
    texts = OF_CLIPS[-3:]  # that a clip is summarised by
    left, right, cadence = (x.values[0] for x in measure(walk, *texts, up="y", seconds=seconds).values())
    np.testing.assert_allclose([left, right], 2 * 0.83 * np.sin(np.radians(20)), rtol=0.01)
    np.testing.assert_allclose(cadence, 96, rtol=0.02)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("__import__('os').system('true')", "not an expression"),
        ("left_knee.__class__", "not an expression"),
        ("open(left_knee)", "no function 'open'; must be one of angle, distance"),
        ("left_knee + right_knee", "points have no arithmetic"),
        ("left_knee", "a point; needed a number"),
        ("angle(left_hip, left_knee)", "angle: needed a point, a point, a point"),
        ("distance(left_knee, 3)", "distance: needed a point, a point"),
        ("abs(left_knee)", "abs: needed a number"),
        ("middle()", "middle: needed a point"),
        ("left_knee_flexionn", "no joint or quantity 'left_knee_flexionn'; must be one of hip, right_hip"),
        ("rate(left_knee_flexion)", "over time: needed the times"),
        ("angle(", "no expression, such as angle"),
        ("(" * 400 + ")" * 400, "no expression"),
        ("abs(" * 50 + "1" + ")" * 50, "joint"),
        ("3", "no joint"),
    ],
)
def test_expressions_that_are_none_are_refused(text, words):
    """Nothing of a stranger's text runs but what the grammar has."""
    refuses(words.replace("(", r"\("), measure, legs(np.full((2, 3), 40.0)), text, up="y")


def test_arguments_that_do_not_fit_are_refused():
    x = legs(np.full((2, 3), 40.0))
    refuses(r"poses: needed .* got \[2, 3, 16, 3\]", measure, x[:, :, 1:], "stature")
    refuses("seconds: needed 3 rising times", measure, x, "stature", seconds=np.array([0.0, 0.0, 1.0]))
    refuses("neutral: no frame", measure, x, "left_knee_flexion", neutral=np.zeros(3, bool))
