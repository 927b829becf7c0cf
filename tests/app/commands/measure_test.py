"""`jaxpose measure` and `jaxpose calibrate` on results whose angles and errors are known."""

import csv
import json

import numpy as np
import pytest
from bent_bodies import bent
from command_line import refusal
from scipy import stats
from shared import refuses

from jaxpose.app import cli
from jaxpose.app.commands import calibration, measure
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.io.results import Bands, write_mot
from jaxpose.model import ASSETS

H, N, FPS = 60, 91, 30.0
rng = np.random.default_rng(0)


def write_result(path, knee, **more):
    """A result of bodies [H, N] whose knees are bent by degrees, in the axes of a level camera."""
    knee = np.asarray(knee, float)[..., None] * np.ones(2)
    samples = (bent(0 * knee, knee, 0 * knee, 0 * knee) * [1, -1, -1]).astype(np.float32)
    return write_samples(path, samples, **more)


def write_samples(path, samples, **more):
    """A result of samples [H, N, 17, 3]."""
    num = samples.shape[1]
    fields = {"samples": samples, "mean": samples.mean(0), "covariance": np.tile(np.eye(3), (num, 17, 1, 1))}
    fields |= {"joints": H36M_17.joints, "frame": np.arange(num), "person": np.zeros(num, int), "fps": FPS, "up": "-y"}
    np.savez(path, **fields | more)
    return path


@pytest.fixture(scope="module")
def knee():
    """Degrees [H, N]: motions that bend once a second, each shifted."""
    return 60 - 20 * np.cos(2 * np.pi * np.arange(N) / FPS) + rng.normal(0, 4, (H, 1))


def run(command, *arguments):
    cli.main([command, *map(str, arguments)])


def rows(path, quantity):
    with open(path, newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["quantity"] == quantity]


def test_the_files_have_the_quantiles_of_each_moment(knee, tmp_path):
    """Two people, the second 10 degrees more bent; one has a frame less."""
    two = np.concatenate([knee, knee[:, 1:] + 10], 1)
    frame, person = np.r_[np.arange(N), np.arange(1, N)], np.r_[np.zeros(N, int), np.ones(N - 1, int)]
    path = write_result(tmp_path / "walk.npz", two, frame=frame, person=person)
    expression = "angle(right_hip, right_knee, right_ankle)"
    given = ("--quantities", "left_knee_flexion,stature", "--expr", expression, "--expr", "range(left_knee_flexion)")
    run("measure", path, "--out", tmp_path / "o", "--mot", "--no-pictures", *given)
    name = tmp_path / "o" / "walk_measured"
    expected = np.quantile(knee, (0.5, 0.25, 0.75, 0.05, 0.95), axis=0)
    columns = ("median", "low_50", "high_50", "low_90", "high_90")
    table = rows(f"{name}.csv", "left_knee_flexion")
    values = np.array([[float(row[c]) for c in columns] for row in table]).T
    np.testing.assert_allclose(values[:, :N], expected, atol=0.02)
    np.testing.assert_allclose(values[:, N:], expected[:, 1:] + 10, atol=0.02)
    assert (table[N]["time_s"], table[N]["person"], table[N]["unit"]) == ("0.033333", "1", "deg")
    opened = np.array([float(row["median"]) for row in rows(f"{name}.csv", expression)])
    np.testing.assert_allclose(opened, 180 - values[0], atol=0.02)
    with np.load(f"{name}.npz") as z:
        np.testing.assert_allclose(z["median"][:, 0], values[0], atol=0.01)
        assert list(z["quantities"]) == ["left_knee_flexion", "stature", expression]
        assert z["interval_90"].shape == (3, 2, 2 * N - 1)
    summary = json.loads(name.with_suffix(".json").read_text(encoding="utf-8"))
    span = summary["people"]["0"]["range(left_knee_flexion)"]
    np.testing.assert_allclose([span["median"], *span["interval_90"]], 40, atol=0.1)
    width = summary["people"]["0"]["left_knee_flexion"]["width_90"]
    assert width == pytest.approx(np.median(expected[4] - expected[3]), abs=0.02)
    assert "long axes" in summary["not_defined"]
    lines = (tmp_path / "o" / "walk_measured_person1.mot").read_text(encoding="utf-8").splitlines()
    assert lines[1:6] == ["version=1", f"nRows={N - 1}", "nColumns=4", "inDegrees=yes", "endheader"]
    assert lines[6].split("\t")[:3] == ["time", "knee_angle_l", "stature"]
    first = np.array(lines[7].split("\t"), float)
    np.testing.assert_allclose(first[:2], [1 / FPS, values[0, N]], atol=0.01)


def test_opensim_adducts_where_we_abduct(tmp_path):
    bands = Bands(["left_hip_abduction"], ["deg"], np.zeros(1), np.zeros(1), np.zeros(1), np.full((1, 5, 1), 7.0))
    lines = write_mot(tmp_path / "a.mot", bands).read_text(encoding="utf-8").splitlines()
    assert lines[6:] == ["time\thip_adduction_l", "0.000000\t-7.000000"]


def test_a_neutral_stance_and_the_usual_quantities_and_a_plot(knee, tmp_path):
    pytest.importorskip("matplotlib")
    path = write_result(tmp_path / "walk.npz", knee)
    run("measure", path, "--out", tmp_path, "--neutral", 0, 0.1)
    values = np.array([float(row["median"]) for row in rows(tmp_path / "walk_measured.csv", "right_knee_flexion")])
    expected = np.median(knee - knee[:, :4].mean(1, keepdims=True), 0)
    np.testing.assert_allclose(values, expected, atol=0.05)
    assert (tmp_path / "walk_measured.png").stat().st_size > 20_000
    summary = json.loads((tmp_path / "walk_measured.json").read_text(encoding="utf-8"))
    assert summary["people"]["0"]["range(left_knee_flexion)"]["median"] == pytest.approx(40, abs=0.1)
    assert summary["people"]["0"]["peak(step_length)"]["median"] is None  # nobody walks


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--quantities", "knee"), "no joint or quantity 'knee'"),
        (("--expr", "__import__('os')"), "no function '__import__'"),
        (("--neutral", "5", "9"), "--neutral: got 5 to 9 s, and person 0 is seen from 0 to 3 s"),
        (("--neutral", "2", "1"), "--neutral: needed two times"),
        (("--calibrated", "none.json"), "none.json"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, words, knee, tmp_path, capsys):
    path = write_result(tmp_path / "walk.npz", knee)
    assert words in refusal(capsys, cli.main, "measure", path, "--out", tmp_path / "o", "--no-pictures", *arguments)
    assert not (tmp_path / "o").exists()


def test_what_is_no_result_is_lifted_first(knee, tmp_path, monkeypatch, capsys):
    """Its result is written beside, and measured."""

    def lift(options):
        options.output.out.mkdir()
        yield f"wrote {write_result(options.output.out / f'{options.input.stem}.npz', knee)}"

    monkeypatch.setattr(measure, "lift", lift)
    run("measure", ASSETS / "demo_clip.npz", "--out", tmp_path / "o", "--no-pictures", "--quantities", "stature")
    assert len(rows(tmp_path / "o" / "demo_clip_measured.csv", "stature")) == N
    assert f"wrote {tmp_path / 'o' / 'demo_clip.npz'}" in capsys.readouterr().out


def test_without_a_rate_there_is_no_motion(knee, tmp_path, capsys):
    with np.load(write_result(tmp_path / "walk.npz", knee)) as z:
        np.savez(tmp_path / "still.npz", **{k: z[k] for k in z.files if k != "fps"})
    still = ("measure", tmp_path / "still.npz", "--out", tmp_path, "--no-pictures")
    assert "--mot: " in refusal(capsys, cli.main, *still, "--mot")
    assert "over time" in refusal(capsys, cli.main, *still, "--expr", "rate(stature)")
    run(*still, "--expr", "stature")
    assert rows(tmp_path / "still_measured.csv", "stature")[0]["time_s"] == ""
    run(*still[:-1], "--no-pictures", "--fps", 30, "--expr", "rate(left_knee_flexion)")
    assert rows(tmp_path / "still_measured.csv", "rate(left_knee_flexion)")[1]["time_s"] == "0.033333"


@pytest.fixture(scope="module")
def laboratory(tmp_path_factory):
    """A result of 40 s of one person at 5 a second: hypotheses 20 mm about a body, truth 30 mm about it, turned."""
    folder, num = tmp_path_factory.mktemp("laboratory"), 200
    body = bent(*(20 + 20 * np.sin(np.arange(num) / k)[:, None] * np.ones(2) for k in (7, 5, 9, 4))) * [1, -1, -1]
    draw = np.random.default_rng(1)

    def noise(std, *shape):
        about_hips = draw.normal(0, std, (*shape, 17, 3))
        about_hips[..., 0, :] = 0
        return about_hips

    result = write_samples(folder / "ours.npz", (body + noise(0.02, 200, num)).astype(np.float32), fps=5.0)
    truth = body + noise(0.03, num)
    turned = truth @ np.array([[0, 0, 1.0], [0, 1, 0], [-1, 0, 0]]).T + [3, 2, 1]
    np.savez(folder / "truth.npz", joints3d=turned, joints=H36M_17.joints, frame=np.arange(num), up="-y", fps=5.0)
    return folder, result, truth


def test_a_calibration_recovers_the_factor_and_makes_the_radius_hold(laboratory, tmp_path, capsys):
    """Truths 1.5 times as far as hypotheses; of 20 blocks the quantile is that of 0.9 * 21 / 20, here of chi with 3."""
    folder, path, truth = laboratory
    out = tmp_path / "laboratory.json"
    run("calibrate", path, "--truth", folder / "truth.npz", "--out", out)
    printed = capsys.readouterr().out
    assert "turned by 90 degrees" in printed
    assert "20 blocks of 1 people" in printed
    assert "1 people promise a new person at most 50%" in printed
    truths = ("--truth", folder / "truth.npz") * 2
    run("calibrate", path, path, *truths, "--out", tmp_path / "two.json")
    assert "40 blocks of 2 people" in capsys.readouterr().out
    factors = calibration.read_calibration(out)
    level = 0.9 * 21 / 20
    expected = 1.5 * np.sqrt(stats.chi2.ppf(level, 3) / stats.chi2.ppf(0.9, 3))
    np.testing.assert_allclose(list(factors["joints"].values()), expected, rtol=0.1)
    assert len(factors["joints"]) == 10
    held = [entry["left_out"][1] for entry in json.loads(out.read_text(encoding="utf-8"))["joints"].values()]
    assert 0.9 < np.mean(held) < 0.97
    with np.load(path) as z:
        fields = calibration.applied(out, {"samples": z["samples"]}, H36M_17)
    away = np.linalg.norm(fields["samples"].mean(0) - truth, axis=-1)
    assert abs((away <= fields["radius_90"])[:, 1:].mean() - level) < 0.01
    deviation = np.sqrt(np.trace(fields["covariance"], axis1=-2, axis2=-1) / 3)[:, 1:].mean()
    np.testing.assert_allclose(deviation, 0.02 * expected, rtol=0.05)


def test_measuring_takes_the_file_or_the_results_own_calibration(laboratory, tmp_path, capsys):
    folder, path, _ = laboratory
    out = tmp_path / "laboratory.json"
    run("calibrate", path, "--truth", folder / "truth.npz", "--out", out)
    with np.load(path) as z:
        arrays = {k: z[k] for k in z.files}
    np.savez(tmp_path / "own.npz", **arrays | calibration.applied(out, {"samples": arrays["samples"]}, H36M_17))
    run("measure", path, "--out", tmp_path / "a", "--no-pictures", "--calibrated", out)
    run("measure", tmp_path / "own.npz", "--out", tmp_path / "b", "--no-pictures")
    run("measure", path, "--out", tmp_path / "c", "--no-pictures")
    tables = []
    for folder, name in (("a", "ours"), ("b", "own"), ("c", "ours")):
        with np.load(tmp_path / folder / f"{name}_measured.npz") as z:
            tables.append((z["median"], z["interval_90"]))
    np.testing.assert_allclose(tables[0][1], tables[1][1], atol=0.3)
    width = [(high - low).mean() for _, (low, high) in ((m, np.moveaxis(x, 1, 0)) for m, x in tables)]
    assert 1.5 < width[0] / width[2] < 2.1
    again = refusal(capsys, cli.main, "measure", tmp_path / "own.npz", "--out", tmp_path, "--calibrated", out)
    assert "calibrated already" in again
    twice = ("calibrate", tmp_path / "own.npz", "--truth", laboratory[0] / "truth.npz", "--out", out)
    assert "is calibrated already" in refusal(capsys, cli.main, *twice)


def test_lifting_spreads_its_samples_by_the_file(model_file, tmp_path, capsys):
    """Twice as far at the knees, half as far at the wrists, from the same mean."""
    content = {"kind": "jaxpose calibration", "quantities": {"knee_flexion": {"factor": 1.2}}}
    content["joints"] = {"knee": {"factor": 2.0}, "wrist": {"factor": 0.5}}
    (tmp_path / "c.json").write_text(json.dumps(content), encoding="utf-8")
    given = (ASSETS / "demo_clip.npz", "--model", model_file, "--hypotheses", 6, "--no-pictures")
    arrays = []
    for name, more in (("plain", ()), ("wide", ("--calibrated", tmp_path / "c.json"))):
        run("lift", *given, "--out", tmp_path / name, *more)
        with np.load(tmp_path / name / "demo_clip.npz") as z:
            arrays.append({k: z[k] for k in z.files})
    plain, wide = arrays
    factors = np.array([2 if "knee" in n else 0.5 if "wrist" in n else 1 for n in H36M_17.joints])
    expected = plain["mean"] + factors[:, None] * (plain["samples"] - plain["mean"])
    np.testing.assert_allclose(wide["samples"], expected, atol=1e-5)
    np.testing.assert_allclose(wide["radius_90"], factors * plain["radius_90"], atol=1e-4)
    np.testing.assert_allclose(wide["covariance"], factors[:, None, None] ** 2 * plain["covariance"], atol=1e-4)
    np.testing.assert_allclose(wide["mean"], plain["mean"], atol=1e-6)
    run("measure", tmp_path / "wide" / "demo_clip.npz", "--out", tmp_path, "--no-pictures")
    summary = json.loads((tmp_path / "demo_clip_measured.json").read_text(encoding="utf-8"))
    assert summary["quantities"]["left_knee_flexion"]["factor"] == 1.2
    capsys.readouterr()


def test_bad_or_too_little_truth_is_refused_with_what_is_needed(laboratory, tmp_path, capsys):
    _, path, truth = laboratory
    joints = {"joints": H36M_17.joints, "up": "-y", "fps": 5.0}
    np.savez(tmp_path / "short.npz", joints3d=truth[:100], frame=np.arange(100), **joints)
    np.savez(tmp_path / "later.npz", joints3d=truth, frame=np.arange(200) + 900, **joints)
    np.savez(tmp_path / "other.npz", joints3d=np.roll(truth, 5, 1), frame=np.arange(200), **joints)
    for name, words in {
        "short": "100 frames are 10 blocks of 2 s of one person; needed 12 or more (24 s)",
        "later": "no frame in common: its frames are 900 to 1099, those of the result 0 to 199",
        "other": "m from the result's in the median, once turned",
    }.items():
        given = ("calibrate", path, "--truth", tmp_path / f"{name}.npz", "--out", tmp_path / "c.json")
        assert words in refusal(capsys, cli.main, *given)
    assert "one file for each result" in refusal(
        capsys, cli.main, "calibrate", path, path, "--truth", path, "--out", tmp_path / "c.json"
    )
    assert not (tmp_path / "c.json").exists()
    for content in (
        "{}",
        "[" * 99999,
        '{"kind": "jaxpose calibration", "joints": {"knee": {"factor": -1}}, "quantities": {}}',
    ):
        (tmp_path / "bad.json").write_text(content, encoding="utf-8")
        refuses(r"bad.json: (no calibration|factor -1 of knee)", calibration.read_calibration, tmp_path / "bad.json")


def test_what_is_over_time_is_reported_to_hold_seldom(knee, tmp_path, capsys):
    path = write_result(tmp_path / "walk.npz", knee)
    for given, is_over_time in (("left_knee_flexion", False), ("left_knee_flexion,stature", False), (None, True)):
        more = () if given is None else ("--quantities", given)
        run("measure", path, "--out", tmp_path / "o", "--no-pictures", *more)
        assert (measure.OVER_TIME in capsys.readouterr().out) is is_over_time


def test_quantities_without_a_number_are_left_out_of_the_line():
    none, known = ({"unit": "deg", "lowest": x, "highest": x, "width_90": x} for x in (None, 2.0))
    assert measure._words({"a": none, "b": known}) == "b 2 to 2 deg, 90 % within 2"
    assert measure._words({"a": none}) == "no quantity is defined"
