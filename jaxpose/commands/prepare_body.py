"""`jaxpose prepare body`: the licence-free body as a file in the layout of SMPL, SMPL-H or SMPL-X."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from jaxpose.commands import arguments

_KINDS = ("smpl", "smplh", "smplx")


def add_parser(kinds: arguments.Subparsers) -> None:
    """Add the kind `body` to the parser of `jaxpose prepare`."""
    body = kinds.add_parser("body", help="a body model that needs no licence, laid out as SMPL's files")
    body.add_argument("--kind", dest="body_kind", choices=_KINDS, required=True, help="whose joints it has")
    body.add_argument("--out", required=True, metavar="NPZ", help="the file to write")
    body.set_defaults(run=run)


def run(args: argparse.Namespace) -> Iterator[str]:
    """Write the body, and say what is in it."""
    from jaxpose.io.body_files import save_body
    from jaxpose.io.capsule_body import capsule_body

    body = capsule_body(args.body_kind)
    save_body(args.out, body)
    yield (
        f"wrote {args.out}: {body.kind}, {body.v_template.shape[0]} vertices, {len(body.faces)} faces, "
        f"{len(body.parents)} joints, {body.shapedirs.shape[-1]} betas"
    )
