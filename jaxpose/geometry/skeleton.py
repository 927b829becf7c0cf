"""Joint sets by name: a static, hashable description of what the J axis of a pose means."""

from __future__ import annotations

from typing import NamedTuple


class Skeleton(NamedTuple):
    """A joint set.

    parents: index of each joint's parent, -1 for the root.
    left, right: joints that a mirror swaps, pairwise (`left[i]` <-> `right[i]`).
    parts: joints of the right leg, left leg, left arm, right arm, and trunk with head; every joint is in one part.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]


H36M_17 = Skeleton(
    name="h36m17",
    joints=(
        "hip", "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "spine", "thorax",
        "nose", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    left=(4, 5, 6, 11, 12, 13),
    right=(1, 2, 3, 14, 15, 16),
    parts=((1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16), (0, 7, 8, 9, 10)),
)  # fmt: skip
