"""Lifter: rows in any division give the same numbers, those of `lift` with their own keys; wrong rows are named."""

import hashlib
import pickle

import jax
import numpy as np
import pytest
import small_models
from shared import refuses

import jaxpose
from jaxpose.model import ASSETS
from jaxpose.tasks.samplers import stochastic

IDS = np.array(["a/0", "a/1", "b/0", "b/1", "c/0", "c/1", "d"])


def key_of(seed: int, row_id: str) -> jax.Array:
    key = jax.random.key(seed)
    digest = hashlib.blake2b(row_id.encode(), digest_size=8).digest()
    for bits in (digest[:4], digest[4:]):
        key = jax.random.fold_in(key, int.from_bytes(bits, "little"))
    return key


def part(batch, rows):
    return {name: value[rows] for name, value in batch.items()}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return small_models.write_joint_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def lifter(path):
    return jaxpose.Lifter(path, seed=3, num_hypotheses=4, samples=True, block=4)


@pytest.fixture(scope="module")
def batch():
    """Seven detections of the bundled clip, the last without a wrist."""
    with np.load(ASSETS / "demo_clip.npz") as z:
        clip = {name: z[name][:: len(z["keypoints"]) // 7][:7] for name in ("keypoints", "confidence")}
        intrinsics = np.tile(z["intrinsics"], (7, 1))
    clip["confidence"][6, 16] = 0
    return {"id": IDS, **clip, "intrinsics": intrinsics, "frame": np.arange(7)}


@pytest.fixture(scope="module")
def whole(lifter, batch):
    return lifter(batch)


@pytest.mark.parametrize("size", [1, 3])
def test_any_order_and_batch_give_the_same_bits(lifter, batch, whole, size):
    order = np.random.default_rng(0).permutation(7)
    for rows in np.split(order, range(size, 7, size)):
        found = lifter(part(batch, rows))
        for name, value in whole.items():
            np.testing.assert_array_equal(found[name], value[rows], err_msg=name)


def test_a_row_is_lifted_with_the_key_of_its_seed_and_id(lifter, batch, whole):
    model, camera = jaxpose.load(lifter.model), jaxpose.Camera(batch["intrinsics"][2])
    seen = batch["keypoints"][2:3], batch["confidence"][2:3]
    alone = jaxpose.lift(key_of(3, "b/0"), model, *seen, camera=camera, num_hypotheses=4)
    np.testing.assert_allclose(whole["samples"][2], alone.samples[:, 0], atol=1e-4)
    np.testing.assert_allclose(whole["sample_roots"][2], alone.root[:, 0], rtol=1e-4)
    np.testing.assert_allclose(whole["pose"][2], alone.mean[0], atol=1e-4)
    np.testing.assert_allclose(whole["radius_90"][2], alone.radius_90[0], atol=1e-4)
    np.testing.assert_allclose(whole["root"], whole["sample_roots"].mean(1), rtol=1e-5)
    assert not np.allclose(whole["pose"][0], jaxpose.Lifter(lifter.model, num_hypotheses=4, block=4)(batch)["pose"][0])


def test_other_columns_are_passed_on_and_ids_are_text_or_numbers(lifter, batch, whole):
    np.testing.assert_array_equal(whole["frame"], batch["frame"])
    texts, numbers = np.array(["7"] * 7), np.full(7, 7)
    np.testing.assert_array_equal(lifter(batch | {"id": texts})["pose"], lifter(batch | {"id": numbers})["pose"])


def test_it_is_pickled_without_its_model(lifter, batch, whole):
    text = pickle.dumps(lifter)
    assert len(text) < 1000
    np.testing.assert_array_equal(pickle.loads(text)(part(batch, slice(2)))["pose"], whole["pose"][:2])


def test_what_is_equal_in_all_rows_is_given_once(path, batch):
    lifter = jaxpose.Lifter(
        path, num_hypotheses=4, height=1.6, intrinsics=batch["intrinsics"][0], sampler=stochastic(3)
    )
    given = {name: batch[name] for name in ("id", "keypoints", "confidence")}
    columns = jaxpose.Lifter(path, num_hypotheses=4, sampler=stochastic(3))(batch | {"height": np.full(7, 1.6)})
    np.testing.assert_array_equal(lifter(given)["pose"], columns["pose"])


def test_a_clip_is_lifted_by_itself_as_lift_video_does(path, lifter, batch):
    """Clips of other lengths, at 25 frames per second with one left out, beside a detection of the same table."""
    clip, short = (batch["keypoints"][rows] for rows in (slice(5), slice(3)))
    keypoints = np.empty(3, object)
    for n, value in enumerate((clip, batch["keypoints"][0], short)):
        keypoints[n] = value
    numbers = [np.array([0, 1, 2, 4, 5]), 0, np.arange(3)]
    rows = {"id": np.array([1, 2, 3]), "keypoints": keypoints, "frame": numbers, "fps": np.full(3, 25)}
    found = lifter(rows | {"intrinsics": batch["intrinsics"][:3]})
    camera = jaxpose.Camera(batch["intrinsics"][0])
    model, how = jaxpose.load(path), {"camera": camera, "frame": numbers[0], "fps": 25, "num_hypotheses": 4}
    alone = jaxpose.lift_video(key_of(3, "1"), model, clip, **how)
    np.testing.assert_array_equal(found["pose"][0], alone.mean)
    np.testing.assert_array_equal(found["samples"][0], np.swapaxes(alone.samples, 0, 1))
    assert [value.shape for value in found["radius_90"]] == [(5, 17), (17,), (3, 17)]


def test_rows_of_tables_are_nested_arrays_or_lists(lifter, batch, whole):
    def nested(array):
        if array.ndim == 0:
            return float(array)
        values = np.empty(len(array), object)
        for n, value in enumerate(array):
            values[n] = nested(value)
        return values

    names = ("keypoints", "confidence", "intrinsics")
    for form in (nested, np.ndarray.tolist):
        found = lifter(batch | {name: form(np.asarray(batch[name])) for name in names})
        np.testing.assert_array_equal(found["pose"], whole["pose"])


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("keypoints", np.linspace(-0.5, 0.5, 34).reshape(17, 2), "keypoints: all coordinates lie within -1 and 1"),
        ("keypoints", np.full((17, 2), np.nan), "keypoints: hip is not finite; confidence must be 0"),
        ("keypoints", np.zeros((16, 2)), r"keypoints: needed \[17, 2\] or \[F, 17, 2\] in the order of h36m17, got"),
        ("keypoints", [[1, 2], [3]], "keypoints: needed numbers of one shape"),
        ("keypoints", np.zeros((0, 17, 2)), r"confidence: needed \[0, 17\], got \[17\]"),
        ("confidence", np.full(17, 100), r"confidence: needed numbers in \[0, 1\], got 100"),
        ("confidence", np.eye(17)[:3].sum(0), "confidence: needed 4 joints above 0 in one frame, got 3"),
        ("intrinsics", np.array([0, 1000, 500, 500]), "intrinsics: needed finite fx, fy, cx, cy"),
        ("height", -1.0, "height: needed metres above 0, got -1"),
        ("up", np.zeros(3), "up: needed a direction, got 0"),
        ("id", 1.5, "id: must be text or a whole number, got float"),
    ],
)
def test_a_wrong_row_is_named(lifter, batch, name, value, words):
    """By its id; `faults` has the words for this row alone."""
    others = {"height": [1.7] * 7, "up": [np.array([0, -1, 0])] * 7} if name in ("height", "up") else {}
    column = list((batch | others)[name])
    column[3] = value
    rows = batch | others | {name: column}
    refuses(f"^row '{value if name == 'id' else 'b/1'}': {words}", lifter, rows)
    faults = lifter.faults(rows)
    assert faults[3]
    assert [n for n, fault in enumerate(faults) if fault] == [3]


def test_errors_of_a_batch_and_of_settings(lifter, batch):
    without = {name: value for name, value in batch.items() if name != "intrinsics"}
    refuses("no column 'intrinsics'; the batch has id, keypoints, confidence, frame", lifter, without)
    refuses(r"Lifter: 'heigth'; must be one of .*height", jaxpose.Lifter, heigth=1.7)
    refuses("block: needed at least 1, got 0", jaxpose.Lifter, block=0)


def test_a_model_of_motions_takes_clips_alone(tmp_path, batch):
    lifter = jaxpose.Lifter(small_models.write_motion_model(tmp_path), num_hypotheses=2)
    refuses(r"row 'a/0': keypoints: needed \[F, 17, 2\]", lifter, batch)
    clip = {name: batch[name][None] for name in ("keypoints", "confidence")}
    found = lifter({"id": ["x"], "intrinsics": batch["intrinsics"][:1], **clip})
    assert found["pose"].shape == (1, 7, 17, 3)
