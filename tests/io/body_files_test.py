"""Files of body models: written here as the real tools do, read without chumpy, refused where wrong."""

import os
import pickle
import sys
import types

import jax.numpy as jnp
import numpy as np
import pytest
from body_tables import kintree, random_tables
from shared import refuses

from jaxpose.io.anny_body import anny_body
from jaxpose.io.body_files import _SMPL_PICKS, load_body, save_body

SPARSE = pytest.importorskip("scipy.sparse")


class _Ch:
    """What chumpy.ch.Ch pickles as: its dict without the weak references, a set among it."""

    def __init__(self, x):
        self.x = x
        self._dirty_vars = set()
        self._itr = None

    def __getstate__(self):
        return dict(self.__dict__)


_Ch.__name__ = _Ch.__qualname__ = "Ch"
_Ch.__module__ = "chumpy.ch"


def pickled(tree, path, chumpy=()):
    """`tree` as Python 2 wrote it: protocol 2, modules of old names, chumpy arrays for the keys `chumpy`."""
    package, module = types.ModuleType("chumpy"), types.ModuleType("chumpy.ch")
    module.Ch = _Ch
    sys.modules |= {"chumpy": package, "chumpy.ch": module}
    try:
        data = pickle.dumps({k: _Ch(v) if k in chumpy else v for k, v in tree.items()}, protocol=2)
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    old = data.replace(b"cscipy.sparse._csc\n", b"cscipy.sparse.csc\n")
    path.write_bytes(old.replace(b"cnumpy._core.", b"cnumpy.core."))
    return path


def smpl_tree(tables):
    """A basicModel_*.pkl of v1.0."""
    tree = {key: value.astype(np.float64) if key != "f" else value for key, value in tables.items()}
    return tree | {
        "J_regressor": SPARSE.csc_matrix(tables["J_regressor"]),
        "J_regressor_prior": SPARSE.csr_matrix(tables["J_regressor"]),
        "kintree_table": kintree("smpl"),
        "J": np.zeros((24, 3)),
        "bs_style": "lbs",
        "bs_type": "lrotmin",
        "vert_sym_idxs": np.arange(60),
    }


def smplx_arrays(tables):
    """A SMPLX_*.npz: objects beside the tables."""
    rng = np.random.default_rng(5)
    num_faces = len(tables["f"])
    bary = rng.random((51, 3)), rng.random((79, 17, 3))
    return tables | {
        "kintree_table": kintree("smplx"),
        **{f"hands_mean{s}": rng.normal(0, 0.2, 45) for s in "lr"},
        **{f"hands_components{s}": rng.normal(size=(45, 45)) for s in "lr"},
        **{f"hands_coeffs{s}": rng.normal(size=(7, 45)) for s in "lr"},
        "lmk_faces_idx": rng.integers(0, num_faces, 51).astype(np.uint32),
        "lmk_bary_coords": bary[0] / bary[0].sum(-1, keepdims=True),
        "dynamic_lmk_faces_idx": rng.integers(0, num_faces, (79, 17)),
        "dynamic_lmk_bary_coords": bary[1] / bary[1].sum(-1, keepdims=True),
        "joint2num": np.array({"Pelvis": 0}, dtype=object),
        "part2num": np.array({"global": 0}, dtype=object),
        "allow_pickle": np.array(True),
    }


def agrees(body, tables, num_shape):
    """Whether a loaded body has the tables of a file; geometry/body_test.py shows that it skins as these say."""
    wanted = {
        "v_template": tables["v_template"],
        "shapedirs": tables["shapedirs"][..., :num_shape],
        "exprdirs": tables["shapedirs"][..., num_shape:],
        "posedirs": tables["posedirs"].transpose(2, 1, 0),
        "J_regressor": tables["J_regressor"],
        "weights": tables["weights"],
        "joint_template": tables["J_regressor"] @ tables["v_template"],
    }
    for name, table in wanted.items():
        np.testing.assert_allclose(getattr(body, name), table, rtol=1e-5, atol=1e-6, err_msg=name)
    np.testing.assert_array_equal(body.faces, tables["f"])


@pytest.mark.parametrize("protocol_chumpy", [("v_template", "shapedirs", "posedirs", "weights"), ()])
def test_smpl_pickles_are_read(tmp_path, protocol_chumpy):
    """v1.0 with chumpy arrays, v1.1 without and with 300 directions."""
    tables = random_tables("smpl", num_betas=10 if protocol_chumpy else 300)
    path = pickled(smpl_tree(tables), tmp_path / "model.pkl", protocol_chumpy)
    body = load_body(path)
    assert (body.kind, body.shapedirs.shape[-1]) == ("smpl", tables["shapedirs"].shape[-1])
    agrees(body, tables, tables["shapedirs"].shape[-1])
    assert body.picks.shape == (0,)


def test_smplh_files_are_read(tmp_path):
    """AMASS' model.npz has 16 directions and no hands; MANO's release has them, in a pickle of sparse matrices."""
    tables = random_tables("smplh", num_betas=16)
    np.savez(tmp_path / "model.npz", **tables, kintree_table=kintree("smplh"))
    body = load_body(tmp_path / "model.npz")
    agrees(body, tables, 16)
    assert body.shapedirs.shape[-1] == 16
    assert not body.hands_mean.any()
    mean = {f"hands_mean{s}": np.random.default_rng(i).normal(size=45) for i, s in enumerate("lr")}
    more = {f"hands_components{s}": np.eye(45)[::-1] for s in "lr"} | mean
    sparse = SPARSE.csc_matrix(tables["J_regressor"])
    tree = tables | more | {"J_regressor": sparse, "kintree_table": kintree("smplh")}
    body = load_body(pickled(tree, tmp_path / "SMPLH_male.pkl", ("shapedirs",)))
    agrees(body, tables, 16)
    np.testing.assert_allclose(body.hands_mean[15:], mean["hands_meanr"].reshape(15, 3), rtol=1e-6)
    np.testing.assert_array_equal(body.hands_components[0], np.eye(45)[::-1])


@pytest.mark.parametrize(("total", "num_shape"), [(400, 300), (20, 10)])
def test_smplx_archives_are_read(tmp_path, total, num_shape):
    """v1.1 and v1.0: where the expression begins; members that hold objects are passed over."""
    tables = random_tables("smplx", num_betas=total)
    np.savez(tmp_path / "SMPLX_NEUTRAL.npz", **smplx_arrays(tables))
    body = load_body(tmp_path / "SMPLX_NEUTRAL.npz")
    assert body.shapedirs.shape[-1] == num_shape
    assert body.exprdirs.shape[-1] == total - num_shape
    agrees(body, tables, num_shape)
    landmarks, arrays = body.landmarks, smplx_arrays(tables)
    for faces, triangles in (
        (arrays["lmk_faces_idx"], landmarks.triangles),
        (arrays["dynamic_lmk_faces_idx"], landmarks.contour_triangles),
    ):
        np.testing.assert_array_equal(landmarks.vertices[triangles], tables["f"][faces])
    save_body(tmp_path / "again.npz", body)
    again = load_body(tmp_path / "again.npz").landmarks
    np.testing.assert_array_equal(again.contour_triangles, landmarks.contour_triangles)


def test_official_picks_belong_to_official_meshes(tmp_path):
    """6890 vertices: SMPL's own picked vertices."""
    tables = random_tables("smpl", num_vertices=6890, num_betas=2)
    np.savez(tmp_path / "m.npz", **tables, kintree_table=kintree("smpl"))
    body = load_body(tmp_path / "m.npz")
    np.testing.assert_array_equal(body.picks, _SMPL_PICKS)
    assert _SMPL_PICKS[0] == 332
    assert _SMPL_PICKS[-1] == 6133


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_a_saved_body_returns(tmp_path, kind):
    body = anny_body(kind)
    save_body(tmp_path / "body.npz", body)
    again = load_body(tmp_path / "body.npz")
    assert again.kind == kind
    assert again.parents == body.parents
    num = body.shapedirs.shape[-1]  # SMPL-X's files have 300 and 100 directions, where 10 and 10 are too few
    np.testing.assert_array_equal(again.shapedirs[..., :num], body.shapedirs)
    assert not np.any(again.shapedirs[..., num:])
    assert not np.any(again.exprdirs)
    for name in ("v_template", "posedirs", "weights", "faces", "picks", "hands_mean"):
        np.testing.assert_array_equal(getattr(again, name), getattr(body, name), err_msg=name)
    np.testing.assert_allclose(again.joint_shapedirs[..., :num], body.joint_shapedirs, atol=1e-6)


def test_saved_files_have_the_official_layout(tmp_path):
    """Keys and types that the loaders of SMPL-X name; the root's parent is 2^32 - 1."""
    save_body(tmp_path / "x.npz", anny_body("smplx"))
    with np.load(tmp_path / "x.npz", allow_pickle=False) as arrays:
        tables = {key: arrays[key] for key in arrays.files}
    num = len(tables["v_template"])
    assert tables["f"].dtype == tables["kintree_table"].dtype == np.uint32
    np.testing.assert_array_equal(tables["kintree_table"], kintree("smplx"))
    assert tables["shapedirs"].shape == (num, 3, 400)
    assert tables["posedirs"].shape == (num, 3, 486)
    assert tables["hands_meanl"].shape == (45,)
    assert tables["hands_componentsr"].shape == (45, 45)
    refuses("path: needed a name that ends", save_body, tmp_path / "x.pkl", anny_body("smplx"))


def _change(key, value):
    return lambda t: t | {key: value(t[key])}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "weights"}, "weights: found no such key"),
        (_change("kintree_table", lambda x: x[:, :20]), r"kintree_table: found \(2, 20\); must be .* 24"),
        (_change("v_template", lambda x: x[:-1]), r"shapedirs is \[60, 3, 10\]; needed \[59, 3, any\]"),
        (_change("weights", lambda x: x * 1.1), "weights: found a sum of 1.1 in row"),
        (_change("f", lambda x: x + 30), r"f: found indices .*; must be indices in 0\.\.59"),
        (_change("posedirs", lambda x: np.where(x > 0.03, np.nan, x)), "posedirs has nan; needed finite"),
        (lambda t: t | {"jaxpose_picks": np.arange(3)}, r"jaxpose_picks is \[3\]; needed"),
    ],
)
def test_tables_that_contradict_each_other_are_named(tmp_path, change, message):
    tables = random_tables("smpl") | {"kintree_table": kintree("smpl")}
    np.savez(tmp_path / "bad.npz", **change(tables))
    with pytest.raises(ValueError, match=message) as caught:
        load_body(tmp_path / "bad.npz")
    assert "bad.npz" in str(caught.value)


class _Evil:
    def __init__(self, folder):
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_damaged_and_hostile_files_are_refused(tmp_path):
    tree = smpl_tree(random_tables("smpl"))
    pickled(tree | {"bs_style": _Evil(tmp_path / "was_run")}, tmp_path / "evil.pkl")
    refuses(r"evil.pkl: .*mkdir.*not allowed", load_body, tmp_path / "evil.pkl")
    assert not (tmp_path / "was_run").exists()
    sparse = SPARSE.csc_matrix(tree["J_regressor"])
    sparse.indices = sparse.indices + 24
    pickled(tree | {"J_regressor": sparse}, tmp_path / "sparse.pkl")
    refuses(r"sparse.pkl: .*indices must be < 24", load_body, tmp_path / "sparse.pkl")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and no more")
    for name, fault in (("cut.npz", "cut.npz: "), ("none.pkl", "none.pkl: no such file")):
        refuses(fault, load_body, tmp_path / name)
    np.savez(tmp_path / "o.npz", **random_tables("smpl"), kintree_table=np.array({}, dtype=object))
    refuses(r"o.npz: .*Object arrays", load_body, tmp_path / "o.npz")
    assert jnp.isfinite(load_body(pickled(tree, tmp_path / "ok.pkl")).weights).all()
