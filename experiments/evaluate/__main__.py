"""Score models on fixed data: `python -m experiments.evaluate WHAT [--flags]`.

    frames      lifting of the benchmark's validation frames          walker    of real detections, four cameras
    tasks       lift, complete, denoise, generate                     calls     every solver over network calls
    aggregates  which one pose to take of many                        fusion    several cameras, by their number
    diffpose    DiffPose's settings on frames                         video     the same on clips
    motions     hypotheses that are motions, beside single frames
    body        motions and bodies fitted with and without a prior    prior     completion, generation, denoising
    score       typicality of corrupted poses
    world       vertical, floor, feet and root's path of one static camera
    h36m        DiffPose's protocols on prepared folders              gfpose    GFPose's protocol
    blazepose   the walker's videos, beside BlazePose's landmarks     all       every one of these, with the same flags
    verdict     results that are doubtful, of right and of wrong input
    intervals   how far the intervals of angles, distances, speeds and radii hold

`python -m experiments.evaluate WHAT --help` lists the flags. Files of the benchmark are those on straight limbs;
JAXPOSE_BENCH=../shared/bench takes those as captured.
"""

import dataclasses
import importlib
import sys
import typing

from experiments import options
from experiments.evaluate import harness
from jaxpose import model as released

# The function of each evaluator by its name, and the file that it stands in: only that one is imported.
FILES = {
    **dict.fromkeys(("frames", "walker"), "lifting"),
    **dict.fromkeys(("diffpose", "video"), "diffpose"),
    "motions": "motions",
    **{name: name for name in ("tasks", "aggregates", "fusion", "calls", "body", "prior")},
    **{name: name for name in ("score", "h36m", "gfpose", "blazepose", "world", "intervals", "verdict")},
}


def main(argv: list[str]) -> None:
    """Run the evaluator that the first argument names, or all."""
    if not argv or argv[0] in ("--help", "-h"):
        print(__doc__.strip())
    elif argv[0] == "all":
        everything(argv[1:])
    elif argv[0] in FILES:
        evaluate(argv[0], argv[1:])
    else:
        print(f"evaluate: got {argv[0]!r}, must be one of all, {', '.join(FILES)}", file=sys.stderr)
        sys.exit(2)


def evaluate(what: str, argv: list[str], *, several: bool = True) -> None:
    """Print and write the tables of one evaluator, and leave with its status."""
    module = importlib.import_module(f"experiments.evaluate.{FILES[what]}")
    evaluator = getattr(module, what)

    def report(chosen: harness.Options) -> None:
        model = released.load(chosen.model).astype(chosen.dtype) if chosen.model else None
        harness.report(what, evaluator(model, chosen), chosen, model, argv)

    options.run(f"evaluate {what}", report, options_of(what), module.__doc__ or "", argv, several=several)


def options_of(what: str) -> type[harness.Options]:
    """The class of an evaluator's options."""
    module = importlib.import_module(f"experiments.evaluate.{FILES[what]}")
    return typing.get_type_hints(getattr(module, what))["options"]


def everything(argv: list[str]) -> None:
    """All evaluators one after the other but those that need files of the user; status 2 where one has an error."""
    status = 0
    for what in FILES:
        needed = [f"--{f.name}" for f in dataclasses.fields(options_of(what)) if f.metadata["required"]]
        print(f"\n== {what}{': left out, needs ' + ', '.join(needed) if needed else ''}", flush=True)
        if not needed:
            try:
                evaluate(what, argv, several=False)
            except SystemExit as end:
                status = max(status, int(end.code or 0))
                if status == 130:
                    break
    sys.exit(status)


if __name__ == "__main__":
    main(sys.argv[1:])
