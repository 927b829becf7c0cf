"""Files of body models: SMPL (.pkl of v1.0 and v1.1, .npz), SMPL-H (.npz of AMASS, .pkl of MANO), SMPL-X (.npz, .pkl).

    v_template [V, 3]   f [F, 3]   shapedirs [V, 3, L]   posedirs [V, 3, 9(J-1)]   J_regressor [J, V]   weights [V, J]
    kintree_table [2, J], row 0 the parents, the root's 2^32 - 1; J determines the kind: 24, 52, 55
    of SMPL-X, L = 400 are 300 of shape and 100 of expression, fewer are 10 of shape and the rest of expression
    hands_meanl, hands_meanr [45], hands_componentsl, hands_componentsr [45, 45], where the body has fingers
    lmk_faces_idx [51], lmk_bary_coords [51, 3], dynamic_lmk_faces_idx [79, 17], dynamic_lmk_bary_coords [79, 17, 3]

The pickles are of Python 2 and contain arrays of chumpy and matrices of scipy.sparse. They are read by the restricted
unpickler, without chumpy; objects of other kinds are skipped. The additional key `jaxpose_picks` holds the vertices of
nose, eyes, ears, toes, heels and finger tips where V is not the official 6890 or 10475, whose picks are known.
Source: spec/dposer.md, 8.3 and 8.4.
"""

import pickle
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from jaxpose.files import FilePath, write_npz
from jaxpose.geometry.body import PARENTS, Body, Kind, make_body, make_landmarks
from jaxpose.geometry.body_joints import PICKED
from jaxpose.io.arrays import Source, as_finite, as_int, source_of
from jaxpose.io.untrusted.machine import Machine, Names
from jaxpose.io.untrusted.unpickle import BUILTINS, WITH_OBJECTS, Opaque, _Array
from jaxpose.reading import opened, reader, shown

_TABLES = ("v_template", "f", "shapedirs", "posedirs", "J_regressor", "weights", "kintree_table")
_HANDS = {"hands_meanl": (45,), "hands_meanr": (45,), "hands_componentsl": (45, 45), "hands_componentsr": (45, 45)}
_FACE = {
    **{"lmk_faces_idx": (51,), "lmk_bary_coords": (51, 3)},
    **{"dynamic_lmk_faces_idx": (79, 17), "dynamic_lmk_bary_coords": (79, 17, 3)},
}
_PICKS = "jaxpose_picks"
_WANTED = (*_TABLES, *_HANDS, *_FACE, _PICKS)
_SUM_TOLERANCE = 1e-3  # of a row's sum; the published tables are float32 or rounded
_MOST_ENTRIES = 10_000_000  # of a sparse matrix
_SMPL_PICKS = (
    *(332, 6260, 2800, 4071, 583, 3216, 3226, 3387, 6617, 6624, 6787),
    *(2746, 2319, 2445, 2556, 2673, 6191, 5782, 5905, 6016, 6133),
)
_SMPLX_PICKS = (
    *(9120, 9929, 9448, 616, 6, 5770, 5780, 8846, 8463, 8474, 8635),
    *(5361, 4933, 5058, 5169, 5286, 8079, 7669, 7794, 7905, 8022),
)


@reader("file of a body model")
def load_body(path: FilePath) -> Body:
    """The body of a published file or one of `save_body`, .npz or .pkl; ValueError names file, key and what is needed.

    All shape directions are kept; `Body.shape` accepts fewer betas, at the cost of all.
    """
    if str(path).endswith(".npz"):
        arrays = source_of(path).arrays  # members of other names hold objects (joint2num, part2num), and are not opened
        tables = {key: arrays[key] for key in arrays if key in _WANTED}
    else:
        tables = _read_pickle(path)
    kind = _kind_of(path, tables)
    _check(path, kind, tables)
    num_shape = tables["shapedirs"].shape[-1]
    if kind == "smplx":
        num_shape = 300 if num_shape >= 400 else min(10, num_shape)
    return make_body(
        kind,
        shapedirs=tables["shapedirs"][..., :num_shape],
        exprdirs=tables["shapedirs"][..., num_shape:],
        faces=tables["f"].astype(np.int64),
        **{key: tables[key] for key in ("v_template", "posedirs", "J_regressor", "weights")},  # type: ignore[arg-type]
        **_parts(path, kind, tables),
    )


def holds_body(source: Source) -> bool:
    """Whether a file is one of a body model: a pickle, or an .npz with its tables."""
    if source.suffix != ".npz":
        return source.suffix == ".pkl"
    return {"v_template", "kintree_table"} <= set(source.arrays)


def save_body(path: FilePath, body: Body) -> None:
    """Write a body as .npz in the official keys and types, which `load_body` and other loaders read.

    SMPL-X has 10 + 10 or 300 + 100 directions there: missing ones are filled with zeros.
    """
    if not str(path).endswith(".npz"):
        raise ValueError(f"path: needed a name that ends in .npz, got {path}")
    parents = np.array([body.parents, range(len(body.parents))], np.int64)
    shapedirs = np.asarray(body.shapedirs)
    if body.kind == "smplx":  # the expression after the shape, where readers expect it
        parts = shapedirs, np.asarray(body.exprdirs)
        sizes = (10, 10) if max(p.shape[-1] for p in parts) <= 10 else (300, 100)
        padded = [np.pad(p, ((0, 0), (0, 0), (0, n - p.shape[-1]))) for p, n in zip(parts, sizes, strict=True)]
        shapedirs = np.concatenate(padded, -1)
    arrays = {
        "v_template": body.v_template,
        "f": np.asarray(body.faces).astype(np.uint32),
        "shapedirs": shapedirs,
        "posedirs": np.transpose(np.asarray(body.posedirs), (2, 1, 0)),
        "J_regressor": body.J_regressor,
        "weights": body.weights,
        "kintree_table": parents.astype(np.uint32),  # -1 becomes 2^32 - 1
        "J": body.joint_template,
    }
    if body.kind != "smpl":
        mean = np.asarray(body.hands_mean).reshape(2, 45)
        arrays |= dict(zip(_HANDS, (*mean, *np.asarray(body.hands_components)), strict=True))
    if body.landmarks is not None:
        of = body.landmarks
        arrays |= dict(zip(_FACE, (of.faces, of.bary, of.contour_faces, of.contour_bary), strict=True))
    if body.picks.shape[0]:
        arrays[_PICKS] = body.picks
    write_npz(path, {key: np.asarray(value) for key, value in arrays.items()})


class _Chumpy:
    """chumpy.ch.Ch during unpickling: the array is its state's "x"."""

    def __setstate__(self, state: Any) -> None:
        self.x = state.get("x") if isinstance(state, dict) else None


class _Sparse:
    """A scipy csc or csr matrix during unpickling: the state's shape, data, indices and indptr."""

    form = "csc"

    def __setstate__(self, state: Any) -> None:
        self.state = state if isinstance(state, dict) else {}


class _SparseRows(_Sparse):
    form = "csr"


_MADE = (_Chumpy, _Sparse, _SparseRows)
_NAMES: Names = {
    **WITH_OBJECTS,  # which are skipped
    **{(f"chumpy.{module}", "Ch"): _Chumpy for module in ("ch", "reordering")},
    ("chumpy", "Ch"): _Chumpy,
    **{
        (f"scipy.sparse.{prefix}{stand_in.form}", f"{stand_in.form}_{kind}"): stand_in
        for stand_in in (_Sparse, _SparseRows)
        for prefix in ("", "_")
        for kind in ("matrix", "array")
    },
    # with which protocols 0 and 1 make an object of a class
    **dict.fromkeys(
        (("copy_reg", "_reconstructor"), ("copyreg", "_reconstructor")),
        lambda kind, *_: (kind if kind in _MADE else Opaque)(),
    ),
    **{(builtins, name): Opaque for builtins in BUILTINS for name in ("object", "set")},  # of chumpy's state
}


def _read_pickle(path: FilePath) -> dict[str, np.ndarray]:
    with opened(path, "pickle") as file:
        tree = Machine(file, _NAMES).load()
        if not isinstance(tree, dict):
            raise pickle.UnpicklingError(f"it holds a {type(tree).__name__}; needed a dict of tables")
        tables = {key: _dense(key, tree[key]) for key in _WANTED if key in tree}
    return tables


def _dense(key: str, value: Any) -> np.ndarray:
    """The numpy array of a chumpy array, a sparse matrix or an array."""
    if isinstance(value, _Chumpy):
        return _dense(key, value.x)
    if isinstance(value, _Sparse):
        return _dense_matrix(key, value)
    array = value.value if isinstance(value, _Array) else value
    if not isinstance(array, np.ndarray):
        raise pickle.UnpicklingError(f"{key}: no array of numbers")
    return array


def _dense_matrix(key: str, matrix: _Sparse) -> np.ndarray:
    from scipy import sparse

    shape = matrix.state.get("_shape", matrix.state.get("shape"))
    if not isinstance(shape, tuple) or len(shape) != 2 or not 0 < shape[0] * shape[1] <= _MOST_ENTRIES:
        raise pickle.UnpicklingError(f"{key}: a sparse matrix of shape {shown(shape)}")
    parts = tuple(_dense(key, matrix.state.get(name)) for name in ("data", "indices", "indptr"))
    whole = sparse.csc_matrix(parts, shape) if matrix.form == "csc" else sparse.csr_matrix(parts, shape)
    whole.check_format(full_check=True)  # of the indices, whose faults would be written outside of memory
    return whole.toarray()


def _fault(path: Any, key: str, actual: Any, legal: str) -> ValueError:
    return ValueError(f"{path}, {key}: found {actual}; must be {legal}")


def _kind_of(path: Any, tables: Mapping[str, np.ndarray]) -> Kind:
    for key in _TABLES:
        if key not in tables:
            raise _fault(path, key, "no such key", f"a file with {', '.join(_TABLES)}")
    shape = tables["kintree_table"].shape
    kinds = {len(parents): kind for kind, parents in PARENTS.items()}
    if len(shape) != 2 or shape[0] != 2 or shape[1] not in kinds:
        raise _fault(path, "kintree_table", shape, "(2, J) with J 24 (SMPL), 52 (SMPL-H) or 55 (SMPL-X)")
    return cast(Kind, kinds[shape[1]])


def _check(path: Any, kind: Kind, tables: Mapping[str, np.ndarray]) -> None:
    joints, num = len(PARENTS[kind]), tables["v_template"].shape[0] if tables["v_template"].ndim else 0
    shapes: dict[str, tuple[int | None, ...]] = {
        **{"v_template": (num, 3), "f": (None, 3), "shapedirs": (num, 3, None)},
        **{"posedirs": (num, 3, 9 * (joints - 1)), "J_regressor": (joints, num), "weights": (num, joints)},
    }
    for key, shape in shapes.items():
        as_finite(path, key, tables[key], shape)
    parents = as_int(path, "kintree_table", tables["kintree_table"], (2, joints))[0].tolist()
    parents[0] = -1 if parents[0] in (-1, 2**32 - 1) else parents[0]
    if tuple(parents) != PARENTS[kind]:
        wrong = next(j for j in range(joints) if parents[j] != PARENTS[kind][j])
        raise _fault(path, "kintree_table", f"parent {parents[wrong]} of joint {wrong}", f"{PARENTS[kind][wrong]}")
    _check_ids(path, "f", tables["f"], num)
    for key in ("weights", "J_regressor"):
        sums = tables[key].sum(1)
        worst = int(abs(sums - 1).argmax())
        if abs(sums[worst] - 1) > _SUM_TOLERANCE:
            raise _fault(path, key, f"a sum of {sums[worst]:.4g} in row {worst}", "rows that sum to 1")


def _check_ids(path: Any, key: str, ids: np.ndarray, num: int) -> None:
    as_int(path, key, ids)
    if not ids.size or ids.min() < 0 or ids.max() >= num:
        actual = f"indices {ids.min()}..{ids.max()}" if ids.size else "none"
        raise _fault(path, key, actual, f"indices in 0..{num - 1}")


def _all_or_none(path: Any, what: str, tables: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> bool:
    """Whether the file has the tables of `shapes`; ValueError where it has some, or where their shapes differ."""
    present = [key for key in shapes if key in tables]
    if present and len(present) != len(shapes):
        raise _fault(path, what, ", ".join(present), f"all or none of {', '.join(shapes)}")
    for key in present:
        as_finite(path, key, tables[key], shapes[key])
    return bool(present)


def _parts(path: Any, kind: Kind, tables: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Hands, landmarks and picks, where the file has them."""
    parts: dict[str, Any] = {}
    if kind != "smpl" and _all_or_none(path, "hands", tables, _HANDS):
        left, right, *components = (tables[key] for key in _HANDS)
        parts |= {"hands_mean": np.reshape([left, right], (30, 3)), "hands_components": np.stack(components)}
    if kind == "smplx" and _all_or_none(path, "landmarks", tables, _FACE):
        for key in ("lmk_faces_idx", "dynamic_lmk_faces_idx"):
            _check_ids(path, key, tables[key], len(tables["f"]))
        parts["landmarks"] = make_landmarks(tables["f"].astype(np.int64), *(tables[key] for key in _FACE))
    num = len(tables["v_template"])
    if _PICKS in tables:
        as_finite(path, _PICKS, tables[_PICKS], (len(PICKED),))
        _check_ids(path, _PICKS, tables[_PICKS], num)
        return parts | {"picks": tables[_PICKS]}
    official, picks = (10475, _SMPLX_PICKS) if kind == "smplx" else (6890, _SMPL_PICKS)
    return parts | ({"picks": np.array(picks)} if num == official else {})
