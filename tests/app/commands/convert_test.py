"""`jaxpose convert` and `jaxpose prepare`: flags reach the functions, errors leave with code 2."""

import importlib
import inspect
from pathlib import Path

import pytest

from jaxpose.app import cli
from jaxpose.app.commands.options import COMMANDS

OUT = {"out": Path("b.safetensors")}


@pytest.mark.parametrize(
    ("command", "flags", "expected"),
    [
        ("convert gfpose", "a.pth --out b.safetensors --weights raw", OUT | {"path": Path("a.pth"), "weights": "raw"}),
        (
            *("convert diffpose", "a.pth b.bin --out b.safetensors --schedule gt"),
            OUT | {"paths": (Path("a.pth"), Path("b.bin")), "weights": "raw", "schedule": "gt"},
        ),
        (
            *("convert dposer", "a.ckpt --out b.safetensors --normalizer n.pt"),
            OUT | {"path": Path("a.ckpt"), "normaliser": Path("n.pt"), "weights": "ema", "identity": False},
        ),
        (
            *("convert dposer", "a.pth --out b.safetensors --identity-normalizer --weights raw"),
            OUT | {"path": Path("a.pth"), "normaliser": None, "weights": "raw", "identity": True},
        ),
        (
            *("prepare h36m", "--poses a.pkl --detections b.pkl --split train --out f"),
            {"poses_pkl": Path("a.pkl"), "detections_pkl": Path("b.pkl"), "split": "train", "out": Path("f")},
        ),
        (
            *("prepare videopose3d", "--poses a.npz --subjects S9,S11 --out f"),
            {"data_3d_npz": Path("a.npz"), "data_2d_npz": None, "subjects": ("S9", "S11"), "out": Path("f")},
        ),
        (
            *("prepare 3dhp", "--poses a.npz --split test --out f"),
            {"path": Path("a.npz"), "split": "test", "out": Path("f")},
        ),
        (
            *("prepare fragments", "a.npz b.bvh --length 9 --out f"),
            {"sources": (Path("a.npz"), Path("b.bvh")), "length": 9, "out": Path("f")},
        ),
    ],
)
def test_flags_reach_the_function_and_its_lines_are_printed(command, flags, expected, monkeypatch, capsys):
    place, _, function = COMMANDS[command][1].partition(":")
    module = importlib.import_module(f"jaxpose.{place}")
    inspect.signature(getattr(module, function)).bind(**expected)

    def called(**named):
        yield f"{named == expected}"

    monkeypatch.setattr(module, function, called)
    cli.main([*command.split(), *flags.split()])
    assert capsys.readouterr().out.startswith("True\ndone in")
