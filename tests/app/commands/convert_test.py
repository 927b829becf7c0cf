"""`jaxpose convert` and `jaxpose prepare`: flags reach the functions, errors leave with code 2."""

import inspect
from pathlib import Path

import pytest

import jaxpose.originals.convert.diffpose
import jaxpose.originals.convert.dposer
import jaxpose.originals.convert.gfpose
from jaxpose.app import cli
from jaxpose.originals.datasets import fragments, h36m_pickle, mpi3dhp, videopose3d


@pytest.mark.parametrize(
    ("module", "function", "command", "expected"),
    [
        (
            jaxpose.originals.convert.gfpose,
            "convert_gfpose",
            "convert gfpose a.pth --out b.safetensors --weights raw",
            {"path": Path("a.pth"), "out": Path("b.safetensors"), "weights": "raw"},
        ),
        (
            jaxpose.originals.convert.diffpose,
            "convert_diffpose",
            "convert diffpose a.pth b.bin --out b.safetensors --schedule gt",
            {
                "paths": (Path("a.pth"), Path("b.bin")),
                **{"out": Path("b.safetensors"), "weights": "raw", "schedule": "gt"},
            },
        ),
        (
            jaxpose.originals.convert.dposer,
            "convert_dposer",
            "convert dposer a.ckpt --out b.safetensors --normalizer n.pt",
            {
                **{"path": Path("a.ckpt"), "out": Path("b.safetensors")},
                **{"normaliser": Path("n.pt"), "weights": "ema", "identity": False},
            },
        ),
        (
            jaxpose.originals.convert.dposer,
            "convert_dposer",
            "convert dposer a.pth --out b.safetensors --identity-normalizer --weights raw",
            {
                **{"path": Path("a.pth"), "out": Path("b.safetensors")},
                **{"normaliser": None, "weights": "raw", "identity": True},
            },
        ),
        (
            h36m_pickle,
            "prepare_pickles",
            "prepare h36m --poses a.pkl --detections b.pkl --split train --out f",
            {"poses_pkl": Path("a.pkl"), "detections_pkl": Path("b.pkl"), "split": "train", "out": Path("f")},
        ),
        (
            videopose3d,
            "prepare_videopose3d",
            "prepare videopose3d --poses a.npz --subjects S9,S11 --out f",
            {"data_3d_npz": Path("a.npz"), "data_2d_npz": None, "subjects": ("S9", "S11"), "out": Path("f")},
        ),
        (
            mpi3dhp,
            "prepare_3dhp",
            "prepare 3dhp --poses a.npz --split test --out f",
            {"path": Path("a.npz"), "split": "test", "out": Path("f")},
        ),
        (
            fragments,
            "prepare_fragments",
            "prepare fragments a.npz b.bvh --length 9 --out f",
            {"sources": (Path("a.npz"), Path("b.bvh")), "length": 9, "out": Path("f")},
        ),
    ],
)
def test_flags_reach_the_function_and_its_lines_are_printed(module, function, command, expected, monkeypatch, capsys):
    inspect.signature(getattr(module, function)).bind(**expected)

    def called(**named):
        yield f"{named == expected}"

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
