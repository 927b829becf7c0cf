"""Write `jaxpose/assets/walker.npz`, real keypoints to try the commands on: `python -m experiments.make_assets.walker`.

One person in four calibrated cameras, 100 frames at 60 frames/s: OpenPose's detections of keypoints2d/walker_4cam.npz,
from Pose2Sim's demonstration data (BSD 3-Clause; the licence stands in `jaxpose/assets/walker.md`), rounded to 1/8 px.
"""

import numpy as np

from jaxpose.datasets.mocap import data_root
from jaxpose.files import write_npz
from jaxpose.model import ASSETS


def main() -> None:
    """Read, round and write."""
    with np.load(data_root() / "keypoints2d" / "walker_4cam.npz") as z:
        keypoints = z["keypoints"].astype(np.float32)
        keypoints[..., :2] = np.round(8 * keypoints[..., :2]) / 8
        keypoints[..., 2] = np.round(100 * keypoints[..., 2]) / 100
        kept = {name: z[name] for name in ("frame", "camera", "size", "K", "dist", "R", "t", "joints", "fps")}
    write_npz(ASSETS / "walker.npz", {"keypoints": keypoints, **kept, "up": np.array("z")}, compress=True)


if __name__ == "__main__":
    main()
