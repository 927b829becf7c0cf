"""What the page knows of its model: the metadata of an exported ONNX file, as JSON beside it.

python -m experiments.web.facts build/web/lift.onnx
"""

import json
import sys
from pathlib import Path
from typing import Any

from jaxpose.app.to_onnx.few_steps import FORMAT
from jaxpose.geometry.skeleton import bones, get_skeleton


def facts(path: Path) -> dict[str, Any]:
    """Joints, parents and sides of the poses; shapes of the inputs; lines and sides of the landmarks in the picture."""
    import onnx

    made = onnx.load(path)
    properties = {p.key: p.value for p in made.metadata_props}
    if properties.get("format") != FORMAT:
        raise ValueError(f"{path}: not of the format {FORMAT!r} that `jaxpose export --format onnx` writes")
    given = get_skeleton(properties["input_skeleton"])
    index = given.joints.index
    lines = [pair for pair in bones(given) if not _from_face(given.joints, pair)]
    lines += [(index(f"left_{j}"), index(f"right_{j}")) for j in ("shoulder", "hip") if f"left_{j}" in given.joints]
    return {
        **{name: json.loads(properties[name]) for name in ("joints", "parents", "left", "right")},
        "name": json.loads(properties["model"])["name"],
        "licence": properties["licence"],
        "jaxpose": properties["jaxpose"],
        "inputs": {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in made.graph.input},
        "input_skeleton": given.name,
        "input_lines": lines,
        "input_left": given.left,
        "input_right": given.right,
    }


def _from_face(joints: tuple[str, ...], pair: tuple[int, int]) -> bool:
    """Whether a bone is only there because its set has no neck: nobody has a line from nose to shoulder."""
    parent, child = (joints[i] for i in pair)
    return parent == "nose" and child.endswith("_shoulder")


if __name__ == "__main__":
    source = Path(sys.argv[1])
    source.with_suffix(".json").write_text(json.dumps(facts(source)), encoding="utf-8")
