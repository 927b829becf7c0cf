"""`experiments.jobs.augmentation`: generated poses as upright bodies, the mixture, the lifter, rows of the command."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from command_line import called

from experiments.jobs import augmentation
from experiments.jobs.regressor import Regressor
from experiments.options import parse, run
from jaxpose import model as released
from jaxpose.base import Condition
from jaxpose.evaluation.protocols import LiftingBench
from jaxpose.examples.bodies import Bodies, draw_row
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import draw_camera, make_bodies
from jaxpose.geometry.camera import look_at, project, world_to_camera
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.networks.score_mlp import ScoreMLP
from jaxpose.spaces.person import Statistics

INTRINSICS = np.array([1145.0, 1143.0, 512.0, 515.0])


@pytest.fixture(scope="module")
def people():
    """60 bent figures [60, 17, 3] in the world's axes (y up), that face z; left is at positive x."""
    stand = np.array(
        [
            (0, 0.9, 0),
            (-0.1, 0.9, 0),
            (-0.1, 0.5, 0.02),
            (-0.1, 0.09, 0),
            (0.1, 0.9, 0),
            (0.1, 0.5, 0.02),
            (0.1, 0.09, 0),
            (0, 1.12, 0),
            (0, 1.38, 0),
            (0, 1.48, 0.08),
            (0, 1.62, 0.02),
            (0.18, 1.38, 0),
            (0.25, 1.1, 0),
            (0.25, 0.83, 0.05),
            (-0.18, 1.38, 0),
            (-0.25, 1.1, 0),
            (-0.25, 0.83, 0.05),
        ]
    )
    return (stand + np.random.default_rng(0).normal(0, 0.04, (60, 17, 3))).astype(np.float32)


@pytest.fixture(scope="module")
def bench(people):
    """The people as four level cameras see them, detected without error."""
    frame = [
        look_at(jnp.array([5 * np.sin(a), 1.0, 5 * np.cos(a)]), jnp.array([0.0, 1.0, 0.0]), jnp.array([0.0, 1, 0]))
        for a in np.arange(4) * np.pi / 2
    ]
    x_cam = np.concatenate([world_to_camera(R, t, jnp.asarray(people)) for R, t in frame])
    xy = np.asarray(project(jnp.asarray(INTRINSICS, jnp.float32), jnp.asarray(x_cam)))
    num = len(x_cam)
    category = np.where(np.arange(num) % 60 < 45, "walk", "run")
    return LiftingBench(xy, xy, np.ones((num, 17)), np.tile(INTRINSICS, (num, 1)), x_cam, category)


def handedness(x):
    """Signed volume of (left - right shoulder, head - hip, the way the face looks): a mirror turns its sign."""
    left, right, nose = (H36M_17.joints.index(j) for j in ("left_shoulder", "right_shoulder", "neck_nose"))
    across, up, ahead = x[:, left] - x[:, right], x[:, 10] - x[:, 0], x[:, nose] - x[:, 8]
    return np.einsum("nd,nd->n", across, np.cross(up, ahead))


def test_a_level_cameras_pose_comes_back_as_the_body_it_saw(people):
    R, t = look_at(jnp.array([0.0, 1.0, 6.0]), jnp.array([0.0, 1.0, 0.0]), jnp.array([0.0, 1.0, 0.0]))
    seen = np.asarray(world_to_camera(R, t, jnp.asarray(people)))
    bodies = augmentation.upright(seen - seen[:, :1])
    # The camera stands on the z axis and looks along -z, so its right is the world's x.
    wanted = people - people[:, :1]
    np.testing.assert_allclose(bodies - bodies[:, :1], wanted, atol=1e-5)
    np.testing.assert_allclose(bodies[..., 1].min(-1), 0.09, atol=1e-6)


def test_left_stays_left(people):
    """From any side, and a mirrored pose is found out."""
    keys = jax.random.split(jax.random.key(1), len(people))
    R, t = jax.vmap(lambda k, x: draw_camera(k, x, ViewRates()))(keys, jnp.asarray(people))
    seen = np.asarray(jax.vmap(world_to_camera)(R, t, jnp.asarray(people)))
    np.testing.assert_allclose(handedness(augmentation.upright(seen)), handedness(people), rtol=1e-3, atol=1e-5)
    clear = np.abs(handedness(people)) > 1e-3
    assert clear.mean() > 0.9
    mirrored = augmentation.upright(seen * np.array([-1, 1, 1], np.float32))
    assert (handedness(mirrored) * handedness(people) < 0)[clear].all()


def test_a_batch_holds_generated_bodies_at_the_ratio(people):
    weights = np.random.default_rng(0).uniform(size=len(people))
    generated = people[:7] + 100
    draw = jax.jit(jax.vmap(lambda k, b: b.joints[draw_row(k, b)], (0, None)))
    for ratio in (1.0, 3.0):
        joints, chance = augmentation.mix(people, weights, generated, ratio)
        bodies = Bodies(jnp.asarray(joints), jnp.asarray(np.cumsum(chance), jnp.float32), Statistics(0.0, 1.0))
        drawn = draw(jax.random.split(jax.random.key(2), 20_000), bodies)
        is_generated = np.asarray(drawn[:, 0, 0] > 50)
        assert abs(is_generated.mean() - ratio / (1 + ratio)) < 0.015
    # Among themselves, generated bodies are alike and real ones keep their weights.
    real = np.asarray(drawn)[~is_generated]
    heaviest = np.argmax(weights)
    share = (real == bodies.joints[heaviest]).all((1, 2)).mean()
    assert abs(share - weights[heaviest] / weights.sum()) < 0.012
    first = (np.asarray(drawn)[is_generated] == bodies.joints[len(people)]).all((1, 2)).mean()
    assert abs(first - 1 / 7) < 0.015


def test_score_of_known_answers(bench):
    """A network that always says one pose: its error is computed by hand in numpy."""

    class Constant:
        def apply(self, params, cond):
            return jnp.broadcast_to(params, cond.value.shape)

    pose = np.random.default_rng(1).normal(size=(17, 3)).astype(np.float32)
    statistics = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25))
    # Cameras that look straight at the person: view axes are the camera's, up to the small turn to its middle.
    found = augmentation.score(Constant(), pose, statistics, bench)
    middle = bench.keypoints.mean(1)
    ray = np.concatenate([(middle - INTRINSICS[2:]) / INTRINSICS[:2], np.ones((len(middle), 1))], -1)
    ray /= np.linalg.norm(ray, axis=-1, keepdims=True)
    v = np.cross(ray, [0, 0, 1])  # Rodrigues: the shortest turn of the ray to the z axis
    K = np.zeros((len(v), 3, 3))
    K[:, 0, 1], K[:, 0, 2], K[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    K -= np.swapaxes(K, 1, 2)
    turn = np.eye(3) + K + K @ K / (1 + ray[:, 2])[:, None, None]
    answer = np.einsum("nji,kj->nki", turn, 0.25 * (pose - pose[0]))
    errors = np.linalg.norm(answer - (bench.joints_cam - bench.joints_cam[:, :1]), axis=-1).mean(-1)
    np.testing.assert_allclose(found["mpjpe_mm"], 1000 * errors.mean(), rtol=1e-4)
    groups = [errors[bench.category == c].mean() for c in ("walk", "run")]
    np.testing.assert_allclose(found["macro_mpjpe_mm"], 1000 * np.mean(groups), rtol=1e-4)
    assert found["p_mpjpe_mm"] < found["mpjpe_mm"]


@pytest.mark.slow
def test_training_improves_on_the_start(people, bench):
    bodies = make_bodies(people, np.full(len(people), 1 / len(people)), ViewRates())
    network, key = Regressor(32, num_blocks=1), jax.random.key(0)
    pose = jnp.zeros((17, 3))
    start = network.init(key, Condition(pose, pose, jnp.zeros(17)))
    end = augmentation.train_lifter(key, network, bodies, ViewRates(), steps=200, batch=32, learning_rate=1e-2)
    before, after = (augmentation.score(network, p, bodies.statistics, bench) for p in (start, end))
    assert after["mpjpe_mm"] < 0.4 * before["mpjpe_mm"]
    assert after["p_mpjpe_mm"] < 0.9 * before["p_mpjpe_mm"]


def test_the_table_compares_on_the_same_seeds():
    def row(kind, share, seed, error):
        return {
            "kind": kind,
            "share": share,
            "seed": seed,
            "sequences": 3,
            "frames": 50,
            "mpjpe_mm": error,
            "p_mpjpe_mm": error / 2,
            "macro_mpjpe_mm": error + 1,
        }

    rows = [
        row("real", 0.01, 0, 100.0),
        row("real", 0.01, 1, 120.0),
        row("generated", 0.01, 0, 90.0),
        row("generated", 0.01, 1, 108.0),
        row("own", 0.01, 1, 123.0),
        row("own", 0.05, 0, 80.0),
    ]
    shown = [line.split(" | ") for line in augmentation.table_lines(rows)[1:]]
    assert [line[:3] for line in shown] == [
        ["1%", "real", "2"],
        ["1%", "generated", "2"],
        ["1%", "own", "1"],
        ["5%", "own", "1"],
    ]
    assert [line[5] for line in shown[:2]] == ["110.0 (100.0-120.0)", "99.0 (90.0-108.0)"]
    assert [line[6] for line in shown] == ["", "-11.0", "+3.0", ""]


@pytest.fixture
def table(monkeypatch, capsys, tmp_path):
    """The command on small sizes: (data folder, *flags) -> exit code and what was printed."""

    def main(argv):
        run("augmentation", augmentation.main, augmentation.Options, augmentation.__doc__, argv)

    def command(data, *flags):
        monkeypatch.setenv("JAXPOSE_DATA", str(data))
        small = (f"--out={tmp_path / 'out'}", "--hidden=32", "--steps=3", "--batch=8")
        return called(capsys, main, *small, *flags)

    return command


@pytest.fixture(scope="module")
def data(people, bench, tmp_path_factory):
    """Folders as the shared ones: mocap of three sequences, and the benchmark beside it."""
    root = tmp_path_factory.mktemp("shared")
    for folder in ("data/mocap", "bench"):
        (root / folder).mkdir(parents=True)
    (root / "data/mocap/splits.json").write_text(json.dumps({"train": ["a"], "val": ["b"]}))
    for name in ("cmu", "hdm05"):
        np.savez(
            root / "data/mocap" / f"{name}.npz",
            joints17=np.round(people / 0.0005).astype(np.int16),
            pos_scale=0.0005,
            seq_start=[0, 20, 40],
            seq_length=[20, 20, 20],
            seq_subject=["a", "a", "a"],
            seq_category=["walk", "run", "walk"],
            seq_name=["a_1", "a_2", "a_3"],
        )
    np.savez(root / "bench/val_frames.npz", **bench._asdict())
    return root / "data"


@pytest.mark.parametrize(
    ("shares", "kinds", "seeds", "message"),
    [
        ("0.1", "real,fake", "0", r"--kinds: got \['fake'\], legal are"),
        ("0.1,7", "real", "0", r"--shares: got \[7.0\], legal is above 0 up to 1"),
        ("nan", "real", "0", r"--shares: got nan, legal are finite"),
        ("few", "real", "0", r"--shares: got \['few'\], legal are numbers"),
        ("0.1", "real", "-1", r"--seeds: got \[-1\], legal is 0 to any"),
        ("0.1", "", "0", r"needed one of each at least"),
    ],
)
def test_illegal_rows_are_named(shares, kinds, seeds, message):
    flags = f"--shares={shares}", f"--kinds={kinds}", f"--seeds={seeds}"
    with pytest.raises(ValueError, match=message):
        augmentation.requested_rows(parse(augmentation.Options, flags))


def test_bad_flags_leave_with_code_2(table, tmp_path):
    code, text = table(tmp_path, "--kinds=fake")
    assert code == 2
    assert text.strip().splitlines()[-1].startswith("augmentation: --kinds: got ['fake']")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_table_is_made_row_by_row_and_no_row_twice(table, data, tmp_path):
    spec = released.Spec("tiny", ScoreMLP(hidden=32, time_width=16, num_groups=4, dropout=0.0))
    params = released.init_params(jax.random.key(0), spec)
    statistics = Statistics(jnp.zeros((17, 3)), jnp.full((17, 3), 0.25), jnp.ones((17, 3)))
    model, out = tmp_path / "tiny.safetensors", tmp_path / "out"
    released.save(model, released.Model(params, statistics, spec))
    flags = [f"--model={model}", "--generated=64", "--sampler_steps=3", "--shares=0.3,1"]
    code, text = table(data, *flags)
    assert code == 0, text
    rows = json.loads((out / "augmentation.json").read_text())["rows"]
    kinds = [(r["share"], r["kind"], r["sequences"]) for r in rows]
    assert kinds == [(0.3, "real", 2), (0.3, "classic", 2), (0.3, "generated", 2), (1.0, "real", 6)]
    assert rows[2]["generator"]["privilege"] == "the generator was trained on all training sequences"
    assert len({r["mpjpe_mm"] for r in rows}) == 4
    # A generator of its own is asked for by the command that makes it; and only its row is run.
    own = [*flags, "--kinds=real,own", "--shares=0.3", f"--own={tmp_path}/{{share}}_{{seed}}.safetensors"]
    code, text = table(data, *own)
    assert code == 2
    assert "--config.seed=0 --config.data.share=0.3" in text
    model.rename(tmp_path / "0.3_0.safetensors")
    code, text = table(data, *own)
    assert code == 0, text
    assert "row 1 of 1: own" in text
    assert len(json.loads((out / "augmentation.json").read_text())["rows"]) == 5
    # Rows of other settings are not mixed in.
    code, text = table(data, *own, "--steps=4")
    assert code == 2
    assert "choose another --out" in text
