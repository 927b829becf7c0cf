"""`jaxpose export --task lift --out FILE`: a whole sampler ahead of time, in a file that needs JAX and nothing else."""

from __future__ import annotations

from collections.abc import Iterator

from jaxpose import export as exporting
from jaxpose.commands.file_options import Export
from jaxpose.model import DEFAULT_MODEL, load
from jaxpose.tasks.samplers import sampler_of


def export(options: Export) -> Iterator[str]:
    """Trace, write, and say what the program takes and gives."""
    out = options.out
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise ValueError(f"--out: got {out}; needed a file in a folder that exists")
    program = exporting.export_task(
        load(options.model or DEFAULT_MODEL),
        options.task,
        num=options.hypotheses,
        batch=options.batch,
        sampler=sampler_of(options.sampler, options.steps),
        platforms=options.platforms,
    )
    exporting.write(out, program)
    header = program.header
    for side in ("inputs", "outputs"):
        for entry in header[side]:
            yield f"{side[:-1]}: {entry['name']} {entry['shape']}, {entry['unit']}"
    yield f"frame: {header['frame']}"
    yield f"{header['network_calls']} network calls; for {', '.join(header['platforms'])}"
    yield f"wrote {out}, {out.stat().st_size / 1e6:.1f} MB"
