"""What the demo knows of its model, as JSON beside an exported ONNX file: inputs, licence, and pages to put poses into.

python -m experiments.web.facts build/web/lift.onnx
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from jaxpose.app.to_onnx.few_steps import FORMAT
from jaxpose.app.viz import motion_page
from jaxpose.geometry.skeleton import Skeleton, bones, get_skeleton

STEPS = 120  # poses that the slider goes back


def facts(path: Path) -> dict[str, Any]:
    """Model, licence and inputs; pages of the body and of its 2D input, and the lines between joints of the latter."""
    import onnx

    made = onnx.load(path)
    properties = {p.key: p.value for p in made.metadata_props}
    if properties.get("format") != FORMAT:
        raise ValueError(f"{path}: not of the format {FORMAT!r} that `jaxpose export --format onnx` writes")
    tree = {name: tuple(json.loads(properties[name])) for name in ("joints", "parents", "left", "right")}
    body, given = Skeleton("", **tree, parts=()), get_skeleton(properties["input_skeleton"])
    inputs = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in made.graph.input}
    index = given.joints.index
    neckless = [(index("nose"), index(f"{side}_shoulder")) for side in ("left", "right") if "nose" in given.joints]
    lines = [pair for pair in bones(given) if pair not in neckless]  # nobody has a line from nose to shoulder
    lines += [(index(f"left_{j}"), index(f"right_{j}")) for j in ("shoulder", "hip") if f"left_{j}" in given.joints]
    blank = np.zeros((inputs["noise"][1], STEPS, len(body.joints), 3))
    spread = np.broadcast_to(np.eye(3), (*blank.shape[1:], 3))
    points = np.zeros((1, STEPS, len(given.joints), 3))
    return {
        **{name: properties[name] for name in ("licence", "jaxpose")},
        **{"name": json.loads(properties["model"])["name"], "inputs": inputs, "input_lines": lines},
        "body": motion_page(blank, body, covariance=spread)._asdict(),
        "input": motion_page(points, given, keypoints=points[0, ..., :2])._asdict(),
    }


if __name__ == "__main__":
    source = Path(sys.argv[1])
    source.with_suffix(".json").write_text(json.dumps(facts(source)), encoding="utf-8")
