"""What the tests of keypoint files share: people to write, files to write them in, and what must come back."""

import json
from pathlib import Path

import numpy as np

from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.keypoints import Keypoints


def people(num: int, num_joints: int, seed: int = 0) -> np.ndarray:
    """[num, J, 3] x, y, confidence with two decimals: exact in text; joint 1 of person 0 is not detected."""
    rng = np.random.default_rng(seed)
    values = np.concatenate(
        [rng.uniform(10, 900, (num, num_joints, 2)), rng.uniform(0.05, 1, (num, num_joints, 1))], -1
    ).round(2)
    values[0, 1] = 0
    return values


def same(kp: Keypoints, values: np.ndarray, skeleton: Skeleton) -> None:
    assert kp.skeleton == skeleton
    np.testing.assert_allclose(kp.xy, values[..., :2], rtol=1e-6)
    np.testing.assert_allclose(kp.confidence, values[..., 2], rtol=1e-6)


def write(path: Path, content: object, **kwargs) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content, **kwargs), encoding="utf-8")
    return path


def coco_results(persons: np.ndarray) -> list[dict]:
    return [
        {"image_id": 40 + i // 2, "category_id": 1, "keypoints": p.ravel().tolist(), "score": 0.6}
        for i, p in enumerate(persons)
    ]
