"""The original GFPose's checkpoints as models of this library.

The raw output is eps, the noise: score = -out / std(t). A checkpoint is a dict with `model_state_dict`, named, and
`ema` with `shadow_params` (checkpoint.py).

Source: spec/gfpose.md, sections 1, 2 and 8 (CVPR 2023; Embracing/GFPose).
"""

from collections.abc import Iterator

from jaxpose import model
from jaxpose.files import FilePath
from jaxpose.originals.convert.checkpoint import PROCESS, Original, read_params, write_model
from jaxpose.reading import reader
from jaxpose.spaces.image_depth import STATISTICS

GFPOSE = Original(
    "GFPose", {"dropout": 0.25, "difference": True, "explicit": False}, width=lambda _: 17 * 3, has_condition=True
)
# of dpmpp_2m, evenly in log-SNR: our choice, for speed; the original takes 1000 Euler-Maruyama steps
_NUM_STEPS = 20


@reader("checkpoint of GFPose")
def read_gfpose(path: FilePath, weights: str = "ema") -> model.Model:
    """The model in a checkpoint of the original GFPose; ValueError, naming the file, where it is none.

    weights: "ema", the averaged ones, which the original evaluates, or "raw".
    """
    network, params, _ = read_params(GFPOSE, path, weights)
    spec = model.Spec(
        name="gfpose",
        network=network,
        codec="image_depth",
        context=0,
        num_steps=_NUM_STEPS,
        scale="the root's true depth, which GFPose is given",
        **PROCESS,
    )
    return model.Model(params, STATISTICS, spec)


def convert_gfpose(path: FilePath, out: FilePath, *, weights: str = "ema") -> Iterator[str]:
    """Write the checkpoint as the .safetensors file `out`, in float32; yields lines. Errors as of `read_gfpose`."""
    return write_model(path, out, lambda: read_gfpose(path, weights), f"GFPose, {weights} weights", "")
