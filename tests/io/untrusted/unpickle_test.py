"""Pickles: what numpy itself wrote is read back equal, and what a stranger wrote never runs."""

import os
import pickle
import struct
from collections import OrderedDict

import numpy as np
import pytest
from shared import refuses

from jaxpose.io.untrusted.unpickle import load_pickle

RNG = np.random.default_rng(0)
TREE = {
    "float": RNG.normal(size=(3, 2)).astype(np.float32),
    "Fortran": np.asfortranarray(RNG.normal(size=(3, 4))),
    "permuted": RNG.normal(size=(2, 3, 4)).transpose(1, 2, 0),
    "strided": np.arange(20)[::3],
    "big endian": np.arange(5, dtype=">i4"),
    "half": np.float16([0.1, -2]),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "text": np.array([["ä", "bc"], ["", "日本"]]),
    "big-endian text": np.array(["ab", "日"], dtype=">U2"),
    "bytes": np.array([b"a", b"bcd"]),
    "empty": np.zeros((0, 3), np.float32),
    "no axes": np.array(2.5),
    "scalars": [np.float64(0.1), np.int64(-3), np.bool_(True), np.str_("ä"), np.str_(""), np.bytes_(b"x")],
    "plain": OrderedDict(a=(1, 2.5, None, True, "ä", b"\xff", 2**100), b=[[], {}, (), b"", ""]),
}


def write(path, data):
    path.write_bytes(data)
    return path


def assert_equal(found, wanted):
    if isinstance(wanted, dict):
        assert list(found) == list(wanted)
        for key in wanted:
            assert_equal(found[key], wanted[key])
    elif isinstance(wanted, list | tuple):
        assert type(found) is type(wanted)
        assert len(found) == len(wanted)
        for pair in zip(found, wanted, strict=True):
            assert_equal(*pair)
    else:
        assert type(found) is type(wanted)
        np.testing.assert_array_equal(found, wanted)
        if isinstance(wanted, np.ndarray | np.generic):
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_numpy_writes_is_read_back(tmp_path, protocol):
    assert_equal(load_pickle(write(tmp_path / "a.pkl", pickle.dumps(TREE, protocol))), TREE)


def test_what_python_2_wrote_is_read(tmp_path):
    """{'x': array([[1, 2]], '<f4')} by numpy 1.16 in Python 2.7, protocol 2: byte strings are BINSTRINGs there."""
    raw = np.array([[1.0, 200.5]], "<f4").tobytes()
    data = (
        b"\x80\x02}U\x01xcnumpy.core.multiarray\n_reconstruct\nq\x01cnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x01K\x02\x86cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U" + bytes([len(raw)]) + raw + b"tbs."
    )
    wanted = pickle.loads(data, encoding="latin1")  # numpy's own reading of these bytes
    assert_equal(load_pickle(write(tmp_path / "a.pkl", data)), wanted)


def test_shared_parts_stay_shared_and_cost_nothing(tmp_path):
    """Sixty lists, each naming the one before twice: 2^60 paths."""
    tree = [0]
    for _ in range(60):
        tree = [tree, tree]
    found = load_pickle(write(tmp_path / "a.pkl", pickle.dumps(tree)))
    assert found[0] is found[1]


class Reduce:
    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return self.parts


def touch(path):
    return (os.system, (f"touch {path}",))


def text_pickle(module, name, argument):
    """A call in protocol 0, of something that may not be picklable."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("os", "system"),
        ("builtins", "eval"),
        ("builtins", "__import__"),
        ("subprocess", "check_output"),
        ("numpy.core.multiarray", "fromfile"),
        ("numpy._core.multiarray", "_reconstruct.__globals__"),
        ("collections", "OrderedDict.fromkeys"),
        ("jaxpose.io.untrusted.unpickle", "load_pickle"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 4])
def test_names_outside_the_table_are_refused(tmp_path, module, name, protocol):
    run = f"__import__('os').system('touch {tmp_path / 'ran'}')" if module != "os" else f"touch {tmp_path / 'ran'}"
    data = text_pickle(module, name, run)
    if protocol == 4:  # STACK_GLOBAL follows dots in a name
        strings = [b"\x8c" + bytes([len(s)]) + s.encode() for s in (module, name)]
        data = b"\x80\x04" + b"".join(strings) + b"\x93" + b"(V" + run.encode() + b"\ntR."
    path = write(tmp_path / "evil.pkl", data)
    refuses(r"evil.pkl: not a readable pickle .*which is not allowed", load_pickle, path)
    assert [p.name for p in tmp_path.iterdir()] == ["evil.pkl"]


def test_a_call_inside_what_is_allowed_is_refused(tmp_path):
    """A getattr chain, and a call among the arguments and the state of an array."""
    evil = Reduce(*touch(tmp_path / "ran"))
    array_type = np._core.multiarray._reconstruct
    chain = Reduce(getattr, (Reduce(getattr, (np.array, "__self__")), "fromfile"))
    for value in (chain, {"a": [evil]}, Reduce(OrderedDict, ([(1, evil)],)), Reduce(array_type, (evil, (0,), b"b"))):
        path = write(tmp_path / "evil.pkl", pickle.dumps(value))
        refuses(r"evil.pkl: .*not allowed", load_pickle, path)
    assert not (tmp_path / "ran").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
DTYPE = b"cnumpy\ndtype\n(V%b\nI0\nI1\ntR(I3\nV<\nNNNI-1\nI-1\nI0\ntb"


def array(shape, code=b"f4", raw=b"VAAAA\n"):
    numbers = b"".join(b"I%d\n" % n for n in shape)
    return ARRAY + b"(I1\n(" + numbers + b"t" + DTYPE % code + b"I00\n" + raw + b"tb."


def test_the_parts_of_the_hostile_arrays_make_a_sound_one(tmp_path):
    found = load_pickle(write(tmp_path / "a.pkl", array((1,))))
    assert_equal(found, np.frombuffer(b"AAAA", "<f4"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "ends early"),
        (b"no pickle", "not a readable"),
        (pickle.dumps(np.array([{}, None])), r"arrays of 'O8' are not read"),
        (pickle.dumps(np.zeros(2, [("a", "f4")])), r"arrays of 'V4' are not read"),
        (pickle.dumps(np.array(["2020"], "M8[D]")), r"arrays of 'M8' are not read"),
        (array((1,), b"f4,f4"), "arrays of 'f4,f4' are not read"),
        (array((1,), b"f4", b"I4\n"), "without plain bytes"),
        (array((1,), b"f4", b"NI1\n0"), "not a readable"),
        (array((2**40, 2**15)), "not a readable"),
        (array((-1,)), "4 bytes for an array of shape"),
        (array((2,)), "not a readable"),
        (array((1,), b"U1", b"V\xff\xff\xff\xff\n"), "no characters"),
        (ARRAY + b".", "an array without a state"),
        (b"cnumpy._core.numeric\n_frombuffer\n(L100000000000L\n" + DTYPE % b"f4" + b"(I1\ntVC\ntR.", "plain bytes"),
        (b"cnumpy.core.multiarray\nscalar\n(" + DTYPE % b"f4" + b"VAAAAA\ntR.", "5 bytes for an array"),
        (b"c_codecs\nencode\n(Va\nVrot13\ntR.", "bytes in 'rot13' are not read"),
        (b"cbuiltins\nbytes\n(L100000000000L\ntR.", "not a readable"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(N}V__defaults__\n(tstb.", "sets the state of a function"),
        (b"cnumpy\ndtype\n(N}V__init__\nc_codecs\nencode\nstb.", "not a readable"),
        (b"ccollections\nOrderedDict\n(N}V__setitem__\nc_codecs\nencode\nstb.", "not a readable"),
        (b"Pan id\n.", "persistent"),
        (b"\x80\x02\x82\x01.", "extension"),
        (b"\x80\x04\x8e" + struct.pack("<Q", 2**45) + b"abc.", "ends early"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**63 - 1) + b"abc.", "ends early"),
        (b"(" * 5000 + b"t" * 5000 + b".", "nested too deeply"),
        (b"]q\x00h\x00a.", "nested too deeply"),
        (b"]}]I1\nsI1\nsb.", "not a readable"),
        (b"I" + b"9" * 5000 + b"\n.", "not a readable"),
    ],
)
def test_hostile_and_broken_pickles(tmp_path, data, message):
    refuses(f"evil.pkl: (?s:.)*({message})", load_pickle, write(tmp_path / "evil.pkl", data))
