"""`jaxpose convert gfpose | diffpose | dposer FILE --out FILE.safetensors`: original checkpoints as models here."""

from __future__ import annotations

from collections.abc import Iterator

from jaxpose.commands.file_options import ConvertDiffpose, ConvertDposer, ConvertGfpose


def gfpose(options: ConvertGfpose) -> Iterator[str]:
    """Convert a checkpoint of GFPose."""
    from jaxpose.convert.gfpose import convert_gfpose

    return convert_gfpose(options.file, options.out, weights=options.weights)


def diffpose(options: ConvertDiffpose) -> Iterator[str]:
    """Convert one or two checkpoints of DiffPose to one model."""
    from jaxpose.convert.diffpose import convert_diffpose

    return convert_diffpose(list(options.files), options.out, weights=options.weights, schedule=options.schedule)


def dposer(options: ConvertDposer) -> Iterator[str]:
    """Convert a checkpoint of DPoser."""
    from jaxpose.convert.dposer import convert_dposer

    return convert_dposer(
        options.file,
        options.out,
        normaliser=options.normalizer,
        weights=options.weights,
        identity=options.identity_normalizer,
    )
