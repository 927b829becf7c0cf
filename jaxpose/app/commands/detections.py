"""2D keypoints as the commands take them: in the model's joint set, with a camera and confidences.

A line is printed for everything that had to be assumed (camera, confidence, identities). Files of several calibrated
cameras are those of `io/multiview.py`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxpose.app.commands.options import OfCameras
from jaxpose.app.commands.values import CalibrationFile, KeypointFile, VideoFile, refuse
from jaxpose.app.detect.frames import holds_frames
from jaxpose.base import Camera
from jaxpose.diffusion.mixture import Mixture
from jaxpose.geometry.body_joints import joint_set_of, point_set_of
from jaxpose.geometry.joint_sets import convert_joints
from jaxpose.geometry.sides import exchanged, mirrored_sides
from jaxpose.geometry.skeleton import H36M_17, SKELETONS, Skeleton, get_skeleton
from jaxpose.geometry.windows import timeline
from jaxpose.io import kind_of, multiview
from jaxpose.io.arrays import source_of
from jaxpose.io.heatmap_files import Heatmaps, peaks, read_heatmaps
from jaxpose.io.keypoints import Keypoints, read_keypoints, rescaled, settle_camera
from jaxpose.io.multiview import MultiView, read_multiview
from jaxpose.io.tracking import link
from jaxpose.io.tracks import are_images
from jaxpose.originals.datasets.gmm import first_peak, holds_gmm, read_clip
from jaxpose.tasks.lift import LEAST_JOINTS
from jaxpose.tasks.lift_video import Seen

_LISTED = 12  # frames that a line names
_convert = jax.jit(convert_joints, static_argnames=("source", "target"))


class Detections(NamedTuple):
    """N detections in the model's joint set, with the camera they are taken to be seen by.

    xy [N, J, 2] px, confidence [N, J] in [0, 1], intrinsics [N, 4] px; source: the same rows as the file has them;
    camera: in words, where the intrinsics come from. lines: about what was read, assumed and left out. heatmaps,
    mixture (pixels, weight [N, J, M]): of the same rows, where the keypoints are their peaks. image_size: width and
    height in pixels, where they are known. calibrated: the camera of a calibration file, whose lens xy is free of, or
    of a path, with a place for each row. evidence: [N, J, E] px, or None.
    """

    xy: np.ndarray
    confidence: np.ndarray
    intrinsics: np.ndarray
    source: Keypoints
    camera: str
    num_dropped: int
    lines: list[str]
    heatmaps: Heatmaps | None
    image_size: tuple[int, int] | None
    calibrated: Camera | None = None
    mixture: Mixture | None = None
    evidence: np.ndarray | None = None

    @property
    def visible(self) -> np.ndarray:
        """xy, NaN where a joint is hidden."""
        return np.where(self.confidence[..., None] > 0, self.xy, np.nan)

    @property
    def seen(self) -> Seen:
        """The detections as `lift_video` takes them."""
        source = self.source
        where = source.frame, source.person, source.fps
        return Seen(self.xy, self.confidence, Camera(self.intrinsics), *where, self.evidence)


class _File(NamedTuple):
    """The content of a file: keypoints, and the heatmaps or mixtures whose peaks they are."""

    kp: Keypoints
    maps: Heatmaps | None = None
    mixture: Mixture | None = None


def read_detections(
    path: Path,
    target: Skeleton | Callable[[Skeleton], Skeleton],
    given: KeypointFile,
    skeleton_name: str | None = None,
    hide: Callable[[int], np.ndarray] | None = None,
    *,
    fps: float | None = None,
    whole: bool = False,
    video: bool = False,
    span: VideoFile | None = None,
) -> Detections:
    """The detections of a file or folder, brought to the joint set `target`; what is not to be trusted is hidden.

    target: may be a function of the file's joint set. skeleton_name: that set; given.format may name it too.
    hide: number of detections -> [N, J] bool, joints to be hidden besides. fps: frames per second, where the file does
    not say. video: link people whom the file does not follow, as --track does. span: the part of the file to read.
    Detections with too few visible joints, or if `whole` not all of them, are left out; ValueError where none is left.
    """
    file, lens, words = _calibrated(path, _read(path, given, skeleton_name), given)
    times = file.kp._replace(fps=file.kp.fps or fps)
    of_span, cut = within(path, span, times.frame, times.fps, times.seconds)
    file = _select(file._replace(kp=times), of_span)
    kp, linked, swapped = _followed(path, file, given, video)
    target = target if isinstance(target, Skeleton) else target(kp.skeleton)
    if file.mixture is not None and target.name != kp.skeleton.name:
        raise ValueError(f"{path}: mixtures of {kp.skeleton.name}; needed a model of these joints, got {target.name}")
    trusted = rescaled(np.where(kp.confidence >= given.min_confidence, kp.confidence, 0))
    xy, confidence = jax.device_get(_convert(kp.xy, trusted, source=kp.skeleton, target=target))
    confidence = np.where(hide(len(xy)), 0, confidence) if hide else confidence
    least, visible = len(target.joints) if whole else LEAST_JOINTS, (confidence > 0).sum(-1)
    if not (rows := visible >= least).any():
        sure = f"with confidence of {given.min_confidence} or more{', not hidden' if hide else ''}; the best has"
        raise ValueError(f"{path}: no detection has {least} visible joints of {target.name} {sure} {visible.max()}")
    intrinsics, camera = settle_camera(kp, given.camera, given.fov, given.image_size)
    file, size = _select(file._replace(kp=kp), rows), given.image_size or kp.image_size
    of_rows = xy[rows], confidence[rows], np.broadcast_to(intrinsics, (len(xy), 4))[rows]
    made = Detections(*of_rows, file.kp, words or camera, int((~rows).sum()), [], file.maps, size)
    lines = _lines(path, made, least, cut, swapped, linked=linked)
    return made._replace(lines=lines, calibrated=lens, mixture=file.mixture, evidence=_evidence(file.kp, target))


def _lines(path: Path, data: Detections, least: int, cut: str, swapped: str, *, linked: bool) -> list[str]:
    """Lines about what was read, assumed and left out."""
    kp, num = data.source, data.num_dropped
    unused = f"not used: {kp.ignored} keypoints of each person that are not of this set (face, hands, ...)"
    dropped = f"left out {num} detections with fewer than {least} visible joints"
    people = f"linked over frames: {len(np.unique(kp.person))} people"
    more = (cut, kp.ignored and unused, num and dropped, swapped, linked and people)
    return [f"{path}: {len(data.xy)} detections of {kp.skeleton.name}; {data.camera}", *(x for x in more if x)]


def _evidence(kp: Keypoints, target: Skeleton) -> np.ndarray | None:
    """Evidence [N, J, E] on the joints of `target`, NaN where that of a joint they are made of is not known."""
    if kp.evidence is None:
        return None
    values, known = jax.device_get(
        _convert(kp.evidence, np.ones_like(kp.confidence), source=kp.skeleton, target=target)
    )
    return np.where(known[..., None] > 0, values, np.float32(np.nan))


def _followed(path: Path, file: _File, given: KeypointFile, video: bool) -> tuple[Keypoints, bool, str]:
    """The keypoints with people linked, where that is asked for, and of a video with left and right put right.

    Further whether they were linked, and words on detections whose sides were exchanged.
    """
    kp, by_place = file.kp, _by_place(path, file.kp)
    linked = given.track or (video and by_place)
    kp = link(kp, threshold=given.min_confidence) if linked else kp
    images = are_images(timeline(kp.frame, kp.fps).number, kp.fps)
    if images or (by_place and not linked) or file.maps is not None or file.mixture is not None:
        return kp, linked, ""
    who: dict[str, Any] = {"frame": kp.frame, "person": kp.person, "fps": kp.fps}
    wrong = exchanged(kp.xy, kp.confidence, kp.skeleton, **who)
    frames = ", ".join(str(frame) for frame in np.unique(kp.frame[wrong])[:_LISTED])
    more = "" if wrong.sum() <= _LISTED else ", ..."
    words = f"left and right were exchanged in {wrong.sum()} detections, and are put right: frames {frames}{more}"
    fields = {name: getattr(kp, name) for name in ("xy", "confidence", "evidence") if getattr(kp, name) is not None}
    fields = {name: mirrored_sides(x, kp.skeleton, wrong) for name, x in fields.items()}
    return kp._replace(**fields), linked, words if wrong.any() else ""


def _read(path: Path, given: KeypointFile, skeleton_name: str | None) -> _File:
    file_format = given.format
    if file_format in SKELETONS:
        if skeleton_name not in (None, file_format):
            raise ValueError(f"--format {file_format} and --skeleton {skeleton_name} are two joint sets; needed one")
        skeleton_name, file_format = file_format, None
    skeleton = get_skeleton(skeleton_name) if skeleton_name else None
    if holds_gmm(path):
        return _of_mixtures(path, given)
    if kind_of(path, (Heatmaps, Keypoints)) is Heatmaps:
        if file_format is not None or given.camera_name is not None:
            raise ValueError(f"{path} holds heatmaps: --format FILE_FORMAT and --camera-name mean nothing to them")
        maps = read_heatmaps(path, skeleton=skeleton, image_size=given.image_size, missing="hide")
        return _File(peaks(maps), maps)
    source = source_of(path)  # with --calibration, --camera-name is of its cameras, and of the file's if it has any
    of_file = given.calibration is None or (source.suffix == ".npz" and "camera" in source.arrays)
    camera_name = given.camera_name if of_file else None
    return _File(read_keypoints(source, skeleton=skeleton, format=file_format, camera=camera_name))


def _calibrated(path: Path, file: _File, given: KeypointFile) -> tuple[_File, Camera | None, str]:
    """The keypoints without the lens of the camera of --calibration, that camera, and its name in words."""
    if given.calibration is None:
        return file, None, ""
    refuse(given, "needed none beside --calibration", "camera", "fov")
    camera, name = multiview.one_camera(given.calibration, given.calibration_unit, given.camera_name, path)
    if file.maps is not None and np.any(camera.distortion):
        raise ValueError(f"{path}: heatmaps with a lens distortion; needed maps of undistorted images")
    kp = file.kp._replace(image_size=given.image_size or file.kp.image_size)
    words = f"camera {name} of {given.calibration}, lens distortion undone"
    return file._replace(kp=multiview.straightened(kp, camera, str(path))), camera, words


def _of_mixtures(path: Path, given: KeypointFile) -> _File:
    """Keypoints of a file of `prepare gmm`, and its mixtures in pixels."""
    if given.calibration is not None or given.format is not None:
        raise ValueError(f"{path} holds mixtures: --format and --calibration mean nothing to them")
    mixture, size = read_clip(path, given.camera_name)
    if given.image_size is not None and given.image_size != size:
        raise ValueError(f"{path}: its image is {size}, --image-size {given.image_size}; needed one size")
    xy, confidence = first_peak(mixture)
    num = len(xy)
    person = np.zeros(num, np.int64)
    kp = Keypoints(xy, confidence, H36M_17, np.arange(num), person, ("",) * num, image_size=size)
    return _File(kp, mixture=mixture)


def _by_place(path: Path, kp: Keypoints) -> bool:
    """Whether the ids of people are their places in each frame, of which some have several, as files of text have."""
    if path.suffix.lower() in (".npz", ".npy"):
        return False
    order = np.lexsort((kp.person, kp.frame))
    frame = kp.frame[order]
    place = np.arange(len(frame)) - np.searchsorted(frame, frame)
    return bool(place.any() and (kp.person[order] == place).all())


def _select(file: _File, rows: np.ndarray) -> _File:
    kp, maps = file.kp, file.maps
    image = tuple(np.array(kp.image, object)[rows]) if len(kp.image) == len(rows) else kp.image
    fields = {name: getattr(kp, name)[rows] for name in ("xy", "confidence", "frame", "person")}
    fields |= {name: x[rows] for name in ("intrinsics", "seconds", "evidence") if (x := getattr(kp, name)) is not None}
    if maps is not None and not rows.all():
        maps = maps._replace(maps=maps.maps[rows], box=maps.box[rows], frame=maps.frame[rows])
    mixture = None if file.mixture is None else jax.tree.map(lambda x: x[rows], file.mixture)
    return _File(kp._replace(**fields, image=image), maps, mixture)


def within(
    path: Path, span: VideoFile | None, frame: np.ndarray, fps: float | None, seconds: np.ndarray | None = None
) -> tuple[np.ndarray, str]:
    """Rows [N] from --begin to before --end, by their times, or without a rate by numbers of frames; and words."""
    if span is None or (span.end is None and not span.begin):
        return np.ones(len(frame), bool), ""
    times, unit = (frame / fps, "seconds") if fps else (frame, "frames")
    times, unit = (times, unit) if seconds is None else (seconds, "seconds")
    rows = (times >= span.begin) & (times < (np.inf if span.end is None else span.end))
    chosen = f"{unit} from {span.begin:g}" + ("" if span.end is None else f" to before {span.end:g}")
    if not rows.any():
        raise ValueError(f"{path}: no {chosen} (--begin, --end); it has those from {times.min():g} to {times.max():g}")
    return rows, f"{chosen}: {rows.sum()} of {len(rows)} rows"


def check_calibration(paths: Sequence[Path], given: CalibrationFile, cameras: Sequence[str] | None = None) -> None:
    """Report faults of --calibration before people are looked for in videos."""
    if given.calibration is None or not any(map(holds_frames, paths)):
        return
    if isinstance(given, KeypointFile) and len(paths) == 1:
        multiview.one_camera(given.calibration, given.calibration_unit, given.camera_name, paths[0])
    else:
        multiview.cameras_of(paths, given.calibration, unit=given.calibration_unit, cameras=cameras)


def joint_set(name: str | None) -> Skeleton | None:
    """The joint set of --points; ValueError names the flag."""
    try:
        return None if name is None else joint_set_of(name)
    except ValueError as error:
        raise ValueError(f"--points: {error}") from None


def holds_cameras(path: Path) -> bool:
    """Whether a file has keypoints of several calibrated cameras."""
    return kind_of(path, (MultiView, Keypoints)) is MultiView


def read_views(
    paths: Sequence[Path], options: OfCameras, given: CalibrationFile, min_confidence: float
) -> tuple[list[MultiView], list[str]]:
    """The keypoints and cameras of files: of --calibration together, else of each file its own; and lines about them.

    ValueError names a file with cameras beside --calibration, one without them, and one of another vertical.
    """
    own, skeleton = list(map(holds_cameras, paths)), joint_set(options.skeleton)
    if given.calibration is not None:
        if any(own):
            path = paths[own.index(True)]
            raise ValueError(f"--calibration: {path} has its own calibrated cameras; needed keypoints of one camera")
        how = {"unit": given.calibration_unit, "cameras": options.cameras, "up": options.up}
        wanted = {"skeleton": skeleton, "min_confidence": min_confidence}
        data, read = multiview.read_views(paths, given.calibration, **how, **wanted)  # type: ignore[arg-type]  # of many types
        parts = [data]
    else:
        parts, read = [], []
        points = None if skeleton is None else point_set_of(skeleton)
        taken: dict[str, Any] = {"points": points, "up": options.up, "cameras": options.cameras}
        for path, has_cameras in zip(paths, own, strict=True):
            if not has_cameras:
                needed = "keypoints [F, C, K, 2 or 3], K, R and t"
                raise ValueError(f"{path}: needed an .npz of calibrated cameras, with {needed}, or --calibration FILE")
            data = read_multiview(path, **taken, min_confidence=min_confidence)
            if data.up != (parts or [data])[0].up:
                raise ValueError(f"{path}: world {data.up} up, and {paths[0]} {parts[0].up} up; needed one (--up)")
            cameras = f"{len(data.cameras)} of {data.num_cameras} cameras ({', '.join(data.cameras)})"
            read.append(f"{path}: {len(data.xy)} frames of {data.points} in {cameras}, world {data.up} up")
            parts.append(data)
    span = None if all(map(holds_frames, options.input)) else options.video
    for number, (path, data) in enumerate(zip(paths, parts, strict=False)):
        fps = data.fps or options.fps
        rows, words = within(path, span, data.frame, fps)
        parts[number] = data._replace(fps=fps).taken(rows)
        read += [words] if words else []
    return parts, read
