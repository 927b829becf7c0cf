"""Files of a result for other programs, as the flags of `Exports` ask for them (`io/track_files.py`).

Rotations of joints are those of the skeleton that fits their positions best (`fitting/joint_angles.py`); the
summary lists the rotations that positions do not show.
"""

import time
from collections.abc import Generator, Iterator

import numpy as np

from jaxpose.app.commands.models import DEFAULT_PRIOR, load_body, rotation_moments
from jaxpose.app.commands.values import Exports
from jaxpose.fitting.joint_angles import BLOCK, JointAngles, fit_skeleton, joint_angles
from jaxpose.geometry.body import Body
from jaxpose.io.smpl_motion import Motion
from jaxpose.io.track_files import FORMATS
from jaxpose.io.tracks import Clip, Track
from jaxpose.reading import package


def body_of(wanted: Exports, num_hypotheses: int = 1) -> Body:
    """The body of a result of bodies; ValueError for a flag that cannot be served."""
    check(wanted, num_hypotheses, of_bodies=True)
    return load_body(wanted.body)


def check(wanted: Exports, num_hypotheses: int = 1, *, of_bodies: bool = False) -> None:
    """ValueError for a flag that cannot be served, of a result of joints or of bodies."""
    asked = formats(wanted)
    if (wanted.obj or wanted.amass) and not of_bodies:
        why = "there is a mesh of bodies only (`jaxpose fit`, `ik`); --glb has a body on the joints"
        raise ValueError(f"--{'obj' if wanted.obj else 'amass'}: {why}")
    if wanted.takes is not None and not asked:
        raise ValueError(f"--takes: is of files for other programs: {', '.join('--' + name for name in FORMATS)}")
    if wanted.takes is not None and wanted.takes > num_hypotheses:
        raise ValueError(f"--takes: got {wanted.takes}, and there are {num_hypotheses} hypotheses")
    if not of_bodies and wanted.body and not (wanted.bvh or wanted.glb):
        raise ValueError("--body: is of bodies, and of --bvh and --glb")
    if wanted.c3d:
        package("ezc3d", "--c3d: needs ezc3d", "c3d")


def formats(wanted: Exports) -> list[str]:
    """The formats of tracks that are asked for."""
    return [name for name in FORMATS if getattr(wanted, name)]


def with_rotations(clip: Clip, body: Body) -> Generator[str, None, Clip]:
    """The clip with rotations of SMPL's joints in each track, and in `said` those left open. Yields progress.

    A person has one skeleton in all takes, with the bones of the first.
    """
    tracks: list[Track] = []
    rests, rotations, done, num, started = {}, {}, 0, sum(len(track.joints) for track in clip.tracks), time.time()
    for person in clip.people:
        of_person = [track for track in clip.tracks if track.person == person]
        skeleton = fit_skeleton(
            of_person[0].joints, clip.names, np.asarray(body.joint_template[:22]), *rotation_moments()
        )
        rests[person] = skeleton.rest
        for track in of_person:
            parts = []
            for joints in np.array_split(track.joints, -(-len(track.joints) // BLOCK)):
                parts.append(joint_angles(skeleton, joints))
                done += len(joints)
                left = (time.time() - started) * (num - done) / done
                yield f"joint angles {done}/{num}, {left:.0f} s left"
            angles = JointAngles(*(np.concatenate(x) for x in zip(*parts, strict=True)))
            motion = Motion(angles.body_pose, angles.global_orient, angles.pelvis, clip.fps)
            tracks.append(track._replace(motion=motion))
            if not track.take:
                median, high = np.quantile(1000 * angles.error[np.isfinite(angles.error)], (0.5, 0.95))
                rotations[str(person)] = {
                    "position_error_mm": {"median": round(float(median), 1), "95": round(float(high), 1)},
                    "rotation_not_observed_deg": skeleton.unobserved,
                }
    meaning = (
        "position_error_mm: joints of the skeleton from the poses. rotation_not_observed_deg: joints whose rotation "
        "the positions leave open by more than 10 degrees about some axis, and by how many (standard deviation); the "
        f"rotation is there what {DEFAULT_PRIOR}'s training poses have in the mean"
    )
    return clip._replace(tracks=tracks, rest=rests, said={**clip.said, "rotations": {"meaning": meaning, **rotations}})


def lines(clip: Clip) -> Iterator[str]:
    """Lines about axes, rate, gaps and rotations."""
    about = clip.said
    yield f"files for other programs: {about['axes']}; {about['fps']:g} frames/s ({about['fps_source']})"
    for person, count in about["interpolated_frames"].items():
        if count and not clip.still:
            yield f"person {person}: {count} frames without it; .bvh and .glb are interpolated there"
    for person, rotations in about.get("rotations", {}).items():
        if person != "meaning":
            error, open_ = rotations["position_error_mm"], rotations["rotation_not_observed_deg"]
            yield (
                f"person {person}: joints of the skeleton within {error['median']:g} mm of the poses in the median, 95 "
                f"in 100 within {error['95']:g}; rotations that they do not show: {', '.join(open_) or 'none'}"
            )
