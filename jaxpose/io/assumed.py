"""Assumptions about keypoints whose files do not say: trust in the detector, and the camera."""

from collections.abc import Sequence

import numpy as np

from jaxpose.geometry.camera import check_intrinsics, intrinsics_from_fov
from jaxpose.io.keypoints import Keypoints

DEFAULT_FOV_DEG = 55.0  # along the longer side: between a phone's main camera (65-70) and a camcorder (40-50)
_SURE_QUANTILE = 0.95


def rescaled(confidence: np.ndarray) -> np.ndarray:
    """Confidences [N, J] over their 95th percentile, at most 1: detectors differ in what they call sure."""
    above_0 = confidence[confidence > 0]
    return np.minimum(confidence / np.quantile(above_0, _SURE_QUANTILE), 1) if len(above_0) else confidence


def settle_camera(
    kp: Keypoints,
    camera: Sequence[float] | None = None,
    fov: float | None = None,
    image_size: tuple[int, int] | None = None,
) -> tuple[np.ndarray, str]:
    """Intrinsics [4] or [N, 4], and in words where they come from: given, of the file, or an assumed field of view.

    camera: fx, fy, cx, cy in pixels. fov: degrees along the longer side. image_size: width and height in pixels.
    """
    if camera is not None:
        if fov is not None:
            raise ValueError("--camera and --fov: needed one of them, got both")
        return check_intrinsics(np.array(camera), "--camera"), "camera given"
    if kp.intrinsics is not None and fov is None:
        return check_intrinsics(kp.intrinsics, "intrinsics"), "camera from the file"
    size, origin = image_size or kp.image_size, "image"
    if size is None:
        origin = "smallest image that holds the keypoints,"
    width, height = (float(x) for x in (kp.xy[kp.confidence > 0].max(0) if size is None else size))
    how = "given" if fov is not None else "assumed (no camera known)"
    fov = DEFAULT_FOV_DEG if fov is None else fov
    intrinsics = intrinsics_from_fov(width, height, np.radians(fov))
    return intrinsics, f"field of view of {fov:g} degrees {how}, {origin} {width:.0f} x {height:.0f}"
