"""Pictures of a result: a contact sheet and a page, of joints by the arrays that are written, or of bodies."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from jaxpose.app import viz
from jaxpose.app.commands.values import Output
from jaxpose.app.viz.crowd import make_crowd
from jaxpose.geometry.axes import covariance_to_camera, to_camera
from jaxpose.geometry.body import Body, PosedBody, posed
from jaxpose.geometry.skeleton import Skeleton
from jaxpose.io.tracks import PLACED

_MOST_BODIES, _MOST_FRAMES, _MOST_STILLS, _MOST_OBJECTS = 6, 300, 8, 20  # of a page, of its sheet, of an .obj


class Picture(NamedTuple):
    """Parts of a picture of joints beside the arrays of a result.

    note: a line below. mean_name: what the one pose is. path: [T+1, H, N', J, 3] metres, camera axes, of the first
    N' <= N poses, or None. film: [N] JPEGs of the frames (viz/page.py) or None. floor: metres below the origin that
    roots stand about, where it is known.
    """

    skeleton: Skeleton
    note: str
    mean_name: str = "mean"
    path: np.ndarray | None = None
    film: list[bytes | None] | None = None
    floor: float | None = None


class Bodies(NamedTuple):
    """Bodies [H, F] in a world with y up; H = 0 is the best.

    body_pose [H, F, 21, 3], global_orient [H, F, 3] rad; pelvis [H, F, 3] m, the position of that joint; betas
    [F, S] or [S] of the best, or None for the template. labels: F. fps: None where frames are not of one motion.
    source: what the motion's file says of it. observed: [F, K, 3] m, NaN where missing. names: of the H bodies.
    rest: [22, 3] m by person, the joints at rest where they are not the body's. frame, person: [F], where several
    people move.
    """

    body: Body
    body_pose: np.ndarray
    global_orient: np.ndarray
    pelvis: np.ndarray
    betas: np.ndarray | None = None
    labels: list[str] | None = None
    fps: float | None = None
    source: str = ""
    note: str = ""
    observed: np.ndarray | None = None
    observed_skeleton: Skeleton | None = None
    names: list[str] | None = None
    rest: dict[int, np.ndarray] | None = None
    frame: np.ndarray | None = None
    person: np.ndarray | None = None


def labels(frame: np.ndarray, person: np.ndarray | None, more: Any = None) -> list[str]:
    """A title for each row."""
    people = [""] * len(frame) if person is None else [f", person {p}" for p in person]
    return [f"frame {f}{p}{m}" for f, p, m in zip(frame, people, more or [""] * len(frame), strict=True)]


def draw_joints(output: Output, name: str, arrays: dict[str, Any], picture: Picture) -> Iterator[str]:
    """Write the sheet and the page of a result's joints, and the page of its path, unless no pictures are wanted."""
    if output.no_pictures and picture.path is None:
        return
    out, alone = output.out, np.ndim(arrays["samples"]) == 3
    one_person = np.ndim(arrays.get("keypoints", 0)) == 4  # of several cameras
    person = None if one_person else arrays.get("person")
    titles = [f"pose {i}" for i in arrays["frame"]] if alone else labels(arrays["frame"], person)
    samples, root, layers = _in_camera_axes(arrays, picture)
    path = picture.path
    if not output.no_pictures:
        shown: dict[str, Any] = {"note": picture.note, **layers}
        poses = (samples, picture.skeleton)
        yield f"wrote {viz.contact_sheet(out / f'{name}.png', *poses, titles=titles, **shown)}"
        if alone:
            page = viz.grid_page(*poses, labels=titles, title=name, **shown)
        else:
            unusual = arrays.get("doubtful")
            shown |= {"frame": arrays["frame"], "person": person, "fps": arrays.get("fps"), "root": root}
            shown |= {"image_size": arrays.get("image_size"), "film": picture.film, "floor": picture.floor}
            shown |= {"unusual": unusual if unusual is not None and unusual.any() else None}
            page = viz.motion_page(*poses, title=name, **shown)
        yield f"wrote {page.write(out / f'{name}.html')}"
    if path is not None:
        first = titles[: path.shape[2]]
        page = viz.path_page(path, picture.skeleton, labels=first, title=name)
        yield f"wrote {page.write(out / f'{name}_path.html')}"


def _in_camera_axes(arrays: dict[str, Any], picture: Picture) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    """Samples [H, N, J, 3] about a place near the root of each pose, where it stands [N, 3], and layers of pictures."""
    up = arrays["up"]
    if np.ndim(arrays["samples"]) == 3:
        return to_camera(arrays["samples"], up)[None], None, {}
    pose = arrays["pose"] if "pose" in arrays else arrays["mean"]
    samples, mean = to_camera(arrays["samples"], up), to_camera(pose, up)
    layers: dict[str, Any] = {"up": up, "mean": mean, "radius_90": arrays["radius_90"]}
    layers["covariance"] = covariance_to_camera(arrays["covariance"], up)
    if "root" in arrays:
        standing = arrays["pose_root"] if "pose_root" in arrays else np.mean(arrays["root"], 0)
        for name in [name for name in PLACED if name in arrays]:
            standing = arrays[PLACED[name]]
            layers["mean"] = to_camera(arrays[name] - standing[:, None], up)
        root = to_camera(standing, up)
        layers |= _pixels(arrays)
    else:  # about the mean root, one place for all samples of a pose: what was observed stays in place
        centre = mean[:, :1]
        samples, layers["mean"], root = samples - centre, mean - centre, centre[:, 0]
        layers["given"] = to_camera(arrays["observed"], up) - centre
    if "pose" in arrays:
        layers["mean_name"] = picture.mean_name
    return samples, root, layers


def _pixels(arrays: dict[str, Any]) -> dict[str, Any]:
    """Layers of the 2D input, of the first camera where there are several."""
    xy, confidence = arrays["keypoints"], arrays["confidence"]
    if xy.ndim == 4:
        xy, confidence = xy[:, 0], confidence[:, 0]
    layers = {"keypoints": np.where(confidence[..., None] > 0, xy, np.nan), "confidence": confidence}
    if arrays.get("keypoints_completed") is not None:
        layers |= {"observed": confidence > 0, "reprojected": arrays["keypoints_completed"]}
    return layers


def draw_bodies(output: Output, name: str, shown: Bodies) -> Iterator[str]:
    """Write the meshes of some bodies: stills, evenly spaced, and the page of at most so many frames."""
    if not output.exports.obj and output.no_pictures:
        return
    out, faces, num = output.out, np.asarray(shown.body.faces), shown.body_pose.shape[1]
    rows = np.linspace(0, num - 1, min(num, _MOST_OBJECTS)).astype(int)
    posed, move = _posed(shown, slice(1), rows)
    stills = np.asarray(posed.skin())[0] + move[0, :, None]
    if output.exports.obj:
        yield f"wrote {viz.write_obj(out / f'{name}.obj', stills, faces)} of {len(stills)} bodies"
    if output.no_pictures:
        return
    words = [""] * num if shown.labels is None else shown.labels
    few = np.linspace(0, len(rows) - 1, min(len(rows), _MOST_STILLS)).astype(int)
    titles = [words[row] or f"frame {row}" for row in rows[few]]
    yield f"wrote {viz.mesh_sheet(out / f'{name}.png', stills[few], faces, titles=titles)}"
    several = shown.person is not None and len(np.unique(shown.person)) > 1
    skins, options = (_people if several else _one)(shown)
    options |= {"fps": shown.fps, "observed_skeleton": shown.observed_skeleton}
    page = viz.mesh_page(skins, faces, title=name, note=shown.note, max_frames=_MOST_FRAMES, **options)
    yield f"wrote {page.write(out / f'{name}.html')}"


def _one(shown: Bodies) -> tuple[list[Any], dict[str, Any]]:
    """The first hypotheses of one moving body, and the options of its page."""
    each, num = slice(_MOST_BODIES), shown.body_pose.shape[1]
    skins = viz.skins_of(*_posed(shown, each, np.arange(num)))
    names = None if shown.names is None else shown.names[each]
    return skins, {"names": names, "labels": shown.labels, "observed": shown.observed}


def _people(shown: Bodies) -> tuple[list[Any], dict[str, Any]]:
    """The best body of each person in one space over time, and the options of their page."""
    crowd = make_crowd(shown.body_pose.shape[1], shown.frame, shown.person)
    skins = []
    for place in range(len(crowd.people)):
        rows = np.flatnonzero(crowd.who == place)
        (skin,) = viz.skins_of(*_posed(shown, slice(1), rows))
        transforms = np.full((len(crowd.frames), *skin.transforms.shape[1:]), np.nan)
        transforms[crowd.at[rows]] = skin.transforms
        skins.append(skin._replace(transforms=transforms))
    observed = None if shown.observed is None else crowd.spread_out(shown.observed)
    names = [f"person {person}" for person in crowd.people]
    return skins, {"names": names, "max_bodies": len(skins), "observed": observed}


def _posed(shown: Bodies, bodies: slice, rows: np.ndarray) -> tuple[PosedBody, np.ndarray]:
    """Some bodies [H] in some frames [F], posed, and what moves them to their place, [H, F, 3]."""
    pick = (bodies, rows)
    betas = shown.betas if shown.betas is None or np.ndim(shown.betas) == 1 else shown.betas[rows]
    bodies_posed = posed(shown.body, shown.body_pose[pick], shown.global_orient[pick], betas)
    return bodies_posed, shown.pelvis[pick] - np.asarray(bodies_posed.joints)[..., 0, :]
