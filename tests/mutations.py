"""Break the library line by line and see that a named test fails: `python tests/mutations.py`, part of `make nightly`.

    python tests/mutations.py                   all of them, some 40 minutes of one core
    python tests/mutations.py --only=best_of    those whose name or test contains the text
    python tests/mutations.py --list            names and tests, nothing run

Each mutation replaces one snippet, which must occur once in the library, in a copy of the working tree, runs its test
there and puts the file back. First all tests run on the unchanged copy: one that fails anyway proves nothing. The exit
code is 1 where a mutation was not caught, a snippet is not found, or a test did not run.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("jaxpose", "tests", "experiments", "pyproject.toml")


class Mutation(NamedTuple):
    """old: occurs once in jaxpose/**.py. test: below tests/, as pytest names it."""

    name: str
    old: str
    new: str
    test: str


ROWS = "evaluation/rows_test.py::"
METRICS = "evaluation/metrics_test.py::"
CALIBRATION = "evaluation/calibration_test.py::"
MUTATIONS = [
    # the numbers that tables print
    Mutation(
        "best_of_10 over all hypotheses",
        '"best_of_10": metrics.best_of(errors, min(10, errors.shape[0])),',
        '"best_of_10": metrics.best_of(errors),',
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "best_of_200 times 0.9",
        'f"best_of_{errors.shape[0]}": metrics.best_of(errors),',
        'f"best_of_{errors.shape[0]}": 0.9 * metrics.best_of(errors),',
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "energy score halved",
        "calibration.energy_score(samples, truth).mean(-1)",
        "0.5 * calibration.energy_score(samples, truth).mean(-1)",
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "macro mean over poses",
        '"macro_mean_mm": float(np.mean(macro)),',
        '"macro_mean_mm": row["mean_mm"],',
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "a result's own radius is ignored",
        "    if radius_90 is None:\n",
        "    if True:\n",
        ROWS + "test_lifting_row_with_the_radius_that_a_result_tells",
    ),
    Mutation(
        "hidden rows count every joint",
        "weights = hidden.astype(samples.dtype)",
        "weights = 0 * hidden.astype(samples.dtype) + 1",
        ROWS + "test_hidden_row_equals_plain_loops",
    ),
    Mutation(
        "denoising ratio upside down",
        '"ratio": aligned[1] / aligned[0],',
        '"ratio": aligned[0] / aligned[1],',
        ROWS + "test_denoising_row_equals_plain_loops",
    ),
    Mutation(
        "GFPose's honest row allows mirror images",
        "turned = jax.lax.map(lambda x: metrics.p_mpjpe(x, truth), samples)",
        "turned = mirrored",
        "evaluation/gfpose_test.py::test_a_mirrored_pose_is_right_only_for_the_original",
    ),
    Mutation(
        "Procrustes allows reflections",
        "sign = jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))",
        "sign = jnp.ones(u.shape[:-2])",
        METRICS + "test_a_mirrored_pose_is_aligned_by_the_best_rotation_and_not_by_a_reflection",
    ),
    Mutation(
        "acceleration per second, not per second squared",
        "return _motion_error(pred, truth, 2) * fps**2",
        "return _motion_error(pred, truth, 2) * fps",
        METRICS + "test_velocity_and_acceleration_errors_of_known_motions",
    ),
    Mutation(
        "fair pairs counted as plain ones",
        "(rank * offset).sum(0) / (num * (num - 1))",
        "(rank * offset).sum(0) / (num * num)",
        CALIBRATION + "test_crps_and_energy_score_by_brute_force",
    ),
    Mutation(
        "ECE counts the root",
        "np.delete(np.arange(num_joints), [] if root is None else root)",
        "np.arange(num_joints)",
        CALIBRATION + "test_the_root_at_the_origin_is_left_out_of_the_ece",
    ),
    Mutation(
        "coverage of a wider interval",
        "jnp.array([(1 - level) / 2, (1 + level) / 2], samples.dtype)",
        "jnp.array([(1 - level) / 3, 1 - (1 - level) / 3], samples.dtype)",
        CALIBRATION + "test_coverage_of_gaussian_hypotheses",
    ),
    Mutation(
        "balls of the nearest neighbour too few",
        "_kth_smallest(_squared_distances(x, points), k + 1)",
        "_kth_smallest(_squared_distances(x, points), k)",
        ROWS + "test_generation_row_equals_full_matrices_and_counting",
    ),
    Mutation(
        "Frechet distance in square metres",
        '_cm2"] = 1e4 * frechet_distance',
        '_cm2"] = 1e3 * frechet_distance',
        ROWS + "test_generation_row_equals_full_matrices_and_counting",
    ),
    Mutation(
        "Human3.6M's average over absent actions",
        "(len(ACTIONS) if strict else len(per_action))",
        "len(ACTIONS)",
        "evaluation/h36m_test.py::test_actions_weigh_alike_and_strict_counts_the_absent_as_zero",
    ),
    Mutation(
        "weights of hypotheses without tempering",
        "return weights(jnp.where(fits(whole), whole, low))",
        "return weights(whole)",
        "evaluation/aggregate_weights_test.py::test_tempering_holds_the_effective_number_and_drops_the_impossible",
    ),
    Mutation(
        "reprojection noise doubled",
        "(2 * jnp.square(noise)), added)",
        "(8 * jnp.square(noise)), added)",
        "evaluation/aggregate_weights_test.py::test_reprojection_weights_are_the_gaussian_likelihood_of_the_keypoints",
    ),
    # what validation fits
    Mutation(
        "recalibration's slope of the other sign",
        "slope = jnp.einsum(",
        "slope = -jnp.einsum(",
        "evaluation/recalibration_test.py::test_what_was_put_in_is_found",
    ),
    Mutation(
        "conformal radius of n, not n + 1",
        "jnp.ceil((num + 1) * level) - 1",
        "jnp.ceil(num * level) - 1",
        "evaluation/recalibration_test.py::test_the_radius_of_few_cases_is_the_quantile_of_one_more",
    ),
    Mutation(
        "samples of every model 15 % wider",
        "return centre + root + jnp.exp(",
        "return centre + root + 1.15 * jnp.exp(",
        "released_test.py::test_figures_on_record[pose17]",
    ),
    # released models: what moves error or spread
    Mutation(
        "states 6 % too small",
        "return x0 * statistics.std + statistics.mean",
        "return 0.94 * (x0 * statistics.std + statistics.mean)",
        "released_test.py::test_figures_on_record[pose17_fast]",
    ),
    Mutation(
        "fresh noise 30 % too strong",
        "x_s = x_s + noise * sde.sigma(s)",
        "x_s = x_s + 1.3 * noise * sde.sigma(s)",
        "released_test.py::test_figures_on_record[diffpose17]",
    ),
    Mutation(
        "mixture components 15 % wider",
        "return (mean + std * r)[..., 2:]",
        "return (mean + 1.15 * std * r)[..., 2:]",
        "released_test.py::test_figures_on_record[diffpose17_video]",
    ),
    # sampling
    Mutation(
        "fresh noise of dpmpp_2m of another variance",
        "jnp.sqrt(-jnp.expm1(-2 * eta * h))",
        "jnp.sqrt(-jnp.expm1(-eta * h))",
        "diffusion/solvers_test.py::test_stochastic_solver_lands_on_the_law_with_its_weak_order",
    ),
    Mutation(
        "dpmpp_2m of first order",
        "ahead = x0 + h / (2 * h_before) * (x0 - x0_before)",
        "ahead = x0",
        "diffusion/solvers_test.py::test_deterministic_solver_follows_the_flow_with_its_order",
    ),
    Mutation(
        "heun of first order",
        "return along((eps_t + predict(along(eps_t), s).eps) / 2)",
        "return along(eps_t)",
        "diffusion/solvers_test.py::test_deterministic_solver_follows_the_flow_with_its_order",
    ),
    Mutation(
        "ancestral noise too small",
        "fresh = eta**2 * _fresh(sde, t, s)",
        "fresh = 0.8 * eta**2 * _fresh(sde, t, s)",
        "diffusion/solvers_test.py::test_ancestral_step_is_the_exact_bridge",
    ),
    Mutation(
        "Langevin step too large",
        "return x_t + size * predict(x_t, s).score + jnp.sqrt(2 * size)",
        "return x_t + size * predict(x_t, s).score + jnp.sqrt(3 * size)",
        "diffusion/solvers_test.py::test_langevin_keeps_the_law_of_its_level",
    ),
    Mutation(
        "times uniform in t where in log-SNR",
        '"log_snr": _log_snr,',
        '"log_snr": _uniform,',
        "diffusion/sde_test.py::test_time_grid_falls_and_is_uniform_in_what_it_claims",
    ),
    Mutation(
        "variance-preserving sigma of sub-VP",
        "lambda t: -jnp.expm1(2 * log_alpha(t)), t_min, 1.0)",
        "lambda t: jnp.sqrt(-jnp.expm1(2 * log_alpha(t))), t_min, 1.0)",
        "diffusion/sde_test.py::test_process_equals_its_closed_form",
    ),
    Mutation(
        "all hypotheses of one key",
        "start_key, sample_key = jax.random.split(jax.random.fold_in(key, h))",
        "start_key, sample_key = jax.random.split(jax.random.fold_in(key, 0 * h))",
        "diffusion/sampling_test.py::test_hypotheses_are_distinct_and_a_longer_run_begins_with_a_shorter_one",
    ),
    Mutation(
        "likelihood without the change of scale",
        "return end + change + n * jnp.log(last / first)",
        "return end + change",
        "diffusion/likelihood_test.py::test_equals_the_closed_form",
    ),
    Mutation(
        "loss weights of another target",
        '"x0": lambda sde, t, _: jnp.exp(-log_snr(sde, t)),',
        '"x0": lambda sde, t, _: jnp.exp(-log_snr(sde, t) / 2),',
        "diffusion/losses_test.py::test_minimum_is_the_trace_formula",
    ),
    Mutation(
        "guidance without what the state leaves open",
        "(jnp.square(noise) + open_variance)",
        "(jnp.square(noise) + 0.5 * open_variance)",
        "diffusion/guidance_test.py::test_pseudo_inverse_guidance_lands_on_the_posterior",
    ),
    # tasks
    Mutation(
        "observed joints weighted by 1 / noise",
        "weight = seen / jnp.maximum(noise, _EXACT) ** 2",
        "weight = seen / jnp.maximum(noise, _EXACT)",
        "tasks/complete_test.py::test_settle_weighs_joints_by_their_noise",
    ),
    Mutation(
        "denoising starts at twice the noise",
        "t_start = time_at(sde, -2 * jnp.log(level / unit))",
        "t_start = time_at(sde, -2 * jnp.log(2 * level / unit))",
        "tasks/denoise_test.py::test_samples_follow_the_exact_posterior",
    ),
    Mutation(
        "recalibration whatever is seen",
        "jnp.exp(seen[:, None, None] * log_factor)",
        "jnp.exp((0 * seen[:, None, None] + 1) * log_factor)",
        "tasks/recalibration_test.py::test_samples_move_about_the_middle_and_the_root_by_the_share_that_is_seen",
    ),
    Mutation(
        "misfit of the mean square, not its root",
        "level = jnp.clip(0.5 * jnp.log(",
        "level = jnp.clip(jnp.log(",
        "tasks/recalibration_test.py::test_the_misfit_is_what_least_squares_leaves",
    ),
    # fits and their energies
    Mutation(
        "robust loss of half the width",
        "width**2 * squared / (2 * (width**2 + squared))",
        "width**2 * squared / (2 * (width**2 / 4 + squared))",
        "fitting/engine_test.py::test_the_robust_loss",
    ),
    Mutation(
        "knees and elbows bend the other way",
        "return jnp.exp(2 * flat[..., entries] * signs).sum(-1)",
        "return jnp.exp(-2 * flat[..., entries] * signs).sum(-1)",
        "fitting/engine_test.py::test_knees_and_elbows_bend_one_way",
    ),
    Mutation(
        "the regulariser's slope runs through the network",
        "target = jax.lax.stop_gradient(predict_fn(x_t, t, None).x0)",
        "target = predict_fn(x0, t, None).x0",
        "diffusion/regulariser_test.py::test_nothing_flows_through_the_network",
    ),
    # readers
    Mutation(
        "confidences above 1 pass",
        "np.clip(values[..., 2], 0, 1)",
        "np.clip(values[..., 2], 0, None)",
        "io/keypoint_json_test.py::test_alphapose_scores_are_clipped",
    ),
    Mutation(
        "joints that are not finite count as seen",
        "np.where(finite, np.clip(",
        "np.where(finite | ~finite, np.clip(",
        "io/keypoints_test.py::test_what_is_not_finite_was_not_detected",
    ),
    # networks
    Mutation(
        "a causal network sees later frames",
        "scores = jnp.where(np.tri(num, dtype=bool), scores, _HIDDEN)",
        "scores = jnp.where(np.tri(num, k=1, dtype=bool), scores, _HIDDEN)",
        "networks/mixste_test.py::test_only_a_causal_network_is_blind_to_later_frames",
    ),
    # what training sees
    Mutation(
        "parts hidden at the rate of joints",
        "jax.random.bernoulli(part_key, float(rates.part)",
        "jax.random.bernoulli(part_key, float(rates.joint)",
        "conditioning_test.py::test_part_level_hides_whole_parts_independently",
    ),
    Mutation(
        "depth shown at every rate",
        "mask = mask.at[..., -1].multiply(show_depth)",
        "mask = mask.at[..., -1].multiply(0 * show_depth + 1)",
        "conditioning_test.py::test_depth_is_shown_at_its_rate_and_only_with_its_joint",
    ),
    Mutation(
        "average of weights without warm-up",
        "return jnp.minimum(decay, (1 + step) / (10 + step))",
        "return decay + 0.0 * step",
        "training/step_test.py::test_average_follows_its_closed_form",
    ),
    Mutation(
        "gradients not averaged over devices",
        "grads, metrics = jax.lax.pmean((grads, metrics), axis)",
        "metrics = jax.lax.pmean(metrics, axis)",
        "training/step_test.py::test_devices_forms_and_slices_give_the_result_of_the_plain_loop",
    ),
    Mutation(
        "biases decay too",
        "lambda p: jnp.ndim(p) > 1)",
        "lambda p: jnp.ndim(p) > 0)",
        "training/step_test.py::test_only_matrices_decay",
    ),
    Mutation(
        "clipping at twice the norm",
        "optax.clip_by_global_norm(clip_norm)",
        "optax.clip_by_global_norm(2 * clip_norm)",
        "training/step_test.py::test_clipping_bounds_the_gradient_that_adam_sees",
    ),
    # geometry
    Mutation(
        "tangential distortion of the other sign",
        "[x * radial + 2 * p1 * x * y + p2",
        "[x * radial - 2 * p1 * x * y + p2",
        "geometry/camera_test.py::test_distortion_is_browns_formula",
    ),
    Mutation(
        "collars of the wrong side",
        'Composition("left_collar", {"left_shoulder": 0.7, "right_shoulder": 0.3}',
        'Composition("left_collar", {"left_shoulder": 0.3, "right_shoulder": 0.7}',
        "geometry/joint_sets_test.py::test_maps_commute_with_the_swap_of_sides",
    ),
    Mutation(
        "mirrored rotations turn the other way",
        "jnp.array([1.0, -1.0, -1.0], axis_angle.dtype)",
        "jnp.array([-1.0, 1.0, 1.0], axis_angle.dtype)",
        "geometry/flip_test.py::test_mirrored_rotations_place_mirrored_joints",
    ),
    Mutation(
        "the mirror image is not turned back",
        "+ mirror(mirrored, skeleton)) / 2",
        "+ mirrored) / 2",
        "geometry/flip_test.py::test_the_average_is_that_of_the_published_lists",
    ),
    Mutation(
        "the last window counts its overlap again",
        "owner = place // length",
        "owner = np.minimum((place + 1) // length, len(first) - 1)",
        "geometry/windows_test.py::test_side_by_side_windows_written_out",
    ),
    Mutation(
        "the root is placed from unweighted keypoints",
        'cross = jnp.einsum("...j,...jd->...", w, (xy - mean_xy[..., None, :]) * residual)',
        'cross = jnp.einsum("...j,...jd->...", w, xy * residual)',
        "spaces/person_test.py::test_place_finds_the_root_exactly_from_exact_keypoints",
    ),
    Mutation(
        "stature without the head",
        ' + lengths["neck_nose"] + lengths["head"]',
        ' + lengths["neck_nose"]',
        "tasks/stature_test.py",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutations whose name or test contains this text")
    parser.add_argument("--list", action="store_true", help="print names and tests, run nothing")
    args = parser.parse_args()
    chosen = [m for m in MUTATIONS if any(args.only in text for text in (m.name, m.test))]
    places = {m: _places(ROOT, m) for m in chosen}
    lost = [m for m in chosen if len(places[m]) != 1]
    for mutation in lost:
        print(f"NOT FOUND  {mutation.name}: needed the snippet in one place, found {len(places[mutation])}")
    if args.list:
        print(*(f"{m.name}: {places[m][0]}, tests/{m.test}" for m in chosen if m not in lost), sep="\n")
        print(f"{len(chosen)} mutations")
        return 1 if lost else 0
    return max(_run([m for m in chosen if m not in lost]), 1 if lost else 0)


def _run(mutations: list[Mutation]) -> int:
    missed = []
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "checkout"
        copy.mkdir()
        for name in COPIED:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, copy)
        if code := _pytest(copy, sorted({m.test for m in mutations})):
            print(f"the tests fail or do not run without any mutation: pytest's exit code {code}")
            return 1
        for mutation in mutations:
            file, started = copy / _places(copy, mutation)[0], time.monotonic()
            text = file.read_text()
            file.write_text(text.replace(mutation.old, mutation.new))
            code = _pytest(copy, [mutation.test])
            file.write_text(text)
            said = {0: "MISSED", 1: "caught"}.get(code, f"BROKEN, exit code {code}")
            missed += [mutation] if code != 1 else []
            print(f"{said}  {mutation.name}  (tests/{mutation.test}, {time.monotonic() - started:.0f} s)", flush=True)
    print(f"{len(mutations) - len(missed)} of {len(mutations)} mutations caught")
    return 1 if missed else 0


def _pytest(copy: Path, tests: list[str]) -> int:
    """pytest's exit code: 0 all passed, 1 some failed, others where it could not run them."""
    data = os.environ.get("JAXPOSE_DATA", ROOT / "../shared/data")
    environment = {**os.environ, "JAXPOSE_DATA": str(Path(data).resolve()), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *(f"tests/{test}" for test in tests)]
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode > 1:
        print(done.stdout[-2000:], done.stderr[-2000:])
    return done.returncode


def _places(root: Path, mutation: Mutation) -> list[Path]:
    """The files, below root, that contain the snippet, each as often as it does."""
    files = sorted((root / "jaxpose").rglob("*.py"))
    return [file.relative_to(root) for file in files for _ in range(file.read_text().count(mutation.old))]


if __name__ == "__main__":
    sys.exit(main())
