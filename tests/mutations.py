"""Break the library line by line and see that a named test fails: `python tests/mutations.py`, part of `make nightly`.

    python tests/mutations.py                   all of them, some 40 minutes of one core
    python tests/mutations.py --only=best_of    those whose name, file or test contains the text
    python tests/mutations.py --list            names and tests, nothing run

Each mutation replaces one snippet, which must occur once in its file, in a copy of the working tree, runs its test
there and puts the file back. First all tests run on the unchanged copy: one that fails anyway proves nothing. The exit
code is 1 where a mutation was not caught, a snippet is not found, or a test did not run.
"""

from __future__ import annotations

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
    """file: below jaxpose/. old: occurs there once. test: below tests/, as pytest names it."""

    name: str
    file: str
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
        "evaluation/protocols.py",
        '"best_of_10": metrics.best_of(errors, min(10, errors.shape[0])),',
        '"best_of_10": metrics.best_of(errors),',
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "best_of_200 times 0.9",
        "evaluation/protocols.py",
        'f"best_of_{errors.shape[0]}": metrics.best_of(errors),',
        'f"best_of_{errors.shape[0]}": 0.9 * metrics.best_of(errors),',
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "energy score halved",
        "evaluation/protocols.py",
        "calibration.energy_score(samples, truth).mean(-1)",
        "0.5 * calibration.energy_score(samples, truth).mean(-1)",
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "macro mean over poses",
        "evaluation/protocols.py",
        '"macro_mean_mm": float(np.mean(macro)),',
        '"macro_mean_mm": row["mean_mm"],',
        ROWS + "test_lifting_row_equals_plain_loops",
    ),
    Mutation(
        "a result's own radius is ignored",
        "evaluation/protocols.py",
        "    if radius_90 is None:\n",
        "    if True:\n",
        ROWS + "test_lifting_row_with_the_radius_that_a_result_tells",
    ),
    Mutation(
        "hidden rows count every joint",
        "evaluation/tasks.py",
        "weights = hidden.astype(samples.dtype)",
        "weights = 0 * hidden.astype(samples.dtype) + 1",
        ROWS + "test_hidden_row_equals_plain_loops",
    ),
    Mutation(
        "denoising ratio upside down",
        "evaluation/tasks.py",
        '"ratio": aligned[1] / aligned[0],',
        '"ratio": aligned[0] / aligned[1],',
        ROWS + "test_denoising_row_equals_plain_loops",
    ),
    Mutation(
        "GFPose's honest row allows mirror images",
        "evaluation/gfpose.py",
        "turned = jax.lax.map(lambda x: metrics.p_mpjpe(x, truth), samples)",
        "turned = mirrored",
        ROWS + "test_gfpose_row_equals_plain_loops",
    ),
    Mutation(
        "Procrustes allows reflections",
        "evaluation/metrics.py",
        "sign = jnp.sign(jnp.linalg.det(u) * jnp.linalg.det(vt))",
        "sign = jnp.ones(u.shape[:-2])",
        METRICS + "test_a_mirrored_pose_is_aligned_by_the_best_rotation_and_not_by_a_reflection",
    ),
    Mutation(
        "acceleration per second, not per second squared",
        "evaluation/metrics.py",
        "return _motion_error(pred, truth, 2) * fps**2",
        "return _motion_error(pred, truth, 2) * fps",
        METRICS + "test_velocity_and_acceleration_errors_of_known_motions",
    ),
    Mutation(
        "fair pairs counted as plain ones",
        "evaluation/calibration.py",
        "return num - 1 if fair else num",
        "return num",
        CALIBRATION + "test_crps_and_energy_score_by_brute_force",
    ),
    Mutation(
        "ECE counts the root",
        "evaluation/calibration.py",
        "np.delete(np.arange(num_joints), [] if root is None else root)",
        "np.arange(num_joints)",
        CALIBRATION + "test_the_root_at_the_origin_is_left_out_of_the_ece",
    ),
    Mutation(
        "coverage of a wider interval",
        "evaluation/calibration.py",
        "jnp.array([(1 - level) / 2, (1 + level) / 2], samples.dtype)",
        "jnp.array([(1 - level) / 3, 1 - (1 - level) / 3], samples.dtype)",
        CALIBRATION + "test_coverage_of_gaussian_hypotheses",
    ),
    Mutation(
        "balls of the nearest neighbour too few",
        "evaluation/generation.py",
        "_kth_smallest(_squared_distances(x, points), k + 1)",
        "_kth_smallest(_squared_distances(x, points), k)",
        ROWS + "test_generation_row_equals_full_matrices_and_counting",
    ),
    Mutation(
        "Frechet distance in square metres",
        "evaluation/generation.py",
        '_cm2"] = 1e4 * frechet_distance',
        '_cm2"] = 1e3 * frechet_distance',
        ROWS + "test_generation_row_equals_full_matrices_and_counting",
    ),
    Mutation(
        "Human3.6M's average over absent actions",
        "evaluation/h36m.py",
        "(len(ACTIONS) if strict else len(per_action))",
        "len(ACTIONS)",
        "evaluation/h36m_test.py::test_actions_weigh_alike_and_strict_counts_the_absent_as_zero",
    ),
    Mutation(
        "weights of hypotheses without tempering",
        "evaluation/aggregate.py",
        "return weights(jnp.where(fits(whole), whole, low))",
        "return weights(whole)",
        "evaluation/aggregate_weights_test.py::test_tempering_holds_the_effective_number_and_drops_the_impossible",
    ),
    Mutation(
        "reprojection noise doubled",
        "evaluation/aggregate.py",
        "(2 * jnp.square(noise)), added)",
        "(8 * jnp.square(noise)), added)",
        "evaluation/aggregate_weights_test.py::test_reprojection_weights_are_the_gaussian_likelihood_of_the_keypoints",
    ),
    # what validation fits
    Mutation(
        "recalibration's slope of the other sign",
        "evaluation/recalibration.py",
        "slope = jnp.einsum(",
        "slope = -jnp.einsum(",
        "evaluation/recalibration_test.py::test_what_was_put_in_is_found",
    ),
    Mutation(
        "conformal radius of n, not n + 1",
        "evaluation/recalibration.py",
        "jnp.ceil((num + 1) * level) - 1",
        "jnp.ceil(num * level) - 1",
        "evaluation/recalibration_test.py::test_the_radius_of_few_cases_is_the_quantile_of_one_more",
    ),
    Mutation(
        "samples of every model 15 % wider",
        "tasks/recalibration.py",
        "return centre + root + jnp.exp(",
        "return centre + root + 1.15 * jnp.exp(",
        "released_test.py::test_figures_on_record[pose17]",
    ),
    # released models: what moves error or spread
    Mutation(
        "states 3 % too small",
        "spaces/person.py",
        "return x0 * statistics.std + statistics.mean",
        "return 0.97 * (x0 * statistics.std + statistics.mean)",
        "released_test.py::test_figures_on_record[pose17_fast]",
    ),
    Mutation(
        "fresh noise 15 % too strong",
        "diffusion/solvers.py",
        "x_s = x_s + noise * sde.sigma(s)",
        "x_s = x_s + 1.15 * noise * sde.sigma(s)",
        "released_test.py::test_figures_on_record[diffpose17]",
    ),
    Mutation(
        "mixture components 15 % wider",
        "tasks/diffpose.py",
        "return (component.mean + component.std * r)[..., 2:]",
        "return (component.mean + 1.15 * component.std * r)[..., 2:]",
        "released_test.py::test_figures_on_record[diffpose17_video]",
    ),
    # sampling
    Mutation(
        "fresh noise of dpmpp_2m of another variance",
        "diffusion/solvers.py",
        "jnp.sqrt(-jnp.expm1(-2 * eta * h))",
        "jnp.sqrt(-jnp.expm1(-eta * h))",
        "diffusion/solvers_test.py::test_stochastic_solver_lands_on_the_law_with_its_weak_order",
    ),
    Mutation(
        "dpmpp_2m of first order",
        "diffusion/solvers.py",
        "ahead = x0 + h / (2 * h_before) * (x0 - x0_before)",
        "ahead = x0",
        "diffusion/solvers_test.py::test_deterministic_solver_follows_the_flow_with_its_order",
    ),
    Mutation(
        "heun of first order",
        "diffusion/solvers.py",
        "return along((eps_t + predict(along(eps_t), s).eps) / 2)",
        "return along(eps_t)",
        "diffusion/solvers_test.py::test_deterministic_solver_follows_the_flow_with_its_order",
    ),
    Mutation(
        "ancestral noise too small",
        "diffusion/solvers.py",
        "fresh = eta**2 * _fresh(sde, t, s)",
        "fresh = 0.8 * eta**2 * _fresh(sde, t, s)",
        "diffusion/solvers_test.py::test_ancestral_step_is_the_exact_bridge",
    ),
    Mutation(
        "Langevin step too large",
        "diffusion/solvers.py",
        "return x_t + size * predict(x_t, s).score + jnp.sqrt(2 * size)",
        "return x_t + size * predict(x_t, s).score + jnp.sqrt(3 * size)",
        "diffusion/solvers_test.py::test_langevin_keeps_the_law_of_its_level",
    ),
    Mutation(
        "times uniform in t where in log-SNR",
        "diffusion/sde.py",
        '"log_snr": _log_snr,',
        '"log_snr": _uniform,',
        "diffusion/sde_test.py::test_time_grid_falls_and_is_uniform_in_what_it_claims",
    ),
    Mutation(
        "variance-preserving sigma of sub-VP",
        "diffusion/sde.py",
        "lambda t: -jnp.expm1(2 * log_alpha(t)), t_min, 1.0)",
        "lambda t: jnp.sqrt(-jnp.expm1(2 * log_alpha(t))), t_min, 1.0)",
        "diffusion/sde_test.py::test_process_equals_its_closed_form",
    ),
    Mutation(
        "all hypotheses of one key",
        "diffusion/sampling.py",
        "start_key, sample_key = jax.random.split(jax.random.fold_in(key, h))",
        "start_key, sample_key = jax.random.split(jax.random.fold_in(key, 0 * h))",
        "diffusion/sampling_test.py::test_hypotheses_are_distinct_and_a_longer_run_begins_with_a_shorter_one",
    ),
    Mutation(
        "likelihood without the change of scale",
        "diffusion/likelihood.py",
        "return end + change + n * jnp.log(last / first)",
        "return end + change",
        "diffusion/likelihood_test.py::test_equals_the_closed_form",
    ),
    Mutation(
        "loss weights of another target",
        "diffusion/losses.py",
        '"x0": lambda sde, t, _: jnp.exp(-log_snr(sde, t)),',
        '"x0": lambda sde, t, _: jnp.exp(-log_snr(sde, t) / 2),',
        "diffusion/losses_test.py::test_one_opinion_has_one_loss_whatever_the_target",
    ),
    Mutation(
        "guidance without what the state leaves open",
        "diffusion/guidance.py",
        "(jnp.square(noise) + open_variance)",
        "(jnp.square(noise) + 0.5 * open_variance)",
        "diffusion/guidance_test.py::test_pseudo_inverse_guidance_lands_on_the_posterior",
    ),
    # what training sees
    Mutation(
        "parts hidden at the rate of joints",
        "conditioning.py",
        "jax.random.bernoulli(part_key, float(rates.part)",
        "jax.random.bernoulli(part_key, float(rates.joint)",
        "conditioning_test.py::test_joint_rates_of_the_three_levels_together",
    ),
    Mutation(
        "depth shown at every rate",
        "conditioning.py",
        "mask = mask.at[..., -1].multiply(show_depth)",
        "mask = mask.at[..., -1].multiply(0 * show_depth + 1)",
        "conditioning_test.py::test_depth_is_shown_at_its_rate_and_only_with_its_joint",
    ),
    Mutation(
        "average of weights without warm-up",
        "training/step.py",
        "return jnp.minimum(decay, (1 + step) / (10 + step))",
        "return decay + 0.0 * step",
        "training/step_test.py::test_average_follows_its_closed_form",
    ),
    Mutation(
        "gradients not averaged over devices",
        "training/step.py",
        "grads, metrics = jax.lax.pmean((grads, metrics), axis)",
        "metrics = jax.lax.pmean(metrics, axis)",
        "training/step_test.py::test_devices_forms_and_slices_give_the_result_of_the_plain_loop",
    ),
    Mutation(
        "biases decay too",
        "training/optimizer.py",
        "lambda p: jnp.ndim(p) > 1, params)",
        "lambda p: jnp.ndim(p) > 0, params)",
        "training/step_test.py::test_only_matrices_decay",
    ),
    Mutation(
        "clipping at twice the norm",
        "training/optimizer.py",
        "optax.clip_by_global_norm(clip_norm)",
        "optax.clip_by_global_norm(2 * clip_norm)",
        "training/step_test.py::test_clipping_bounds_the_gradient_that_adam_sees",
    ),
    # geometry
    Mutation(
        "tangential distortion of the other sign",
        "geometry/camera.py",
        "[x * radial + 2 * p1 * x * y + p2",
        "[x * radial - 2 * p1 * x * y + p2",
        "geometry/camera_test.py::test_distortion_is_browns_formula",
    ),
    Mutation(
        "collars of the wrong side",
        "geometry/joint_sets.py",
        'Composition("left_collar", {"left_shoulder": 0.7, "right_shoulder": 0.3}',
        'Composition("left_collar", {"left_shoulder": 0.3, "right_shoulder": 0.7}',
        "geometry/joint_sets_test.py::test_maps_commute_with_the_swap_of_sides",
    ),
    Mutation(
        "mirrored rotations turn the other way",
        "geometry/flip.py",
        "jnp.array([1.0, -1.0, -1.0], axis_angle.dtype)",
        "jnp.array([-1.0, 1.0, 1.0], axis_angle.dtype)",
        "geometry/flip_test.py::test_mirrored_rotations_place_mirrored_joints",
    ),
    Mutation(
        "the mirror image is not turned back",
        "geometry/flip.py",
        "+ mirror(mirrored, skeleton)) / 2",
        "+ mirrored) / 2",
        "geometry/flip_test.py::test_the_average_is_that_of_the_published_lists",
    ),
    Mutation(
        "the last window counts its overlap again",
        "geometry/windows.py",
        "owner = place // length",
        "owner = np.minimum((place + 1) // length, len(first) - 1)",
        "geometry/windows_test.py::test_side_by_side_windows_written_out",
    ),
    Mutation(
        "the root is placed from unweighted keypoints",
        "spaces/person.py",
        'cross = jnp.einsum("...j,...jd->...", w, (xy - mean_xy[..., None, :]) * residual)',
        'cross = jnp.einsum("...j,...jd->...", w, xy * residual)',
        "spaces/person_test.py::test_place_finds_the_root_exactly_from_exact_keypoints",
    ),
    Mutation(
        "stature without the head",
        "tasks/lift.py",
        ' + lengths["neck_nose"] + lengths["head"]',
        ' + lengths["neck_nose"]',
        "tasks/stature_test.py",
    ),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="mutations whose name, file or test contains this text")
    parser.add_argument("--list", action="store_true", help="print names and tests, run nothing")
    args = parser.parse_args()
    chosen = [m for m in MUTATIONS if any(args.only in text for text in (m.name, m.file, m.test))]
    lost = [m for m in chosen if _occurrences(ROOT, m) != 1]
    for mutation in lost:
        print(f"NOT FOUND  {mutation.name}: occurs {_occurrences(ROOT, mutation)} times in jaxpose/{mutation.file}")
    if args.list:
        print(*(f"{m.name}: jaxpose/{m.file}, tests/{m.test}" for m in chosen), sep="\n")
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
            file, started = copy / "jaxpose" / mutation.file, time.monotonic()
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


def _occurrences(root: Path, mutation: Mutation) -> int:
    file = root / "jaxpose" / mutation.file
    return file.read_text().count(mutation.old) if file.is_file() else 0


if __name__ == "__main__":
    sys.exit(main())
