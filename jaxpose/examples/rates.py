"""Ranges and shares from which training examples are drawn: bodies, cameras and detectors."""

from typing import NamedTuple


class ViewRates(NamedTuple):
    """Ranges from which a virtual camera and detector are drawn; (low, high) are uniform.

    distance, height: metres from the person and above the floor. aim: degrees by which the axis misses the person,
    standard deviation. roll: degrees, standard deviation. noise: factor on the detector's bias and spread.
    no_confidence: share of examples without confidences (all 1). mirror: share of mirrored bodies.
    coco: share of examples seen through COCO's joint set, which most detectors give (`as_coco`).
    exact: share of 3D conditions without noise. point_noise: metres per coordinate of the others, log-uniform.
    blazepose: share of examples with BlazePose's errors. size, bone: standard deviations of the logarithm of body size
    and of each bone's length. splice: share of bodies whose legs are another frame's, turned about the vertical alone.

    Of bodies with rotations (examples/bodies.py):
    people: share of bodies on the skeleton of a drawn person. recombine: share with limbs of another frame.
    turn: share of persons turned as a whole, half of them anyhow, half tilted by `tilt` degrees, standard deviation.

    free: share of cameras anywhere around the person, at any distance and roll. told: share that know the vertical.
    evidence: share of real detections (examples/detections.py) that know how far two networks differ.

    Of detectors (examples/detectors.py), shares of the examples:
    rough: gross errors with heavy tails, alike along a limb. swap: left and right exchanged. occlude: joints near a
    place missing. truncate: joints beyond a border of the image missing. vague: a confidence that says nothing.
    """

    distance: tuple[float, float] = (2.5, 8.0)
    height: tuple[float, float] = (0.4, 2.6)
    aim: float = 4.0
    roll: float = 2.0
    noise: tuple[float, float] = (0.7, 1.3)
    no_confidence: float = 0.2
    mirror: float = 0.5
    coco: float = 0.0
    exact: float = 0.4
    point_noise: tuple[float, float] = (0.005, 0.25)
    size: float = 0.0
    bone: float = 0.0
    splice: float = 0.0
    blazepose: float = 0.0
    people: float = 0.0
    recombine: float = 0.0
    turn: float = 0.0
    tilt: float = 40.0
    free: float = 0.0
    told: float = 0.0
    evidence: float = 0.0
    rough: float = 0.0
    swap: float = 0.0
    occlude: float = 0.0
    truncate: float = 0.0
    vague: float = 0.0
