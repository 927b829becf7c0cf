"""jaxpose: probabilistic 3D human pose in functional JAX.

    import jax, jaxpose
    model = jaxpose.load()
    found = jaxpose.lift(jax.random.key(0), model, keypoints, confidence, camera=jaxpose.Camera(intrinsics))
    found.samples         # [H, N, 17, 3] metres, root-relative, camera axes
    found.radius_90       # [N, 17] metres about found.mean

and jaxpose.complete, jaxpose.denoise, jaxpose.generate, jaxpose.log_density with the same model; jaxpose.posterior
takes any other observation. With a prior over joint rotations, jaxpose.load("prior21"): generate_rotations,
complete_rotations, denoise_motion, ik, fit_keypoints, fit. Every function is compiled once for a shape and found again
on the next call. The areas are packages of their own: geometry, diffusion, spaces, networks, tasks, fitting, io,
datasets, examples, training, evaluation, viz.

Names are imported when they are first used, so that `jaxpose --help` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxpose.api import *  # noqa: F403

    __version__: str
else:

    def __getattr__(name: str) -> Any:
        if name == "__version__":
            return importlib.import_module("importlib.metadata").version("jaxpose")
        if name == "__all__":  # what help(jaxpose) tells of
            return _offered()
        if name.startswith("_") or name == "api":
            raise AttributeError(f"module 'jaxpose' has no attribute {name!r}")
        if name in _offered():
            return getattr(importlib.import_module("jaxpose.api"), name)
        if name in globals():  # an area, such as jaxpose.geometry, that `api` has imported
            return globals()[name]
        raise AttributeError(f"module 'jaxpose' has no attribute {name!r}; must be one of {', '.join(_offered())}")


def _offered() -> list[str]:
    return sorted(name for name in vars(importlib.import_module("jaxpose.api")) if not name.startswith("_"))


def __dir__() -> list[str]:
    return sorted({*globals(), *_offered()})
