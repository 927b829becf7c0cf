"""`jaxpose export --task lift --out FILE`: a whole sampler ahead of time, in a file that needs JAX and nothing else."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from jaxpose.commands import arguments


def add_parser(commands: arguments.Subparsers) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "export",
        help="a whole sampler in one file, run by JAX alone",
        description="Writes a task of a model, from observations to samples, as one file that runs with the packages "
        "jax and flatbuffers, without this one. What goes in and comes out stands in the file's header and is told. "
        "JAX promises to run it in releases up to 6 months newer and 3 weeks older than the one that writes it.",
    )
    parser.add_argument("--task", required=True, help="lift, complete, denoise, generate or generate_rotations")
    parser.add_argument("--model", help="a bundled model's name or a .safetensors file")
    parser.add_argument(
        "--hypotheses",
        type=arguments.positive,
        default=200,
        metavar="H",
        help="poses per observation; of generation, in all (200)",
    )
    parser.add_argument(
        "--batch",
        type=arguments.positive,
        metavar="N",
        help="observations a call (any number); denoise and DiffPose models need one",
    )
    parser.add_argument("--steps", type=arguments.positive, metavar="T", help="solver steps (what validation chose)")
    parser.add_argument("--sampler", default="posterior", metavar="NAME", help="as in `jaxpose lift`")
    parser.add_argument(
        "--platforms", metavar="A,B", help="of cpu, cuda, rocm, tpu: where it shall run (where this runs)"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write, such as lift.jaxexport")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Trace, write, and say what the program takes and gives."""
    from jaxpose import export
    from jaxpose.commands import results

    out = Path(args.out)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ValueError(f"--out: got {out}; needed a file in a folder that exists")
    program = export.export_task(
        results.load_model(args),
        args.task,
        num=args.hypotheses,
        batch=args.batch,
        num_steps=args.steps,
        sampler=args.sampler,
        platforms=tuple(args.platforms.split(",")) if args.platforms else None,
    )
    export.write(out, program)
    header = program.header
    for side in ("inputs", "outputs"):
        for entry in header[side]:
            yield f"{side[:-1]}: {entry['name']} {entry['shape']}, {entry['unit']}"
    yield f"frame: {header['frame']}"
    yield f"{header['network_calls']} network calls; for {', '.join(header['platforms'])}"
    yield f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB"
