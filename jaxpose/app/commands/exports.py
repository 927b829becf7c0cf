"""Files of a result for other programs, as the flags of `Exports` ask for them.

    .bvh    an animated skeleton of SMPL's 22 joints, cm, y up                       a file for each person and take
    .glb    a skinned body with an animation for each take, m, y up                  a file for each person
    .trc    joints as markers, mm, y up                                              a file for each person and take
    .c3d    joints as markers, mm, z up, with 90 % radii as residuals                a file for each person and take
    .csv    one row for each joint: frame, time, person, take, joint, x, y, z, radius, m, y up; typicality   one file

Rotations of joints are those of the skeleton that fits their positions best (`fitting/joint_angles.py`); what the
positions do not show is said. BVH and GLB cannot leave frames out: where a person was not seen, rotations are
interpolated along the shorter arc and the place along a line. The others leave the joints of such frames empty.
"""

import importlib.util
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxpose import io
from jaxpose.app.commands.models import DEFAULT_PRIOR
from jaxpose.app.commands.option_groups import Exports
from jaxpose.app.commands.tracks import Clip, Track
from jaxpose.base import Array
from jaxpose.files import atomic
from jaxpose.fitting.joint_angles import JointAngles, fit_skeleton, joint_angles
from jaxpose.geometry.body import Body, stretched
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.io.markers import Markers
from jaxpose.io.smpl_motion import Motion, motion_at
from jaxpose.model import load

NO_MESH = "there is a mesh of bodies only (`jaxpose fit`, `ik`); --glb has a body on the joints"
_BLOCK = 256  # frames solved at once
_FORMATS = ("bvh", "glb", "trc", "c3d", "csv")


def check(wanted: Exports, num_hypotheses: int = 1, mesh: str = "") -> None:
    """ValueError for a flag that cannot be served; mesh: why there is none, or ""."""
    asked = [name for name in _FORMATS if getattr(wanted, name)]
    if wanted.obj and mesh:
        raise ValueError(f"--obj: {mesh}")
    if wanted.takes is not None and not asked:
        raise ValueError(f"--takes: is of files for other programs: {', '.join('--' + name for name in _FORMATS)}")
    if wanted.takes is not None and wanted.takes > num_hypotheses:
        raise ValueError(f"--takes: got {wanted.takes}, and there are {num_hypotheses} hypotheses")
    if mesh and wanted.body and not (wanted.bvh or wanted.glb):
        raise ValueError("--body: is of bodies, and of --bvh and --glb")
    if wanted.c3d and importlib.util.find_spec("ezc3d") is None:
        raise ValueError('--c3d: needs ezc3d: pip install "jaxpose[c3d]"')


def any_of(wanted: Exports) -> bool:
    """Whether a file of tracks is asked for."""
    return any(getattr(wanted, name) for name in _FORMATS)


def with_rotations(clip: Clip, body: Body) -> Generator[str, None, Clip]:
    """The clip with rotations of SMPL's joints in each track; what they do not show stands in `said`. Yields progress.

    A person has one skeleton in all takes, with the bones of the first.
    """
    prior = load(DEFAULT_PRIOR).statistics
    known = np.asarray(prior.mean), np.asarray(prior.std) * np.asarray(prior.spread)
    tracks: list[Track] = []
    rests, said, done, num = {}, {}, 0, sum(len(track.joints) for track in clip.tracks)
    started = time.time()
    for person in clip.people:
        own = [track for track in clip.tracks if track.person == person]
        skeleton = fit_skeleton(own[0].joints, clip.names, np.asarray(body.joint_template[:22]), *known)
        rests[person] = skeleton.rest
        for track in own:
            parts = []
            for joints in np.array_split(track.joints, -(-len(track.joints) // _BLOCK)):
                parts.append(joint_angles(skeleton, joints))
                done += len(joints)
                left = (time.time() - started) * (num - done) / done
                yield f"joint angles {done}/{num}, {left:.0f} s left"
            found = JointAngles(*(np.concatenate(x) for x in zip(*parts, strict=True)))
            tracks.append(track._replace(motion=Motion(found.body_pose, found.global_orient, found.pelvis, clip.fps)))
            if not track.take:
                error = 1000 * found.error[np.isfinite(found.error)]
                said[str(person)] = {
                    "position_error_mm": {"median": _round(np.median(error)), "95": _round(np.quantile(error, 0.95))},
                    "rotation_not_observed_deg": skeleton.unobserved,
                }
    meaning = (
        "position_error_mm: joints of the skeleton from the poses. rotation_not_observed_deg: joints whose rotation "
        "the positions leave open by more than 10 degrees about some axis, and by how many (standard deviation); the "
        f"rotation is there what {DEFAULT_PRIOR}'s training poses have in the mean"
    )
    return clip._replace(tracks=tracks, rest=rests, said={**clip.said, "rotations": {"meaning": meaning, **said}})


def lines(clip: Clip) -> Iterator[str]:
    """What is said of axes, rate, gaps and rotations."""
    said = clip.said
    yield f"files for other programs: {said['axes']}; {said['fps']:g} frames/s ({said['fps_source']})"
    for person, count in said["interpolated_frames"].items():
        if count and not clip.still:
            yield f"person {person}: {count} frames without it; .bvh and .glb are interpolated there"
    for person, found in said.get("rotations", {}).items():
        if person != "meaning":
            error, open_ = found["position_error_mm"], found["rotation_not_observed_deg"]
            yield (
                f"person {person}: joints of the skeleton within {error['median']:g} mm of the poses in the median, 95 "
                f"in 100 within {error['95']:g}; rotations that they do not show: {', '.join(open_) or 'none'}"
            )


def write(wanted: Exports, out: Path, name: str, clip: Clip, body: Body) -> Iterator[str]:
    """Write the files that the flags ask for; tracks have rotations where .bvh or .glb is among them."""
    several = len(clip.people) > 1
    for person in clip.people:
        own = [track for track in clip.tracks if track.person == person]
        stem = f"{name}_person{person}" if several else name
        for track in own:
            path = out / (f"{stem}_{track.take.replace('_', '')}" if track.take else stem)
            yield from _write_track(wanted, path, clip, track, body)
        if wanted.glb:
            yield f"wrote {_write_glb(out / f'{stem}.glb', clip, own, body, stem)}"
    if wanted.csv:
        yield f"wrote {_write_csv(out / f'{name}.csv', clip)}"


def _write_track(wanted: Exports, stem: Path, clip: Clip, track: Track, body: Body) -> Iterator[str]:
    first, path = clip.said["first_frame"] // clip.said["frame_step"], {k: Path(f"{stem}.{k}") for k in _FORMATS}
    xyz, radius, start = _on_grid(track)
    if wanted.bvh:
        rest = clip.rest.get(track.person)
        if rest is None:
            rest = np.asarray(body.shape(_betas(clip, track.person)).joints)[:22]
        offsets = rest - rest[np.maximum(SMPL_22.parents, 0)]
        io.write(_whole(track), path["bvh"], offsets=offsets)
        yield f"wrote {path['bvh']}"
    markers = Markers(clip.names, xyz, clip.fps, "m", "y", first + start, radius)
    for name in ("trc", "c3d"):
        if getattr(wanted, name):
            io.write(markers, path[name])
            yield f"wrote {path[name]}"


def _write_glb(path: Path, clip: Clip, tracks: list[Track], body: Body, name: str) -> Path:
    from jaxpose.app.viz import write_motion_glb

    rest, betas = clip.rest.get(tracks[0].person), clip.betas.get(tracks[0].person)
    if rest is not None:
        body, betas = stretched(body, rest), None
    takes = {track.take or "motion": _whole(track) for track in tracks}
    start = tracks[0].number[0] / clip.fps
    return write_motion_glb(path, body, takes, betas=betas, name=name, start=start, still=clip.still)


def _write_csv(path: Path, clip: Clip) -> Path:
    lines = ["frame,time_s,person,take,joint,x_m,y_m,z_m,radius_90_m,typicality"]
    for track in clip.tracks:
        for f, (frame, number) in enumerate(zip(track.frame, track.number, strict=True)):
            head = f"{frame},{number / clip.fps:.6f},{track.person},{track.take or 'best'}"
            typical = "" if track.typicality is None else f"{track.typicality[f]:.2f}"
            for j, joint in enumerate(clip.names):
                x, y, z = track.joints[f, j]
                radius = "" if track.radius is None else f"{track.radius[f, j]:.5f}"
                lines.append(f"{head},{joint},{x:.5f},{y:.5f},{z:.5f},{radius},{typical}")
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def _whole(track: Track) -> Motion:
    """The motion of all frames from the first to the last."""
    assert track.motion is not None
    grid = np.arange(track.number[0], track.number[-1] + 1)
    return motion_at(track.motion, np.interp(grid, track.number, np.arange(len(track.number))))


def _on_grid(track: Track) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Joints [G, J, 3] and radius of all frames from the first to the last, NaN where left out; the first."""
    at, num = track.number - track.number[0], int(track.number[-1] - track.number[0] + 1)
    xyz = np.full((num, *track.joints.shape[1:]), np.nan)
    xyz[at] = track.joints
    if track.radius is None:
        return xyz, None, int(track.number[0])
    radius = np.full(xyz.shape[:2], np.nan)
    radius[at] = track.radius
    return xyz, radius, int(track.number[0])


def _betas(clip: Clip, person: int) -> Array | None:
    betas = clip.betas.get(person)
    return None if betas is None else jnp.asarray(betas)


def _round(x: Any) -> float:
    return round(float(x), 1)
