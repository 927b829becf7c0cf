"""People whose identity is known walk, cross, hide and come back; their tracks must be theirs."""

import numpy as np
import pytest
from shared import DATA, needs_keypoints

from jaxpose.geometry.skeleton import COCO_17
from jaxpose.io.keypoints import Keypoints, read_keypoints
from jaxpose.io.tracking import link

# A standing person, 300 pixels tall, feet at y = 0: COCO's 17 joints.
STANDING = np.array(
    [
        *[(0, -280), (6, -288), (-6, -288), (14, -284), (-14, -284)],
        *[(32, -245), (-32, -245), (40, -190), (-40, -190), (42, -140), (-42, -140)],
        *[(20, -150), (-20, -150), (22, -80), (-22, -80), (22, -8), (-22, -8)],
    ],
    float,
)


def walkers(paths: np.ndarray, seed: int = 0, noise: float = 3.0) -> tuple[Keypoints, np.ndarray]:
    """Detections of people at `paths` [F, P, 2], in shuffled order within frames, and who they are [N].

    Legs swing, every joint has noise of `noise` pixels, and one joint in twenty is 60 pixels off.
    """
    rng = np.random.default_rng(seed)
    num_frames, num_people = paths.shape[:2]
    phase = 0.5 * np.arange(num_frames)[:, None] + rng.uniform(0, 6, num_people)
    pose = np.broadcast_to(STANDING, (num_frames, num_people, 17, 2)).copy()
    pose[..., [13, 15], 0] += 25 * np.sin(phase)[..., None]
    pose[..., [14, 16], 0] -= 25 * np.sin(phase)[..., None]
    xy = pose + paths[:, :, None] + noise * rng.standard_normal(pose.shape)
    xy += 60 * (rng.uniform(size=xy.shape[:-1]) < 0.05)[..., None]
    order = np.argsort(rng.uniform(size=(num_frames, num_people)), axis=1)
    frame = np.repeat(np.arange(num_frames), num_people)
    kp = Keypoints(
        xy=np.take_along_axis(xy, order[..., None, None], 1).reshape(-1, 17, 2).astype(np.float32),
        confidence=rng.uniform(0.5, 1, (num_frames * num_people, 17)).astype(np.float32),
        skeleton=COCO_17,
        frame=frame,
        person=np.tile(np.arange(num_people), num_frames),
        image=("",) * len(frame),
    )
    return kp, order.ravel()


def take(kp: Keypoints, rows: np.ndarray) -> Keypoints:
    return kp._replace(
        **{field: getattr(kp, field)[rows] for field in ("xy", "confidence", "frame", "person")},
        image=tuple(np.array(kp.image)[rows].tolist()),
    )


def is_consistent(person: np.ndarray, who: np.ndarray) -> bool:
    """Ids and identities match one to one."""
    pairs = set(zip(person.tolist(), who.tolist(), strict=True))
    return len(pairs) == len(set(person.tolist())) == len(set(who.tolist()))


def crossing(num_frames: int = 60, speed: float = 12.0, apart: float = 20.0) -> np.ndarray:
    """Two people walk towards and past each other, one `apart` pixels nearer the camera."""
    t = np.arange(num_frames) - (num_frames - 1) / 2
    return np.stack(
        [np.stack([600 + speed * t, 500 + 0 * t], -1), np.stack([600 - speed * t, 500 + apart + 0 * t], -1)], 1
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("speed", [4.0, 12.0, 30.0])
def test_people_who_cross_keep_their_ids(speed, seed):
    kp, who = walkers(crossing(speed=speed), seed)
    linked = link(kp)
    assert is_consistent(linked.person, who)
    np.testing.assert_array_equal(linked.xy, kp.xy)
    np.testing.assert_array_equal(linked.frame, kp.frame)


@pytest.mark.parametrize("seed", range(5))
def test_missed_detections(seed):
    """A fifth of all detections is missing at random."""
    kp, who = walkers(crossing(), seed)
    rows = np.flatnonzero(np.random.default_rng(seed).uniform(size=len(who)) > 0.2)
    assert is_consistent(link(take(kp, rows)).person, who[rows])


def test_one_hidden_behind_the_other_while_they_pass():
    kp, who = walkers(crossing())
    hidden = (who == 1) & (abs(kp.frame - 29.5) < 4)
    rows = np.flatnonzero(~hidden)
    assert hidden.sum() == 8
    assert is_consistent(link(take(kp, rows)).person, who[rows])


def test_three_people_one_enters_and_one_leaves():
    paths = np.stack([np.stack([x, np.full(40, 500.0)], -1) for x in np.arange(3)[:, None] * 200.0 + np.arange(40)], 1)
    kp, who = walkers(paths)
    rows = np.flatnonzero(~((who == 0) & (kp.frame >= 25)) & ~((who == 2) & (kp.frame < 15)))
    linked = link(take(kp, rows))
    assert is_consistent(linked.person, who[rows])
    assert linked.person[who[rows] == 2].tolist() == [2] * 25


@pytest.mark.parametrize(("missing", "same"), [(1, True), (10, True), (11, False)])
def test_a_person_may_be_missing_for_ten_frames(missing, same):
    kp, _ = walkers(np.full((30, 1, 2), 500.0))
    rows = np.flatnonzero((kp.frame < 10) | (kp.frame >= 10 + missing))
    person = link(take(kp, rows)).person
    assert (person == 0).all() == same
    assert person[0] == 0
    assert person[-1] == (0 if same else 1)


def test_every_fifth_frame_of_a_video_is_a_step():
    kp, who = walkers(crossing(num_frames=20, speed=20))
    rows = np.flatnonzero((kp.frame < 8) | (kp.frame >= 10))
    sparse = take(kp, rows)._replace(frame=kp.frame[rows] * 5 + 3)
    assert is_consistent(link(sparse).person, who[rows])


def test_half_hidden_is_compared_by_what_was_seen_before():
    """Whole for a while, then only the upper body, then only the legs."""
    kp, who = walkers(crossing())
    confidence = kp.confidence.copy()
    confidence[(kp.frame >= 10) & (kp.frame < 20), 11:] = 0
    confidence[(kp.frame >= 20) & (kp.frame < 28), :11] = 0
    xy = np.where(confidence[..., None] > 0, kp.xy, 0)
    assert is_consistent(link(kp._replace(xy=xy, confidence=confidence)).person, who)


def test_joints_below_the_threshold_do_not_count():
    kp, who = walkers(crossing())
    xy, confidence = kp.xy.copy(), kp.confidence.copy()
    xy[:, 3:11] = np.random.default_rng(7).uniform(0, 1200, (len(xy), 8, 2))
    confidence[:, 3:11] = 0.2
    assert is_consistent(link(kp._replace(xy=xy, confidence=confidence), threshold=0.3).person, who)


def test_misplaced_joints_do_not_outweigh_the_rest():
    """Two joints of every detection lie anywhere in and about the image, with full confidence."""
    kp, who = walkers(crossing())
    rng = np.random.default_rng(1)
    lost = np.argsort(rng.uniform(size=kp.xy.shape[:2]), axis=1) < 2
    xy = np.where(lost[..., None], rng.uniform(-2000, 4000, kp.xy.shape), kp.xy)
    assert is_consistent(link(kp._replace(xy=xy)).person, who)


def test_detections_without_joints_are_nobody_else():
    kp, who = walkers(crossing(num_frames=10))
    confidence, xy = kp.confidence.copy(), kp.xy.copy()
    confidence[6], xy[6] = 0, 0
    person = link(kp._replace(confidence=confidence, xy=xy)).person
    assert (person == person[6]).sum() == 1
    rest = np.arange(len(who)) != 6
    assert is_consistent(person[rest], who[rest])


@needs_keypoints
def test_two_real_walkers_in_one_image():
    """The walker of camera 3, and the same backwards in time: they meet in the middle of the clip."""
    kp = read_keypoints(DATA / "keypoints2d" / "walker_cam03_coco_results.json")
    assert (link(kp).person == 0).all()
    seen = kp.confidence > 0
    back = np.where(seen[..., None], kp.xy + 15, 0)[::-1]
    both = kp._replace(
        xy=np.concatenate([kp.xy, back]),
        confidence=np.concatenate([kp.confidence, kp.confidence[::-1]]),
        frame=np.concatenate([kp.frame, kp.frame]),
        person=np.repeat([0, 1], 100),
        image=("",) * 200,
    )
    centre = np.array([xy[s].mean(0) for xy, s in zip(both.xy, both.confidence > 0.3, strict=True)])
    apart = np.linalg.norm(centre[:100] - centre[100:], axis=-1)
    assert apart.min() < 30 < 300 < apart[0]
    assert is_consistent(link(both).person, np.repeat([0, 1], 100))
