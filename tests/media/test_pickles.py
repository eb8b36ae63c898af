"""Plain data comes out of pickles of every protocol, and nothing else does, whatever they hold."""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BadInput
from harness.media.pickles import loads_pickle, read_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(max_size=300)
)
PLAIN = st.recursive(
    SCALARS | st.sets(SCALARS) | st.frozensets(SCALARS),
    lambda inner: (
        st.lists(inner)
        | st.tuples(inner, inner)
        | st.dictionaries(SCALARS | st.tuples(SCALARS, SCALARS), inner)
    ),
    max_leaves=12,
)


def complaint_about(data: bytes, arrays: bool = False) -> str:
    with pytest.raises(BadInput) as caught:
        loads_pickle(data, "some.p", arrays)
    message = str(caught.value)
    assert message.startswith("some.p: ")
    assert "\n" not in message
    return message


@settings(max_examples=60, deadline=None)
@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_survives_every_protocol(value: object, protocol: int) -> None:
    assert loads_pickle(pickle.dumps(value, protocol), "here") == value


def test_strings_of_python_2_are_read_as_latin1_and_references_stay() -> None:
    # as Python 2 writes [{"raw": "caf\xe9", u"sent": u"café"}] with protocol 2
    data = b"\x80\x02]q\x01}q\x02(U\x03rawq\x03U\x04caf\xe9q\x04X\x04\x00\x00\x00sentq\x05"
    data += b"X\x05\x00\x00\x00caf\xc3\xa9q\x06uh\x02e."
    data = data.replace(b"}q\x02(", b"(}q\x02(", 1)  # two appended items: the dict and itself again
    read: Any = loads_pickle(data, "here")
    assert read == [{"raw": "café", "sent": "café"}] * 2
    assert read[0] is read[1]
    raw: Any = loads_pickle(data, "here", encoding="bytes")
    assert raw[0] == {b"raw": b"caf\xe9", "sent": "café"}


def test_a_set_of_python_2_is_a_set() -> None:
    data = b"\x80\x02c__builtin__\nset\nq\x01]q\x02(K\x01K\x02e\x85q\x03Rq\x04."
    assert loads_pickle(data, "here") == {1, 2}


def test_a_file_is_read_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "refs.p").write_bytes(pickle.dumps([1], 2))
    assert read_pickle(tmp_path / "refs.p") == [1]
    with pytest.raises(BadInput, match=r"absent\.p: there is no such file"):
        read_pickle(tmp_path / "absent.p")
    with pytest.raises(BadInput, match="cannot be read"):
        read_pickle(tmp_path)


# ---------------------------------------------------------------- what would run something


class Reduced:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function: Any, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch ran", f"{os.name}.system"),
        (eval, "open('ran', 'w')", ".eval"),
        (open, "ran", "io.open"),
        (collections.OrderedDict, (), "collections.OrderedDict"),
        (getattr, "x", ".getattr"),
        (bytearray, b"x", "bytearray"),
    ],
)
def test_nothing_is_called_and_the_global_is_named(
    function: Any,
    argument: object,
    name: str,
    protocol: int,
    arrays: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps({"refs": [Reduced(function, argument)]}, protocol)
    message = complaint_about(data, arrays)
    assert "it holds a " in message
    assert name in message
    assert "which is not data" in message
    assert list(tmp_path.iterdir()) == []


def test_an_object_that_copyreg_would_rebuild_is_refused() -> None:
    by_hand = b"ccopy_reg\n_reconstructor\n(c__builtin__\nobject\nc__builtin__\nobject\nNtR."
    assert "copy_reg._reconstructor" in complaint_about(by_hand)
    assert "copyreg._reconstructor" in complaint_about(by_hand.replace(b"copy_reg", b"copyreg"))


def test_a_code_of_the_extension_registry_is_refused_even_if_it_is_registered() -> None:
    import copyreg

    copyreg.add_extension("os", "system", 0xEE)
    try:
        data = pickle.dumps(os.getpid, 2)
        assert b"getpid" in data  # only a registered name becomes a code
        assert "extension" in complaint_about(b"\x80\x02\x82\xee.")
    finally:
        copyreg.remove_extension("os", "system", 0xEE)


def test_instances_persistent_ids_and_odd_names_are_refused() -> None:
    assert "os.system" in complaint_about(b"(S'touch ran'\nios\nsystem\n.")
    assert "persistent" in complaint_about(b"Pwhatever\n.")
    assert "a?b" in complaint_about(b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.")
    dotted = b"\x80\x04\x8c\x08builtins\x8c\x10set.__subclasses\x93."
    assert "which is not data" in complaint_about(dotted)


def test_a_stand_in_cannot_be_changed_through_its_state() -> None:
    # the state (None, {"__defaults__": (7,)}) would change a function for the whole process
    data = b"\x80\x02c__builtin__\nset\nN}U\x0c__defaults__K\x07\x85s\x86b."
    assert "a state for a function" in complaint_about(data)
    assert "a state for a dict" in complaint_about(b"\x80\x02}}b.")


def test_bytes_are_decoded_by_latin1_only_and_not_made_by_size() -> None:
    assert loads_pickle(pickle.dumps(b"\x00\xff", 2), "here") == b"\x00\xff"
    other = pickle.dumps(b"\xff", 2).replace(b"latin1", b"rot_13")
    assert "other than latin1" in complaint_about(other)
    large = b"\x80\x02c__builtin__\nbytes\nJ\xff\xff\xff\x7f\x85R."
    assert "TypeError" in complaint_about(large)


# ---------------------------------------------------------------- arrays


ARRAYS = [
    np.arange(6, dtype=np.float32).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int64).reshape(2, 3)),
    np.arange(6, dtype=">f8").reshape(3, 2),
    np.array([[True, False]]),
    np.array(["a", "bcd"]),
    np.array(["a", "bcd"], dtype=">U3"),
    np.array([b"a", b"bcd"]),
    np.zeros((0, 4), dtype=np.float32),
    np.array(2.5, dtype=np.float16),
    np.arange(8, dtype=np.uint8)[::2],
    np.array([1 + 2j]),
]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype.str}{array.shape}")
def test_arrays_of_numbers_and_strings_come_through_when_asked_for(
    array: Any, protocol: int
) -> None:
    data = pickle.dumps({"boxes": array, "again": [array]}, protocol)
    content: Any = loads_pickle(data, "here", arrays=True)
    read = content["boxes"]
    assert type(read) is np.ndarray
    assert read.dtype == pickle.loads(data)["boxes"].dtype  # NumPy may turn it to native order
    assert read.shape == array.shape
    np.testing.assert_array_equal(read, array)
    assert content["again"][0] is read
    assert "numpy" in complaint_about(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalars_come_through_also_as_keys(protocol: int) -> None:
    value = {np.int64(7): np.float32(0.5), np.str_("a"): np.bool_(True)}
    read: Any = loads_pickle(pickle.dumps(value, protocol), "here", arrays=True)
    assert read == value
    assert type(read[7]) is np.float32


def test_names_before_numpy_2_and_since_mean_the_same() -> None:
    data = pickle.dumps(np.arange(3), 2)
    since = data.replace(b"numpy.core.", b"numpy._core.")
    before = since.replace(b"numpy._core.", b"numpy.core.")
    for either in (before, since):
        np.testing.assert_array_equal(loads_pickle(either, "here", arrays=True), np.arange(3))


def test_an_array_that_python_2_wrote_is_read() -> None:
    # the values are a byte string there, here of the two float32 1.0 and -2.0
    data = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + struct.pack("<2f", 1, -2) + b"tb."
    )
    for encoding in ("latin1", "bytes"):
        read: Any = loads_pickle(data, "here", arrays=True, encoding=encoding)
        assert read.tolist() == [1.0, -2.0]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "array",
    [
        np.array([Reduced(os.system, "true"), None], dtype=object),
        np.array([[1, "a"]], dtype=object),
        np.zeros(2, dtype=[("a", "f4"), ("b", "i4")]),
        np.zeros(2, dtype="M8[s]"),
        np.zeros(2, dtype="V8"),
    ],
    ids=["calls", "objects", "records", "dates", "raw"],
)
def test_arrays_of_objects_and_records_are_refused(array: Any, protocol: int) -> None:
    complaint_about(pickle.dumps(array, protocol), arrays=True)


def test_flags_in_a_type_do_not_make_numbers_into_addresses() -> None:
    good = pickle.dumps(np.arange(3.0), 2)
    flags = b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    assert good.count(flags) == 1
    read = loads_pickle(good.replace(flags, flags[:-2] + b"\x3ft"), "here", arrays=True)
    assert read.dtype.flags == np.dtype("f8").flags  # type: ignore[attr-defined]
    assert np.dtype("f8").flags == 0


def test_an_array_whose_bytes_do_not_fit_its_shape_is_refused() -> None:
    good = pickle.dumps(np.arange(3, dtype=np.uint8), 2)
    assert good.count(b"K\x03\x85") == 1
    complaint_about(good.replace(b"K\x03\x85", b"K\x04\x85"), arrays=True)
    complaint_about(good.replace(b"K\x03\x85", b"J\xff\xff\xff\x7f\x85"), arrays=True)
    called = b"\x80\x02cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R."
    assert "numpy.ndarray" in complaint_about(called, arrays=True)


def test_characters_that_are_none_are_refused() -> None:
    good = pickle.dumps(np.array(["a"]), 5)
    bad = good.replace(b"a\x00\x00\x00", b"\xff\xff\xff\x7f")
    assert bad != good
    assert "character" in complaint_about(bad, arrays=True)


# ---------------------------------------------------------------- broken and hostile files


def refuse_or_read(data: bytes, arrays: bool) -> None:
    """Any other exception fails the test."""
    with contextlib.suppress(BadInput):
        loads_pickle(data, "here", arrays)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_file_cut_anywhere_is_refused(protocol: int) -> None:
    data = pickle.dumps([{"a": 1, "b": "text", "c": b"\x00" * 9}, (1.5, None, {2})], protocol)
    for size in range(len(data)):
        complaint_about(data[:size])
    assert "3 bytes follow" in complaint_about(data + b"abc")


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), arrays=st.booleans())
def test_garbage_is_refused_or_is_data(data: bytes, arrays: bool) -> None:
    refuse_or_read(data, arrays)


@settings(max_examples=200, deadline=None)
@given(places=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=4))
def test_a_damaged_array_is_refused_or_is_data(places: list[tuple[int, int]]) -> None:
    data = bytearray(pickle.dumps([np.arange(4.0), np.float32(1), {"a": {1}}], 4))
    for place, value in places:
        data[place % len(data)] = value
    refuse_or_read(bytes(data), arrays=True)


def test_lists_within_lists_are_read_to_any_depth() -> None:
    depth = 200_000
    assert isinstance(loads_pickle(b"]" * depth + b"a" * (depth - 1) + b".", "here"), list)


@pytest.mark.parametrize(
    "template",
    [b"}%bNs.", b"}(%bNu.", b"(%bNd.", b"\x8f(%b\x90.", b"(%b\x91."],
    ids=["setitem", "setitems", "dict", "additems", "frozenset"],
)
def test_a_key_of_tuples_within_tuples_is_refused_before_it_is_hashed(template: bytes) -> None:
    nested = b")" + b"\x85" * 300_000  # hashing this overruns the C stack
    assert "in a key" in complaint_about(b"\x80\x04" + template % nested)
    assert "in a key" in complaint_about(b"\x80\x04" + template % b"))\x86")


def test_a_set_of_python_2_with_tuples_within_tuples_is_refused_too() -> None:
    nested = b")" + b"\x85" * 300_000
    called = b"\x80\x02c__builtin__\nset\n]" + nested + b"a\x85R."
    assert "in a key" in complaint_about(called)


def test_a_small_file_cannot_reserve_much_memory() -> None:
    """In a process that may hold 1 GB, each of these ends with a refusal, not with its death."""
    claims = {
        "bytes": b"\x8e" + struct.pack("<Q", 1 << 40) + b"ab.",
        "text": b"\x8d" + struct.pack("<Q", 1 << 40) + b"ab.",
        "bytearray": b"\x96" + struct.pack("<Q", 1 << 40) + b"ab.",
        "frame": b"\x95" + struct.pack("<Q", 1 << 40) + b"ab.",
        "integer": b"\x8b" + struct.pack("<i", (1 << 31) - 1) + b"ab.",
        "array": b"cnumpy\nndarray\nJ\xff\xff\xff\x7f\x85R.",
    }
    memo = b"\x80\x04Nr\xff\xff\xff\xff."
    program = (
        "import resource\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\n"
        "from harness.errors import BadInput\n"
        "from harness.media.pickles import loads_pickle\n"
        f"assert loads_pickle({memo!r}, 'here') is None\n"
        f"for claim in {list(claims.values())!r}:\n"
        "    try:\n"
        "        loads_pickle(b'\\x80\\x04' + claim, 'here', arrays=True)\n"
        "    except BadInput as error:\n"
        "        assert 'MemoryError' not in str(error), error\n"
        "    else:\n"
        "        raise AssertionError(claim)\n"
    )
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, timeout=60
    )
    assert done.returncode == 0, done.stderr
