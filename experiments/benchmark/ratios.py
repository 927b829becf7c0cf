"""The file of last ratios: what got slower, and the tables of docs/benchmarks.md.

Only ratios of one run are kept, by device: a share of the matrix-product rate, a speed-up. Seconds of another machine,
or of this one on another day, say nothing about the code.

    {"<device>": {"jax": ..., "commit": ..., "ratios": {"<case>": {"<setting>": {"<figure>": {"value", "better"}}}}}}
"""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmark.timing import Row
from jaxpose.files import atomic, write_json

BETTER = ("higher", "lower")
Ratios = dict[str, dict[str, dict[str, dict[str, Any]]]]  # case -> setting -> figure -> value and better


class Verdict(NamedTuple):
    """One ratio beside the one on record. change: above 1 is better; nan where one of the two is not there."""

    case: str
    name: str
    before: float
    now: float
    change: float

    def worse(self, tolerance: float) -> bool:
        """Whether it fell by more than the tolerance, a share."""
        return self.change < 1 - tolerance


def line_of(row: Row, **about: str) -> str:
    """A row as a line of JSON."""
    return json.dumps({**about, **row._asdict()})


def rows_of(output: str) -> list[Row]:
    """The rows of such lines; all other lines are passed over."""
    entries = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [
        Row(row["case"], row["setting"], row["figures"], tuple(row["higher"]), tuple(row["lower"])) for row in entries
    ]


def ratios_of(rows: Sequence[Row]) -> Ratios:
    """The ratios that rows name; ValueError for a row that names a figure it does not have or that is not positive."""
    ratios: Ratios = {}
    for row in rows:
        for better, names in zip(BETTER, (row.higher, row.lower), strict=True):
            for name in names:
                value = row.figures.get(name, math.nan)
                if not (math.isfinite(value) and value > 0):
                    raise ValueError(f"{row.case}: ratio {name!r} of {row.setting!r} is {value}, needed a number > 0")
                place = ratios.setdefault(row.case, {}).setdefault(row.setting, {})
                place[name] = {"value": round(value, 4), "better": better}
    return ratios


def compare(recorded: Ratios, now: Ratios, cases: Sequence[str]) -> list[Verdict]:
    """Every ratio of `cases` that is in either, recorded ones first."""
    verdicts = []
    before, after = ({k: v for k, v in _flat(r).items() if k[0] in cases} for r in (recorded, now))
    for place in [*before, *(p for p in after if p not in before)]:
        old, new = (r[place]["value"] if place in r else math.nan for r in (before, after))
        better = (before.get(place) or after[place])["better"]
        change = new / old if better == "higher" else old / new
        verdicts.append(Verdict(place[0], " ".join(filter(None, place)), old, new, change))
    return verdicts


def better_of(one: Ratios, other: Ratios) -> Ratios:
    """The ratios of `one`, each replaced by the other measurement of it where that is better."""
    flat = _flat(other)

    def best(place: tuple[str, str, str], ratio: dict[str, Any]) -> dict[str, Any]:
        choose = max if ratio["better"] == "higher" else min
        return choose(ratio, flat.get(place, ratio), key=lambda r: r["value"])

    return {
        case: {
            setting: {name: best((case, setting, name), ratio) for name, ratio in figures.items()}
            for setting, figures in settings.items()
        }
        for case, settings in one.items()
    }


def say(verdicts: Sequence[Verdict], tolerance: float) -> bool:
    """Print a line for each verdict; whether none is worse."""
    for v in verdicts:
        if math.isnan(v.now):
            print(f"missing: {v.name}, {v.before:.4g} on record")
        elif math.isnan(v.before):
            print(f"new: {v.name}, {v.now:.4g}")
        else:
            word = "SLOWER" if v.worse(tolerance) else "better" if v.change > 1 + tolerance else "same"
            print(f"{word}: {v.name}, {v.before:.4g} on record, {v.now:.4g} now ({100 * (v.change - 1):+.0f} %)")
    slower = [v.name for v in verdicts if v.worse(tolerance)]
    print(f"{len(slower)} of {len(verdicts)} ratios worse by more than {100 * tolerance:.0f} %")
    return not slower


def read(path: Path) -> dict[str, Any]:
    """The file of all devices, {} where there is none; ValueError naming the file and what is wrong in it."""
    if not path.is_file():
        return {}
    try:
        devices = json.loads(path.read_text(encoding="utf-8"))
        for entry in devices.values():
            for place, ratio in _flat(entry["ratios"]).items():
                if not (float(ratio["value"]) > 0 and ratio["better"] in BETTER):
                    raise ValueError(f"{place} is {ratio}, must be a value > 0, better one of {BETTER}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not a file of ratios ({error!r})") from error
    return devices


def record(path: Path, device: str, now: Ratios, **about: str) -> None:
    """Write the ratios of the cases in `now` for a device; those of other cases and devices stay."""
    devices = read(path)
    kept = devices.get(device, {"ratios": {}})["ratios"]
    devices[device] = {**about, "ratios": {**kept, **now}}
    write_json(path, devices)


def table(rows: Sequence[Row]) -> str:
    """Rows of one case as Markdown: figures downwards for a single row, else a line for each setting."""
    if len(rows) == 1:
        lines = ["| | |", "| --- | --- |"]
        return "\n".join(lines + [f"| {k} | {_shown(v)} |" for k, v in rows[0].figures.items()])
    names = list(dict.fromkeys(name for row in rows for name in row.figures))
    lines = ["| | " + " | ".join(names) + " |", "| --- " * (len(names) + 1) + "|"]
    cells = [[_shown(row.figures[n]) if n in row.figures else "" for n in names] for row in rows]
    return "\n".join(lines + [f"| {row.setting} | " + " | ".join(c) + " |" for row, c in zip(rows, cells, strict=True)])


def document(path: Path, about: str, tables: dict[str, str]) -> None:
    """Put tables between the marks `<!-- table: CASE -->` and `<!-- end -->` of a page; nothing else of it changes.

    ValueError where the page or the mark of a case is not there.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    text = path.read_text(encoding="utf-8")
    for case, lines in tables.items():
        mark = re.compile(rf"(<!-- table: {re.escape(case)} -->\n).*?(<!-- end -->)", re.DOTALL)
        block = f"{about}\n\n{lines}\n\n"
        parts = mark.split(text)
        if len(parts) != 4:
            raise ValueError(
                f"{path}: needed one '<!-- table: {case} -->' with its '<!-- end -->', found {(len(parts) - 1) // 3}"
            )
        text = "".join((*parts[:2], block, *parts[2:]))
    with atomic(path) as file:
        file.write(text.encode())


def _flat(ratios: Ratios) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {
        (case, setting, figure): ratio
        for case, settings in ratios.items()
        for setting, figures in settings.items()
        for figure, ratio in figures.items()
    }


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
