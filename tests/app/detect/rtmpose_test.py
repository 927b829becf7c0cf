"""SimCC networks and those of heatmaps: a graph made here with known scores, decoded against the closed form."""

import numpy as np
import pytest
from shared import refuses

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
import onnx
from onnx import TensorProto, helper, numpy_helper

from jaxpose.app.detect.base import Frame
from jaxpose.app.detect.people import Region
from jaxpose.app.detect.rtmpose import decode, rtmpose

WIDTH, HEIGHT, BINS = 48, 64, 2  # of the network's input; bins a pixel


def network(path, column, row, sure, given=(1, 3, HEIGHT, WIDTH)):
    """A network of 17 joints that sees joint j at bin (column[j], row[j]) with score sure[j] in any image."""
    scores = {}
    for name, place, bins in (("simcc_x", column, WIDTH * BINS), ("simcc_y", row, HEIGHT * BINS)):
        scores[name] = np.zeros((1, len(place), bins), np.float32)
        scores[name][0, np.arange(len(place)), place] = sure
    return network_of(path, scores, given)


def network_of(path, known, given=(1, 3, HEIGHT, WIDTH)):
    """A network that gives these arrays for any image."""
    graph, outputs = [], []
    for name, scores in known.items():
        constant = numpy_helper.from_array(scores, name + "_scores")
        graph += [helper.make_node("Constant", [], [name + "_known"], value=constant)]
        graph += [helper.make_node("Add", [name + "_known", "nothing"], [name])]
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, scores.shape))
    zero = numpy_helper.from_array(np.zeros((1, 1, 1), np.float32), "zero")
    graph = [
        helper.make_node("ReduceMean", ["input"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Constant", [], ["zero"], value=zero),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        *graph,
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, given)
    model = helper.make_model(
        helper.make_graph(graph, "simcc", [given], outputs), opset_imports=[helper.make_opsetid("", 13)], ir_version=8
    )
    onnx.save(model, str(path))
    return path


@pytest.fixture
def known(tmp_path):
    rng = np.random.default_rng(0)
    column, row = rng.integers(0, WIDTH * BINS, 17), rng.integers(0, HEIGHT * BINS, 17)
    sure = np.linspace(0.4, 1.3, 17).astype(np.float32)
    return network(tmp_path / "net.onnx", column, row, sure), column, row, sure


def test_points_of_the_whole_image_are_its_bins(known):
    """An image of 4 : 3 in a crop of 3 : 4: the crop is as wide as the square about the image's longer side."""
    path, column, row, sure = known
    detector = rtmpose(path, lambda image, squares: [Region(np.array([160.0, 120.0]), 320.0, 0.7)])
    (found,) = detector.detect([Frame(0, 0.0, np.zeros((240, 320, 3), np.uint8))])
    pixel = 320 / HEIGHT  # the crop is upright, as high as the region's side
    x = 160 + (column / BINS - WIDTH / 2) * pixel
    y = 120 + (row / BINS - HEIGHT / 2) * pixel
    np.testing.assert_allclose(found.xy_px[0], np.stack([x, y], -1), rtol=1e-5)
    np.testing.assert_allclose(found.confidence[0], np.minimum(sure, 1), rtol=1e-6)
    assert found.world is None
    assert detector.skeleton.name == "coco17"


def test_the_confidence_is_the_smaller_of_the_two_scores():
    x, y = np.zeros((3, 8)), np.zeros((3, 8))
    x[0, 3], y[0, 5], x[1, 0], y[1, 7], x[2, 1], y[2, 2] = 0.9, 0.4, 0.2, 0.8, 1.5, 1.2
    points, confidence = decode(x, y)
    np.testing.assert_allclose(points, np.array([(3, 5), (0, 7), (1, 2)]) / 8)
    np.testing.assert_allclose(confidence, (0.4, 0.2, 1.0))


def test_heatmaps_are_read_at_their_peaks(tmp_path):
    """Gaussian blobs about points between cells; the middle of cell c is pixel 4 c of the crop, as MMPose has it."""
    rng = np.random.default_rng(1)
    column, row = rng.uniform(4, 8, 17), rng.uniform(5, 11, 17)
    v, u = np.mgrid[:16, :12]
    away = np.square(u - column[:, None, None]) + np.square(v - row[:, None, None])
    maps = (0.7 * np.exp(-away / 2))[None].astype(np.float32)
    detector = rtmpose(network_of(tmp_path / "net.onnx", {"heatmaps": maps}), None)
    (found,) = detector.detect([Frame(0, 0.0, np.zeros((HEIGHT, WIDTH, 3), np.uint8))])
    np.testing.assert_allclose(found.xy_px[0], 4 * np.stack([column, row], -1), atol=0.02)
    np.testing.assert_allclose(found.confidence[0], maps[0].max((-1, -2)), rtol=1e-5)
    maps[:] = np.nan
    assert (decode(maps[0])[1] == 0).all()


def test_without_a_finder_each_image_is_one_person(known):
    path, *_ = known
    frames = [Frame(n, n / 30, np.zeros((100, 80, 3), np.uint8)) for n in range(3)]
    assert [len(found.xy_px) for found in rtmpose(path, None).detect(frames)] == [1, 1, 1]


def test_nobody_is_where_few_joints_are_sure(tmp_path):
    path = network(tmp_path / "net.onnx", [5] * 17, [9] * 17, np.full(17, 0.1, np.float32))
    (found,) = rtmpose(path, None).detect([Frame(0, 0.0, np.zeros((50, 50, 3), np.uint8))])
    assert found.xy_px.shape == (0, 17, 2)


def test_other_networks_are_refused(tmp_path):
    path = network(tmp_path / "net.onnx", [5] * 18, [9] * 18, np.ones(18, np.float32))
    refuses(r"net\.onnx: input \[1, 3, 64, 48\].*needed.*\[17, 26, 133\]", rtmpose, path, None)
    (tmp_path / "no.onnx").write_bytes(b"hello")
    refuses(r"no\.onnx: not a readable network for onnxruntime", rtmpose, tmp_path / "no.onnx", None)
    refuses("no such file", rtmpose, tmp_path / "none.onnx", None)


@pytest.mark.parametrize("given", [(8, 3, HEIGHT, WIDTH), (1, HEIGHT, WIDTH, 3), (HEIGHT, WIDTH), ("n", 3, "h", "w")])
def test_networks_of_other_inputs_are_refused_by_name(tmp_path, given):
    path = network(tmp_path / "net.onnx", [5] * 17, [9] * 17, np.ones(17, np.float32), given)
    refuses(r"net\.onnx: (input \[|not a readable network)[^\n]*$", rtmpose, path, None)


def test_a_network_that_gives_nan_sees_nobody(tmp_path):
    path = network(tmp_path / "net.onnx", [5] * 17, [9] * 17, np.full(17, np.nan, np.float32))
    (found,) = rtmpose(path, None).detect([Frame(0, 0.0, np.zeros((50, 50, 3), np.uint8))])
    assert found.xy_px.shape == (0, 17, 2)
    assert decode(np.full((1, 4), np.nan), np.ones((1, 4)))[1] == 0
