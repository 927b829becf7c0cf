"""`jaxpose measure RESULT --out DIR`: angles, distances and speeds of each person over time, with their intervals."""

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np

from jaxpose.app import viz
from jaxpose.app.commands import calibration
from jaxpose.app.commands.blocks import Clock
from jaxpose.app.commands.file_options import Measure
from jaxpose.app.commands.lift import lift
from jaxpose.app.commands.options import Lift
from jaxpose.app.commands.report import Outcome, command
from jaxpose.app.commands.values import Output
from jaxpose.geometry import measures
from jaxpose.geometry.skeleton import H36M_17
from jaxpose.geometry.windows import rows_of_people
from jaxpose.io.arrays import source_of
from jaxpose.io.results import Bands, Result, read_result, write_bands, write_mot
from jaxpose.tasks.measure import OF_CLIPS, USUAL, Measured
from jaxpose.tasks.measure import measure as measure_poses

NOT_DEFINED = (
    "not defined by 17 joints: rotations about the long axes of thigh, upper arm and forearm; abduction of knee and "
    "elbow; ankle and wrist; tilt of the pelvis against its own landmarks; scapula"
)
OVER_TIME = "speeds and ranges of motion come out too large, and few of their intervals hold (docs/measuring.md)"
_SHARES = (0.5, 0.25, 0.75, 0.05, 0.95)


@command("measure", "{}_measured")
def measure(options: Measure, name: str) -> Generator[str, None, Outcome]:
    """Read, or lift and read; measure each person; write .csv, .mot and .png beside the numbers."""
    result = read_result((yield from result_of(options.input, options.out)), H36M_17)
    fps, clock = result.fps or options.fps, Clock()
    result, factors = calibration.calibrated_result(result, options.calibrated)
    seconds = None if fps is None else result.frame / fps
    if seconds is None and (options.neutral is not None or options.mot):
        raise ValueError(f"--{'mot' if options.mot else 'neutral'}: {options.input} has no frame rate; needed --fps")
    people = dict(rows_of_people(result.person, result.frame))
    parts = {who: _of_person(options, result, rows, seconds) for who, rows in people.items()}
    first, rows = next(iter(parts.values())), np.concatenate(list(people.values()))
    of_frames = [name for name, one in first.items() if one.values.ndim > 1]
    every = [[part[n].quantiles(*_SHARES, factor=_factor(n, factors)) for n in of_frames] for part in parts.values()]
    bands = Bands(
        *(of_frames, [first[n].unit for n in of_frames], result.frame[rows], result.person[rows]),
        None if seconds is None else seconds[rows],
        np.concatenate([np.reshape(x, (len(of_frames), 5, -1)) for x in every], -1),
    )
    yield f"{len(result.mean)} poses of {len(people)} people; {NOT_DEFINED}"
    if any(one.values.ndim == 1 for part in parts.values() for one in part.values()):
        yield OVER_TIME
    options.out.mkdir(parents=True, exist_ok=True)
    yield f"wrote {write_bands(options.out / f'{name}.csv', bands)}"
    yield from _written_of_people(options, name, bands)
    entries = {str(who): _summary(part, factors) for who, part in parts.items()}
    summary: dict[str, Any] = {"num_poses": len(result.mean), "num_hypotheses": len(result.samples), "fps": fps}
    summary |= {"neutral": options.neutral, "calibrated": bool(factors), "not_defined": NOT_DEFINED}
    summary["quantities"] = {n: {"unit": u, "factor": _factor(n, factors)} for n, u in zip(*bands[:2], strict=True)}
    summary["people"] = entries
    yield from (f"person {who}: {_words(entry)}" for who, entry in entries.items())
    arrays: dict[str, Any] = {"quantities": np.array(bands.names), "units": np.array(bands.units)}
    values = bands.values
    arrays |= {"median": values[:, 0].T, "interval_50": values[:, 1:3], "interval_90": values[:, 3:]}
    arrays |= {"frame": bands.frame, "person": bands.person, "seconds": bands.seconds}
    return Outcome(None, clock.spent(), len(result.mean), arrays, summary)


def result_of(path: Path, out: Path) -> Generator[str, None, Path]:
    """The .npz of a result: the path itself, or what `jaxpose lift` makes of it by default, written to `out`."""
    if path.suffix == ".npz" and path.is_file() and {"samples", "covariance"} <= set(source_of(path).arrays):
        return path
    yield from lift(Lift(path, output=Output(out=out, no_pictures=True)))
    return out / f"{path.name if path.is_dir() else path.stem}.npz"


def _of_person(options: Measure, result: Result, rows: np.ndarray, seconds: np.ndarray | None) -> dict[str, Measured]:
    """Values by name: those of --quantities and --expr, and of clips where there are times."""
    frame = result.frame[rows]
    if seconds is not None and (np.diff(frame) == 0).any():
        twice = f"person {result.person[rows[0]]} is twice in frame {frame[1:][np.diff(frame) == 0][0]}"
        raise ValueError(f"{options.input}: {twice}; needed a number for each person (`jaxpose lift --track`)")
    names: tuple[str, ...] = options.quantities or USUAL
    names = measures.names() if names == ("all",) else names
    moving = seconds is not None and len(rows) > 2
    names = (*names, *options.expr, *(OF_CLIPS if moving and options.quantities is None else ()))
    times = None if seconds is None else seconds[rows]
    neutral = None
    if options.neutral is not None and times is not None:
        neutral = (times >= options.neutral[0]) & (times <= options.neutral[1])
        if not neutral.any():
            of = f"person {result.person[rows[0]]} is seen from {times[0]:g} to {times[-1]:g} s"
            raise ValueError(f"--neutral: got {options.neutral[0]:g} to {options.neutral[1]:g} s, and {of}")
    return measure_poses(result.samples[:, rows], *dict.fromkeys(names), seconds=times, neutral=neutral)


def _factor(name: str, factors: dict[str, float]) -> float:
    return factors.get(calibration.kind_of_joint(name), 1.0)


def _written_of_people(options: Measure, name: str, bands: Bands) -> Generator[str, None, None]:
    """Write the .mot and the .png of each person."""
    people = np.unique(bands.person)
    for who in people:
        rows, stem = bands.person == who, f"{name}_person{who}" if len(people) > 1 else name
        seconds = None if bands.seconds is None else bands.seconds[rows]
        part = Bands(bands.names, bands.units, bands.frame[rows], bands.person[rows], seconds, bands.values[..., rows])
        if options.mot:
            yield f"wrote {write_mot(options.out / f'{stem}.mot', part)}"
        if not options.no_pictures and bands.names:
            along, word = (part.frame, "frame") if seconds is None else (seconds, "s")
            panels = [viz.Panel(n, u, x, word) for n, u, x in zip(part.names, part.units, part.values, strict=True)]
            yield f"wrote {viz.bands_png(options.out / f'{stem}.png', along, panels, title=stem)}"


def _summary(part: dict[str, Measured], factors: dict[str, float]) -> dict[str, dict[str, Any]]:
    """Each quantity of a person: of frames the range of its median and the usual width, of clips the intervals."""
    entries: dict[str, dict[str, Any]] = {}
    for name, one in part.items():
        median, *ends = one.quantiles(*_SHARES, factor=_factor(name, factors))
        if one.values.ndim > 1:
            width = np.nanmedian(ends[3] - ends[2])
            values = {"lowest": np.nanmin(median), "highest": np.nanmax(median), "width_90": width}
            entries[name] = {"unit": one.unit} | {key: _number(x) for key, x in values.items()}
        else:
            known = [_number(x) for x in (median, *ends)]
            intervals = {"interval_50": known[1:3], "interval_90": known[3:]}
            entries[name] = {"unit": one.unit, "median": known[0]} | intervals
    return entries


def _number(x: Any) -> float | None:
    return round(float(x), 4) if np.isfinite(x) else None


def _words(entries: dict[str, dict[str, Any]]) -> str:
    """The quantities of a clip, else the first three of frames, in a line."""
    clips = {n: e for n, e in entries.items() if "median" in e and e["median"] is not None}
    if clips:
        one = [
            f"{n} {e['median']:.3g} ({e['interval_90'][0]:.3g} to {e['interval_90'][1]:.3g}) {e['unit']}"
            for n, e in clips.items()
        ]
        return "; ".join(one)
    few = [(n, e) for n, e in entries.items() if e.get("lowest") is not None][:3]
    one = [f"{n} {e['lowest']:.3g} to {e['highest']:.3g} {e['unit']}, 90 % within {e['width_90']:.3g}" for n, e in few]
    return "; ".join(one) or "no quantity is defined"
