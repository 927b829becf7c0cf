"""Files of tracks for other programs, by format.

    .bvh    an animated skeleton of SMPL's 22 joints, cm, y up                       a file for each person and take
    .glb    a skinned body with an animation for each take, m, y up                  a file for each person
    .trc    joints as markers, mm, y up                                              a file for each person and take
    .c3d    joints as markers, mm, z up, with 90 % radii as residuals                a file for each person and take
    .csv    one row for each joint: frame, time, person, take, joint, x, y, z, radius, m, y up; typicality   one file

Times are those of the source, which a track has; formats with one rate have frames of an even grid, interpolated where
the source's are uneven. BVH has no times.

BVH and GLB need the rotations of joints, and cannot leave frames out: where a person was not seen, rotations are
interpolated along the shorter arc and the place along a line. The others leave the joints of such frames empty.
"""

from collections.abc import Collection, Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from jaxpose.files import atomic
from jaxpose.geometry.axes import turn
from jaxpose.geometry.body import Body, stretched
from jaxpose.geometry.skeleton import SMPL_22
from jaxpose.geometry.windows import between
from jaxpose.io.c3d import write_c3d
from jaxpose.io.markers import write_trc
from jaxpose.io.meshes import write_motion_glb
from jaxpose.io.retarget import write_motion_bvh
from jaxpose.io.smpl_motion import Motion, motion_at
from jaxpose.io.tracks import Clip, Track

FORMATS = ("bvh", "glb", "trc", "c3d", "csv")


def write_tracks(formats: Collection[str], out: Path, name: str, clip: Clip, body: Body) -> Iterator[Path]:
    """Write the files of some of FORMATS; tracks have rotations where bvh or glb is among them."""
    several = len(clip.people) > 1
    for person in clip.people:
        tracks = [track for track in clip.tracks if track.person == person]
        stem = f"{name}_person{person}" if several else name
        for track in tracks:
            path = out / (f"{stem}_{track.take.replace('_', '')}" if track.take else stem)
            yield from _write_track(formats, path, clip, track, body)
        if "glb" in formats:
            yield _write_glb(out / f"{stem}.glb", clip, tracks, body, stem)
    if "csv" in formats:
        yield _write_csv(out / f"{name}.csv", clip)


def _write_track(formats: Collection[str], stem: Path, clip: Clip, track: Track, body: Body) -> Iterator[Path]:
    path, start = {k: Path(f"{stem}.{k}") for k in FORMATS}, float(track.seconds[0])
    xyz, radius = _on_grid(track, clip)
    if "bvh" in formats:
        rest, betas = clip.rest.get(track.person), clip.betas.get(track.person)
        if rest is None:
            rest = np.asarray(body.shape(None if betas is None else jnp.asarray(betas)).joints)[:22]
        offsets = rest - rest[np.maximum(SMPL_22.parents, 0)]
        write_motion_bvh(path["bvh"], _whole(track, clip), offsets)
        yield path["bvh"]
    if "trc" in formats:
        write_trc(path["trc"], clip.names, xyz, clip.fps, start * clip.fps)
        yield path["trc"]
    if "c3d" in formats:
        write_c3d(path["c3d"], clip.names, xyz @ turn("y", "z").T, clip.fps, radius, round(start * clip.fps))
        yield path["c3d"]


def _write_glb(path: Path, clip: Clip, tracks: list[Track], body: Body, name: str) -> Path:
    rest, betas = clip.rest.get(tracks[0].person), clip.betas.get(tracks[0].person)
    if rest is not None:
        body, betas = stretched(body, rest), None
    takes, start = {track.take or "motion": _whole(track, clip) for track in tracks}, float(tracks[0].seconds[0])
    return write_motion_glb(path, body, takes, betas=betas, name=name, start=start, still=clip.still)


def _write_csv(path: Path, clip: Clip) -> Path:
    lines = ["frame,time_s,person,take,joint,x_m,y_m,z_m,radius_90_m,typicality"]
    for track in clip.tracks:
        for f, (frame, seconds) in enumerate(zip(track.frame, track.seconds, strict=True)):
            head = f"{frame},{seconds:.6f},{track.person},{track.take or 'best'}"
            typical = "" if track.typicality is None else f"{track.typicality[f]:.2f}"
            for j, joint in enumerate(clip.names):
                x, y, z = track.joints[f, j]
                radius = "" if track.radius is None else f"{track.radius[f, j]:.5f}"
                lines.append(f"{head},{joint},{x:.5f},{y:.5f},{z:.5f},{radius},{typical}")
    with atomic(path) as file:
        file.write(("\n".join(lines) + "\n").encode())
    return path


def _places(track: Track, clip: Clip) -> tuple[np.ndarray, np.ndarray]:
    """Where each frame of an even grid from the first to the last lies among the track's, [G], a part between two.

    Known [G]: whether it is none of those that are left out. Times that are even but for a quarter of a frame, such as
    those of files that count milliseconds, are taken as even.
    """
    place = (track.seconds - track.seconds[0]) * clip.fps
    if (abs(place - place.round()) < 0.25).all() and (np.diff(place.round()) > 0).all():
        place = place.round()
    at = np.interp(np.arange(round(place[-1]) + 1), place, np.arange(len(place)))
    low, high = np.floor(at).astype(int), np.ceil(at).astype(int)
    return at, track.number[high] - track.number[low] <= 1


def _whole(track: Track, clip: Clip) -> Motion:
    """The motion of all frames from the first to the last."""
    assert track.motion is not None
    return motion_at(track.motion, _places(track, clip)[0])


def _on_grid(track: Track, clip: Clip) -> tuple[np.ndarray, np.ndarray | None]:
    """Joints [G, J, 3] and radius of all frames from the first to the last, NaN where left out."""
    at, known = _places(track, clip)

    def on_grid(values: np.ndarray) -> np.ndarray:
        return np.where(known.reshape(-1, *[1] * (values.ndim - 1)), between(values, at), np.nan)

    return on_grid(track.joints), None if track.radius is None else on_grid(track.radius)
