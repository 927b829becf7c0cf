"""Records what mediapipe itself finds in a video, for tests/golden/mediapipe_walker.npz.

    pip install mediapipe==0.10.14 av        # in an environment of its own, Python 3.11 or 3.12
    python experiments/make_assets/mediapipe_golden.py OUT.npz cam01.mp4 cam03.mp4

The walker's videos are in shared/data/video/walker. Of the first FRAMES frames of each, one 33333 microseconds
after the other as mediapipe's Python interface has it, with the full model and without smoothing of landmarks:

    roi        [V, FRAMES, 4] the next frame's crop: centre x, y and side in pixels, angle in radians
    first      [V, 4] the crop of frame 0, of the detector
    landmarks  [V, FRAMES, 33, 3] x, y in pixels, visibility
    world      [V, FRAMES, 33, 3] metres
"""

import sys
from typing import Any

import numpy as np

FRAMES = 8
_GRAPH = "mediapipe/modules/pose_landmark/pose_landmark_cpu.binarypb"
_STREAMS = ["pose_landmarks", "pose_world_landmarks", "pose_rect_from_detection", "pose_rect_from_landmarks"]


def record(video: str) -> dict[str, np.ndarray]:
    """What mediapipe finds in the first frames of a video."""
    import av
    from mediapipe.python.solution_base import SolutionBase

    flags = ("smooth_landmarks", "enable_segmentation", "smooth_segmentation")
    given = {"model_complexity": 1, "use_prev_landmarks": True, **dict.fromkeys(flags, False)}
    graph = SolutionBase(binary_graph_path=_GRAPH, side_inputs=given, outputs=_STREAMS)
    recorded: dict[str, list] = {"roi": [], "first": [], "landmarks": [], "world": []}
    with av.open(video) as container:
        for number, frame in zip(range(FRAMES), container.decode(video=0), strict=False):
            rgb = frame.to_ndarray(format="rgb24")
            height, width = rgb.shape[:2]
            seen = graph.process({"image": rgb})
            points = seen.pose_landmarks.landmark
            recorded["landmarks"].append([[p.x * width, p.y * height, p.visibility] for p in points])
            recorded["world"].append([[p.x, p.y, p.z] for p in seen.pose_world_landmarks.landmark])
            recorded["roi"].append(_square(seen.pose_rect_from_landmarks, width, height))
            if number == 0:
                recorded["first"] = _square(seen.pose_rect_from_detection, width, height)
    return {name: np.array(value, np.float32) for name, value in recorded.items()}


def _square(rect: Any, width: int, height: int) -> list[float]:
    return [rect.x_center * width, rect.y_center * height, rect.width * width, rect.rotation]


if __name__ == "__main__":
    videos = [record(video) for video in sys.argv[2:]]
    arrays: dict[str, Any] = {name: np.stack([v[name] for v in videos]) for name in videos[0]}
    np.savez_compressed(sys.argv[1], **arrays)
