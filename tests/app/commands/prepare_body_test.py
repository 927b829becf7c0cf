"""`jaxpose prepare body`: the file is the body; what is wrong leaves with code 2."""

import numpy as np

from jaxpose.app import cli
from jaxpose.io.anny_body import anny_body
from jaxpose.io.body_files import load_body


def test_the_file_holds_the_body(tmp_path, capsys):
    cli.main(["prepare", "body", "--kind", "smplh", "--out", str(tmp_path / "b.npz")])
    body, wanted = load_body(tmp_path / "b.npz"), anny_body("smplh")
    assert body.kind == "smplh"
    np.testing.assert_array_equal(body.v_template, wanted.v_template)
    np.testing.assert_array_equal(body.weights, wanted.weights)
    assert f"{len(wanted.v_template)} vertices" in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["b.npz"]
