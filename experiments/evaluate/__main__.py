"""Score models on fixed data: `python -m experiments.evaluate WHAT [--flags]`.

    frames      lifting of the benchmark's validation frames          walker    of real detections, four cameras
    tasks       lift, complete, denoise, generate                     calls     every solver over network calls
    aggregates  which one pose to take of many                        posterior lift, fuse, parts by one posterior
    diffpose    DiffPose's settings on frames                         video     the same on clips
    motions     hypotheses that are motions, beside single frames     smooth    a motion prior over single frames
    body        motions and bodies fitted with and without a prior    prior     completion, generation, schedules
    score       typicality of corrupted poses                          oracle    `posterior` where it is known
    world       vertical, floor, feet and root's path of one static camera
    h36m        DiffPose's protocols on prepared folders              gfpose    GFPose's protocol
    blazepose   the walker's videos, beside BlazePose's landmarks     people    spread of training bodies and real ones
    angles      intervals of joint angles, straight knees

`python -m experiments.evaluate WHAT --help` lists the flags. Files of the benchmark are those on straight limbs;
JAXPOSE_BENCH=../shared/bench takes those as captured.
"""

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
    **dict.fromkeys(("motions", "smooth"), "motions"),
    **{
        n: n
        for n in (
            "tasks",
            "aggregates",
            "posterior",
            "calls",
            "body",
            "prior",
            "score",
            "oracle",
            "h36m",
            "gfpose",
            "blazepose",
            "world",
            "people",
            "angles",
        )
    },
}


def main(argv: list[str]) -> None:
    """Run the evaluator that the first argument names."""
    if not argv or argv[0] in ("--help", "-h"):
        print(__doc__.strip())
        return
    what, *rest = argv
    if what not in FILES:
        print(f"evaluate: got {what!r}, legal are {', '.join(FILES)}", file=sys.stderr)
        sys.exit(2)
    module = importlib.import_module(f"experiments.evaluate.{FILES[what]}")
    evaluator = getattr(module, what)

    def evaluate(chosen: harness.Options) -> None:
        model = released.load(chosen.model).astype(chosen.dtype) if chosen.model else None
        harness.report(what, evaluator(model, chosen), chosen, model)

    options.run(
        f"evaluate {what}",
        evaluate,
        typing.get_type_hints(evaluator)["options"],
        module.__doc__ or "",
        rest,
        several=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
