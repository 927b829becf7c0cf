"""`jaxpose export --format onnx`: the file, what is told of it, and what is refused."""

import dataclasses
import json

import pytest

from jaxpose import model
from jaxpose.app.commands.parser import make_parser
from jaxpose.app.commands.prepare import export as command

onnx = pytest.importorskip("onnx", reason="extra [onnx]")
pytest.importorskip("onnxruntime", reason="extra [onnx]")


def exported(out, *flags, kind="onnx"):
    return list(command(make_parser()(["export", "--format", kind, "--out", str(out), *map(str, flags)])[1]))


@pytest.mark.slow
def test_the_file_is_written_and_its_difference_told(model_file, tmp_path):
    tiny = model.load(model_file)
    spec = dataclasses.replace(tiny.spec, times=(1.0, 0.15))
    model.save(tmp_path / "tiny.safetensors", dataclasses.replace(tiny, spec=spec))
    flags = ("--model", tmp_path / "tiny.safetensors", "--task", "lift", "--hypotheses", 3, "--batch", 30)
    told = exported(tmp_path / "tiny.onnx", *flags, "--skeleton", "coco17")
    assert {"input: keypoints [30, 17, 2], px", "output: radius_90 [30, 17], m"} < set(told)
    (line,) = [line for line in told if line.startswith("largest difference to JAX: ")]
    assert float(line.split()[4]) < 0.1
    made = onnx.load(tmp_path / "tiny.onnx")
    said = {p.key: p.value for p in made.metadata_props}
    assert (said["format"], said["input_skeleton"], said["licence"]) == ("jaxpose-onnx-1", "coco17", "not stated")
    assert json.loads(said["joints"])[0] == "hip"
    stored = [i.data_type for i in made.graph.initializer if "kernel" in i.name]
    assert stored == [onnx.TensorProto.FLOAT16] * len(stored) != []
