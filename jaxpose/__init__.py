"""jaxpose: probabilistic 3D human pose in functional JAX.

    import jax, jaxpose
    model = jaxpose.load()
    lifted = jaxpose.lift(jax.random.key(0), model, keypoints, confidence, intrinsics=intrinsics)
    lifted.samples        # [H, N, 17, 3] metres, root-relative, camera axes

and jaxpose.complete, jaxpose.denoise, jaxpose.generate, jaxpose.log_density with the same model; jaxpose.posterior
takes whatever else was observed. With a prior over joint rotations, jaxpose.load("prior21"): generate_rotations,
complete_rotations, denoise_motion, ik, fit. The areas are packages of their own: geometry, diffusion, networks, tasks,
training, data, evaluation, viz. They are imported when a name is first asked for, so that `jaxpose --help` is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxpose.api import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name == "api":
        raise AttributeError(f"module 'jaxpose' has no attribute {name!r}")
    api = importlib.import_module("jaxpose.api")
    if name in api.__all__:
        return getattr(api, name)
    if name in globals():  # an area, such as jaxpose.geometry, that `api` has imported
        return globals()[name]
    raise AttributeError(f"module 'jaxpose' has no attribute {name!r}; legal are {', '.join(api.__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *importlib.import_module("jaxpose.api").__all__})
