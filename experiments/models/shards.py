"""Training frames as a folder of shards, for data beyond memory: they are read while training goes on.

    python -m experiments.models.shards --config=pose17 --out=shards/pose17
    python -m experiments.train --config=pose17 --config.data.stream=shards/pose17 --workdir=...

Configs of single frames, of motions (motion17) and of rotations (prior21). One file of
`config.data.files` is in memory at a time, and every tenth frame of each sequence, of which skeletons, statistics and
the distances of body parts are; weights are those of all, of a sequence the mean of its frames. Statistics are of the
views of `config.view`: training takes the same config.
"""

import functools
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from experiments import options
from experiments.models.frames import balanced, pose_factors, training_frames
from experiments.models.job import drawn_anew
from jaxpose.datasets.mocap import Mocap, Rotations, load_mocap, load_rotations
from jaxpose.datasets.shards import of_takes, write_shards
from jaxpose.examples.bodies import carriers_of
from jaxpose.examples.rates import ViewRates
from jaxpose.examples.views import make_bodies

_EVERY = 10  # frames of a sequence, of which one is in the sample


def write(config: ConfigDict, out: str) -> Iterator[str]:
    """Write the frames that `config.data` names; yields lines about the progress."""
    data = config.data
    if data.get("share", 1.0) < 1 or data.get("num_people", 0) or data.rehearsal:
        raise ValueError("config.data: share, num_people and rehearsal are of frames in memory; shards have none")
    of_bodies = config.get("kind") != "prior"
    view = ViewRates(**config.view) if of_bodies else ViewRates()
    anew = drawn_anew(view)
    sequences: list[tuple[str, str, int, float]] = []  # subject, category, length, mean factor of its poses
    people: dict[str, int] = {}
    sample: list[dict[str, np.ndarray]] = []
    frames_of: Any = functools.partial(load_mocap, rotations=anew) if of_bodies else load_rotations
    sources = [(data.folder,)] if data.folder else [(name,) for name in data.files]

    def parts() -> Iterator[dict[str, np.ndarray]]:
        total = 0
        for source in sources:
            one = ConfigDict(data.to_dict() | ({} if data.folder else {"files": source}))
            frames: Any = training_frames(one, config.seed, frames_of)[0]
            part = _fields(frames, people)
            total += len(frames.sequence)
            length = np.bincount(frames.sequence, minlength=len(frames.name))
            first = len(sequences)
            factor = np.bincount(frames.sequence, pose_factors(data, frames)) / length
            of_sequences = (frames.subject, frames.category, length, factor)
            sequences.extend(zip(*(x.tolist() for x in of_sequences), strict=True))
            spaced = np.concatenate(
                [np.arange(end - n, end, _EVERY) for n, end in zip(length, length.cumsum(), strict=True)]
            )
            taken = {name: values[spaced] for name, values in part.items() if name != "carriers"}
            turned = {"turned": frames.rotations[spaced]} if anew else {}
            sample.append({**taken, **turned, "sequence": first + frames.sequence[spaced]})
            print(f"{total:,} frames of {len(sequences):,} sequences", flush=True)
            yield part

    def resident() -> dict[str, np.ndarray]:
        subject, category, length, factor = (np.array(x) for x in zip(*sequences, strict=True))
        order = np.repeat(np.arange(len(length)), length)
        weight = np.bincount(order, balanced(data, Mocap(np.zeros((0, 0)), order, subject, category, subject))) * factor
        weight /= weight.sum()
        arrays = of_takes(length, weight)
        drawn = {name: np.concatenate([part[name] for part in sample]) for name in sample[0]}
        if not of_bodies:
            return arrays | {"sample": drawn["rotations"]}
        each = (weight / np.bincount(drawn["sequence"]))[drawn["sequence"]]
        bodies = make_bodies(drawn["joints"], each, view, drawn.get("turned"), drawn.get("person"))
        groups: dict[str, Any] = {"statistics": bodies.statistics} | ({"people": bodies.people} if anew else {})
        arrays |= {f"{g}.{name}": np.asarray(x) for g, of in groups.items() for name, x in of._asdict().items()}
        return arrays | ({"apart": np.asarray(bodies.apart)} if anew else {})

    rows = write_shards(out, parts(), resident)
    yield f"wrote {out}: {rows:,} frames of {len(sequences):,} sequences"


def _fields(frames: Mocap | Rotations, people: dict[str, int]) -> dict[str, np.ndarray]:
    """What is stored of each frame; persons are numbered as they come, in all files alike."""
    if isinstance(frames, Rotations):
        return {"rotations": frames.body_pose}
    if frames.rotations is None:
        return {"joints": frames.joints}
    number = np.array([people.setdefault(str(name), len(people)) for name in frames.subject], np.int32)
    carriers = carriers_of(frames.rotations)
    return {"joints": frames.joints, "carriers": carriers, "person": number[frames.sequence]}


def main(argv: list[str]) -> None:
    """Write the folder that the flags ask for; errors that a user can mend leave with code 2 and one line."""
    values = flags.FlagValues()  # of its own: experiments.train has flags of these names
    where: dict[str, Any] = {"flag_values": values}
    config = config_flags.DEFINE_config_file("config", None, "A model of experiments/models, or a file.", **where)
    out = flags.DEFINE_string("out", None, "The folder to write; it must not exist.", **where)
    flags.mark_flags_as_required(["config", "out"], flag_values=values)
    try:
        values(options.with_config_file(argv))
        for line in write(config.value, str(out.value)):
            print(line)
    except (ValueError, OSError, flags.Error) as error:
        print(f"shards: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv)
