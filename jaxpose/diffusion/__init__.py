"""Diffusion over arrays: processes, predictions, solvers, sampling, guidance, losses; independent of poses."""

from jaxpose.diffusion.flow import decode, encode, interpolate, log_likelihood
from jaxpose.diffusion.guidance import classifier_free, measurement, observed, replace
from jaxpose.diffusion.losses import denoising_loss, log_snr_times, uniform_times
from jaxpose.diffusion.prediction import bind, from_eps, from_score, from_v, from_x0
from jaxpose.diffusion.sampling import sample, sample_hypotheses
from jaxpose.diffusion.sde import (
    SDE,
    drift_diffusion,
    from_betas,
    log_snr,
    perturb,
    prior_sample,
    sub_vp,
    time_at,
    time_grid,
    ve,
    vp,
)
from jaxpose.diffusion.solvers import (
    Solver,
    ancestral,
    ddim,
    dpmpp_2m,
    euler_maruyama,
    heun,
    langevin,
    predictor_corrector,
    reverse_diffusion,
)
