"""`jaxpose convert` and `jaxpose prepare`: flags reach the functions, errors leave with code 2."""

from pathlib import Path

import pytest

import jaxpose.convert.dposer
import jaxpose.convert.gfpose
from jaxpose import cli
from jaxpose.datasets import h36m_pickle, videopose3d


@pytest.mark.parametrize(
    ("module", "function", "command", "expected"),
    [
        (
            jaxpose.convert.gfpose,
            "convert_gfpose",
            "convert gfpose a.pth --out b.safetensors --weights raw",
            ((Path("a.pth"), Path("b.safetensors")), {"weights": "raw"}),
        ),
        (
            jaxpose.convert.dposer,
            "convert_dposer",
            "convert dposer a.ckpt --out b.safetensors --normalizer n.pt",
            (
                (Path("a.ckpt"), Path("b.safetensors")),
                {"normaliser": Path("n.pt"), "weights": "ema", "identity": False},
            ),
        ),
        (
            jaxpose.convert.dposer,
            "convert_dposer",
            "convert dposer a.pth --out b.safetensors --identity-normalizer --weights raw",
            ((Path("a.pth"), Path("b.safetensors")), {"normaliser": None, "weights": "raw", "identity": True}),
        ),
        (
            h36m_pickle,
            "prepare_pickles",
            "prepare h36m --poses a.pkl --detections b.pkl --split train --out f",
            ((Path("a.pkl"), Path("b.pkl"), "train", Path("f")), {}),
        ),
        (
            videopose3d,
            "prepare_videopose3d",
            "prepare videopose3d --poses a.npz --subjects S9,S11 --out f",
            ((Path("a.npz"), None, ["S9", "S11"], Path("f")), {}),
        ),
    ],
)
def test_flags_reach_the_function_and_its_lines_are_printed(module, function, command, expected, monkeypatch, capsys):
    def called(*positional, **named):
        yield f"{(positional, named) == expected}"

    monkeypatch.setattr(module, function, called)
    cli.main(command.split())
    assert capsys.readouterr().out.startswith("True\ndone in")


@pytest.mark.parametrize(
    "command",
    [
        "convert gfpose {}/no.pth --out {}/m.safetensors",
        "convert dposer {}/no.pth --out {}/m.safetensors --identity-normalizer",
        "prepare h36m --poses {}/no.pkl --split train --out {}/f",
        "prepare videopose3d --poses {}/no.npz --subjects S9 --out {}/f",
    ],
)
def test_a_missing_file_is_named(command, tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        cli.main(command.format(tmp_path, tmp_path).split())
    assert exit_info.value.code == 2
    error = capsys.readouterr().err
    assert "no.p" in error or "no.npz" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
