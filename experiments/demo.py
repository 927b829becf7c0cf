"""`make demo`: lift the bundled clip, compare with its truth, draw it.

python -m experiments.demo --out=demo_out
"""

import dataclasses
import json
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from experiments.options import option, run
from jaxpose.app import cli
from jaxpose.app.viz import contact_sheet, motion_page
from jaxpose.evaluation.protocols import lifting_row
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.model import ASSETS


@dataclasses.dataclass(frozen=True)
class Options:
    out: str = option("demo_out", "Folder for the results.")


def main(options: Options) -> None:
    """Print the errors, and write pictures."""
    started = time.time()
    clip, out = ASSETS / "demo_clip.npz", Path(options.out)
    cli.main(["lift", str(clip), "--out", str(out), "--no-pictures"])
    with np.load(clip) as z, np.load(out / "demo_clip.npz") as lifted:
        truth = z["joints_cam"] - z["joints_cam"][:, :1]
        samples, mean, root = lifted["samples"], lifted["mean"], lifted["root"]
        depth_error = abs(root.mean(0)[:, 2] - z["joints_cam"][:, 0, 2])
        keypoints = np.where(z["confidence"][..., None] > 0, z["keypoints"], np.nan)
        confidence, fps = z["confidence"], float(z["fps"])
    row = lifting_row(jnp.asarray(samples), jnp.asarray(truth), np.array(["demo"] * len(truth)))
    speed = json.loads((out / "demo_clip.json").read_bytes())["poses_per_second"]
    print(f"""
A procedural person, {len(truth)} frames, 2D detections with noise and an occluded wrist; root depth not given.
  error of the mean of {len(samples)} hypotheses   {row["mean_mm"]:6.1f} mm
  best of {len(samples)} (needs the truth)         {row[f"best_of_{len(samples)}_mm"]:6.1f} mm
  calibration error (ECE)              {row["ece"]:6.3f}      truths in the 90 % interval {row["coverage_90"]:.0%}
  distance of the person               {depth_error.mean():6.2f} m off, at 4 m
  speed                                {speed:6,.0f} poses/s, compilation included
""")
    common = {"keypoints": keypoints, "confidence": confidence, "truth": truth, "mean": mean}
    note = "bundled procedural clip; truth is known because the clip is made"
    sheet = contact_sheet(out / "demo_clip.png", samples, H36M_17, note=note, **common)
    page = motion_page(samples, H36M_17, root=root.mean(0), fps=fps, note=note, title="jaxpose demo", **common)
    scene = page.write(out / "demo_clip.html")
    print(f"pictures: {sheet}\nopen in a browser: {scene}\n{time.time() - started:.0f} s in all")


if __name__ == "__main__":
    run("demo", main, Options, __doc__)
