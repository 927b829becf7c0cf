"""The mocap reader: splits honoured, units, weights, errors; on files the test writes, and on the real ones."""

import itertools
import json

import numpy as np
import pytest
from shared import refuses

from jaxpose.datasets.mocap import Mocap, balanced_weights, data_root, load_mocap, load_rotations, take_share


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "mocap"
    folder.mkdir()
    (folder / "splits.json").write_text(json.dumps({"train": ["a", "c"], "val": ["b"]}))
    joints = np.arange(10 * 17 * 3, dtype=np.int16).reshape(10, 17, 3)
    np.savez(
        folder / "x.npz",
        joints17=joints,
        pos_scale=0.0005,
        seq_start=[0, 3, 7],
        seq_length=[3, 4, 3],
        seq_subject=["a", "b", "c"],
        seq_category=["walk", "run", "dance"],
        seq_name=["a_1", "b_1", "c_1"],
    )
    return tmp_path


def test_splits_frames_and_units(root):
    train = load_mocap(root, "train", ("x",))
    assert train.subject.tolist() == ["a", "c"]
    assert train.sequence.tolist() == [0, 0, 0, 1, 1, 1]
    np.testing.assert_allclose(train.joints[:, 0, 0], np.array([0, 51, 102, 357, 408, 459]) * 0.0005, rtol=1e-6)
    both = load_mocap(root, "val", ("x", "x"))
    assert both.sequence.tolist() == [0] * 4 + [1] * 4
    assert len(both.name) == 2


def test_balanced_weights(root):
    mocap = load_mocap(root, "train", ("x",))
    np.testing.assert_allclose(balanced_weights(mocap, 1.0), 1 / 6)
    uneven = mocap._replace(joints=mocap.joints[:4], sequence=np.array([0, 0, 0, 1]))
    np.testing.assert_allclose(balanced_weights(uneven, 0.0), [1 / 6, 1 / 6, 1 / 6, 1 / 2])
    np.testing.assert_allclose(balanced_weights(uneven, 0.5)[3], 1 / (1 + np.sqrt(3)))
    refuses(r"power must be in \[0, 1\], got 2", balanced_weights, mocap, 2)


def test_subjects_of_a_category_are_balanced_and_categories_weighed():
    """a walks 3 frames and b 1; c runs 4."""
    mocap = Mocap(
        np.zeros((8, 17, 3)), np.array([0, 0, 0, 1, 2, 2, 2, 2]), *np.array([list("abc"), list("wwr"), list("xyz")])
    )
    alike = balanced_weights(mocap, 1.0, 0.0)
    np.testing.assert_allclose([alike[:3].sum(), alike[3], alike[4:].sum()], [0.25, 0.25, 0.5])
    root = balanced_weights(mocap, 1.0, 0.5)
    np.testing.assert_allclose(root[:3].sum() / root[3], np.sqrt(3))
    fewer = balanced_weights(mocap, 1.0, 0.0, {"r": 0.5})
    np.testing.assert_allclose([fewer[:4].sum(), fewer[4:].sum()], [2 / 3, 1 / 3])
    refuses(r"subject_power must be in \[0, 1\], got -1", balanced_weights, mocap, 1.0, -1)


def test_splits_are_joined_and_subjects_of_a_file_are_dropped(root):
    both = load_mocap(root, "train+val", ("x",))
    assert both.subject.tolist() == ["a", "b", "c"]
    without = load_mocap(root, "train+val", ("x",), drop=("x/b", "y/a"))
    assert without.subject.tolist() == ["a", "c"]
    assert len(without.joints) == 6
    assert load_mocap(root, "train+train_more", ("x",)).subject.tolist() == ["a", "c"]  # where there is the second
    refuses("split: got 'tes'; must be one of", load_mocap, root, "tes+train", ("x",))


@pytest.mark.parametrize(("split", "files"), [("train", ("x", "uiprmd")), ("train+out_of_database", ("x",))])
def test_what_is_for_evaluation_only_is_never_trained_on(root, split, files):
    (root / "mocap" / "splits.json").write_text(json.dumps({"train": ["a", "c"], "out_of_database": ["b"]}))
    np.savez(root / "mocap" / "uiprmd.npz", **np.load(root / "mocap" / "x.npz"))
    for load in (load_mocap, load_rotations):
        refuses(r"(uiprmd|b) is for evaluation only; nothing may be trained on it", load, root, split, files)
    assert load_mocap(root, "out_of_database", ("uiprmd",)).subject.tolist() == ["b"]


def test_rotations_come_with_the_pelvis_first(root):
    with np.load(root / "mocap" / "x.npz") as z:
        frames = dict(z)
    frames |= {"rot_scale": 0.001, "global_orient": np.arange(30).reshape(10, 3)}
    frames |= {"body_pose": 1000 + np.arange(630).reshape(10, 63)}
    np.savez(root / "mocap" / "x.npz", **frames)
    found = load_mocap(root, "val", ("x",), rotations=True).rotations
    assert found.shape == (4, 22, 3)
    np.testing.assert_allclose(found[0, 0], [0.009, 0.010, 0.011], rtol=1e-5)
    np.testing.assert_allclose(found[0, 1], np.array([1189, 1190, 1191]) / 1000, rtol=1e-5)


@pytest.fixture
def many():
    """40 sequences of 1 to 40 frames, in no order; every joint of a frame holds the frame's number."""
    lengths = np.random.default_rng(3).permutation(np.arange(1, 41))
    number = np.arange(lengths.sum(), dtype=np.float32)
    names = np.array([f"s{i}" for i in range(40)])
    sequence = np.repeat(np.arange(40), lengths)
    return Mocap(np.tile(number[:, None, None], (1, 17, 3)), sequence, names, names, names)


@pytest.mark.parametrize("share", [0.02, 0.2, 0.7])
def test_a_share_is_whole_sequences_of_about_its_size(many, share):
    part = take_share(many, share, 5)
    # A prefix can always come within half of the sequence at which the share is passed.
    assert abs(len(part.joints) - share * len(many.joints)) <= 20
    for index, name in enumerate(part.name):
        mine, whole = part.sequence == index, many.sequence == int(name[1:])
        np.testing.assert_array_equal(part.joints[mine], many.joints[whole])
    assert len(part.joints) == np.isin(many.name[many.sequence], part.name).sum()
    np.testing.assert_array_equal(part.subject, part.name)
    np.testing.assert_array_equal(part.category, part.name)


def test_shares_of_one_seed_are_nested_and_of_others_differ(many):
    shares = [set(take_share(many, share, 0).name) for share in np.linspace(0.01, 1, 100)]
    assert all(small <= large for small, large in itertools.pairwise(shares))
    assert len(shares[0]) == 1, "one sequence at least"
    for a, b in zip(take_share(many, 1.0, 0), many, strict=True):
        np.testing.assert_array_equal(a, b)
    draws = [tuple(take_share(many, 0.1, seed).name) for seed in (0, 0, *range(1, 20))]
    assert draws[0] == draws[1]
    assert len(set(draws)) == 20
    first = np.concatenate([take_share(many, 0.1, seed).name for seed in range(300)])
    assert set(first) == set(many.name), "any sequence may be drawn"


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_a_share_is_above_0_up_to_1(many, share):
    refuses(rf"share must be in \(0, 1\], got {share}", take_share, many, share, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: load_mocap(r, "test", ("x",)), r"split: got 'test'; must be one of \['train', 'val'\]"),
        (lambda r: load_mocap(r, "val", ("y",)), r"y\.npz: no such file"),
        (lambda r: load_mocap(r / "nowhere", "val"), "no splits.json there"),
        (
            lambda r: (np.savez(r / "mocap" / "z.npz", a=1), load_mocap(r, "val", ("z",))),
            r"z\.npz: lacks joints17, pos_scale",
        ),
    ],
)
def test_errors_name_what_is_wrong(root, change, message):
    refuses(message, change, root)


@pytest.mark.skipif(not (data_root() / "mocap").is_dir(), reason="JAXPOSE_DATA (../shared/data) is absent")
def test_real_files_have_human_bones_and_disjoint_subjects():
    train, val = load_mocap(data_root(), "train"), load_mocap(data_root(), "val")
    assert not set(train.subject) & set(val.subject)
    assert len(train.joints) + len(val.joints) == 80_350 + 14_013
    thigh = np.median(np.linalg.norm(train.joints[:, 2] - train.joints[:, 1], axis=-1))
    assert 0.36 < thigh < 0.44  # metres; the README's median is 0.40
