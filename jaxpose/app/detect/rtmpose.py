"""RTMPose and other top-down networks, as .onnx files, that end in SimCC or in heatmaps.

Sources: Jiang et al., RTMPose, 2023; Li et al., SimCC, 2022; Sun et al., HRNet, 2019; Xu et al., ViTPose, 2022.

The network sees an upright crop of its own size, as high as a person's circle and a quarter more. For each joint it
gives scores over columns and over rows, in bins of a half pixel or so, or a heatmap of cells of 4 pixels or so:

    SimCC:     x = argmax / bins a pixel      confidence = the smaller of the two highest scores, at most 1
    heatmap:   x = (peak - 1/2) cells         confidence = the highest value, at most 1

as MMPose decodes SimCC, and places a cell's middle; the peak is that of `geometry/heatmaps.py`. The number of joints
names their set: 17 COCO, 26 Halpe, 133 COCO-WholeBody, of which body and feet are taken. The next crop is about the
joints found, 1.25 times as large.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxpose.app.detect.base import Detector, Frame
from jaxpose.app.detect.people import Find, Look, Person, Region, crop, follow, to_image
from jaxpose.geometry.heatmaps import heatmap_peak
from jaxpose.geometry.skeleton import COCO_17, HALPE_26, WHOLEBODY_23
from jaxpose.reading import check_file, package, reading

_SETS = {17: COCO_17, 26: HALPE_26, 133: WHOLEBODY_23}
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # of ImageNet's red, green and blue, from 0 to 255
_WIDEST = 4096  # pixels of a crop
_peak = jax.jit(heatmap_peak)
_SEEN = 0.3  # least confidence of a joint that tells where the person is, and of half of the joints of one who is there


def rtmpose(path: Path, find: Find | None, *, people: int | None = None) -> Detector:
    """The detector with this network. find: what finds people (`blazepose.finder`); None: each image is one person.

    ValueError where the file is no such network, or its number of joints is none of 17, 26 and 133.
    """
    runtime = package("onnxruntime", "RTMPose needs the package onnxruntime", "rtmpose")
    with reading(path, "network for onnxruntime"):
        check_file(path)
        run, width, height, num = _network(runtime, path)
    skeleton = _SETS[num]
    joints = len(skeleton.joints)
    name = f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}, people {people or 'all'}"
    name += "" if find is None else ", finder of BlazePose"
    look = _look(lambda image: [scores[0, :joints] for scores in run(image)], width, height)
    return Detector(
        name, skeleton, follow(find or (lambda _, squares: squares[:1]), look, joints, people if find else 1)
    )


def decode(x_scores: np.ndarray, y_scores: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """SimCC scores [K, bins] of columns and rows -> points [K, 2] in shares of the crop, confidence [K].

    Or heatmaps [K, h, w] alone.
    """
    if y_scores is None:
        uv, sure = map(np.asarray, _peak(np.maximum(np.nan_to_num(x_scores), 0)))
        return (uv - 0.5) / x_scores.shape[:0:-1], sure
    place = [scores.argmax(-1) / scores.shape[-1] for scores in (x_scores, y_scores)]
    return np.stack(place, -1), np.clip(np.nan_to_num(np.minimum(x_scores.max(-1), y_scores.max(-1))), 0, 1)


def _look(run: Any, width: int, height: int) -> Look:
    size, margin = max(width, height), np.abs(height - width) // 2

    def look(frame: Frame, region: Region, memory: None) -> Person | None:
        square = crop(frame.rgb, region._replace(angle=0.0), size, extend=False)
        image = square[:, margin : margin + width] if height > width else square[margin : margin + height]
        points, confidence = decode(*run((image - _MEAN) / _STD))
        xy = to_image(region._replace(angle=0.0), 0.5 + (points - 0.5) * (width / size, height / size))
        visible = xy[confidence >= _SEEN]
        if 2 * len(visible) < len(xy):
            return None
        low, high = visible.min(0), visible.max(0)
        side = 1.25 * max(*((high - low) / (width / size, height / size)), 1.0)
        return Person(xy, confidence, None, Region((low + high) / 2, float(side), 0.0))

    return look


def _network(runtime: Any, path: Path) -> tuple[Any, int, int, int]:
    """A network as a function of a crop, width and height of the crop, and the number of joints of a first result."""
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    network = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    inputs, outputs = network.get_inputs(), network.get_outputs()
    shapes = [f"{x.name} {x.shape}" for x in (*inputs, *outputs)]
    match [x.shape for x in inputs]:
        case [[1 | str() | None, 3, int(height), int(width)]] if (
            0 < min(height, width) <= max(height, width) <= _WIDEST
        ):

            def run(x: np.ndarray) -> list[np.ndarray]:
                return network.run(None, {inputs[0].name: x[None].transpose(0, 3, 1, 2).astype(np.float32)})

            found = [scores.shape for scores in run(np.zeros((height, width, 3)))]
            shapes = [shapes[0], *(f"{x.name} {list(shape)}" for x, shape in zip(outputs, found, strict=True))]
            match found:
                case [(1, num, x_bins), (1, same, y_bins)] if num == same and num in _SETS and x_bins * y_bins > 0:
                    return run, width, height, num
                case [(1, num, rows, columns)] if num in _SETS and rows * columns > 0:
                    return run, width, height, num
    raise ValueError(
        f"{path}: {', '.join(shapes)}; needed an image [N, 3, H, W] or [1, 3, H, W] of numbers H and W, "
        f"and SimCC of x and y, or heatmaps [1, J, h, w], for {list(_SETS)} joints"
    )
