"""Pickles of plain data, read without running anything that they name. Knows no data set.

Python's pure unpickler is used, not the one in C: every step of it can be checked, and a small file
cannot make it reserve a large memo.
"""

from __future__ import annotations

import io
import pickle
import re
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..errors import BadInput

_Step: TypeAlias = Callable[[Any], None]  # what an opcode does to the unpickler

_MEND = "fetch the file again from its official place"


def read_pickle(path: Path, encoding: str = "latin1", arrays: bool = False) -> object:
    """The plain data pickled in the file `path`; see `loads_pickle`. Raises BadInput, naming the
    file, if it cannot be read or holds anything else."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(
            f"{path}: there is no such file; put it there, or correct the path"
        ) from None
    except OSError as error:
        raise BadInput(
            f"{path}: the file cannot be read ({error.strerror}); correct its rights or the path"
        ) from None
    return loads_pickle(data, str(path), arrays, encoding)


def loads_pickle(data: bytes, where: str, arrays: bool = False, encoding: str = "latin1") -> object:
    """The plain data that is pickled in `data`: None, bool, int, float, str, bytes, and lists,
    tuples, dicts and sets of them.

    `arrays` lets NumPy arrays and scalars through, of numbers, truth values and strings; not of
    objects. `encoding` decodes the byte strings of Python 2; "bytes" keeps them as bytes. Keys of
    dicts and members of sets are scalars or tuples of scalars. Lists may be nested to any depth,
    and integers may have any size: who prints or walks them takes care.

    Nothing that the pickle names is imported or called. It can ask for about the square of its own
    size in memory, by copying what it holds, and no more. Raises BadInput, in one line that begins
    with `where`, for all else.
    """
    file = io.BytesIO(data)
    try:
        content: object = _DataUnpickler(file, where, arrays, encoding).load()
    except BadInput:
        raise
    except Exception as error:  # garbage raises KeyError, IndexError, struct.error, MemoryError ...
        reason = f"{type(error).__name__}: {_one_line(str(error))}"
        raise BadInput(f"{where}: this is not a whole pickle ({reason}); {_MEND}") from None
    rest = len(data) - file.tell()
    if rest:
        raise BadInput(f"{where}: {rest} bytes follow the end of the pickle; {_MEND}")
    return content


class _DataUnpickler(pickle._Unpickler):
    """Unpickles what stands in `_PLAIN`, with `arrays` also in `_ARRAYS`, and nothing else."""

    dispatch: Mapping[int, _Step]  # type: ignore[assignment, misc]
    stack: list[Any]

    def __init__(self, file: io.BytesIO, where: str, arrays: bool, encoding: str) -> None:
        super().__init__(file, fix_imports=False, encoding=encoding)
        self.where = where
        self.known = _PLAIN | _ARRAYS if arrays else _PLAIN

    def find_class(self, module: str, name: str) -> Any:
        stand_in = self.known.get((module, name))
        if stand_in is None:
            named = _one_line(f"{module}.{name}")
            raise BadInput(
                f"{self.where}: it holds a {named}, which is not data; such a file could run any "
                f"program, so it is not read: {_MEND}, or save it as plain data"
            )
        return stand_in

    def checked_build(self) -> None:
        """BUILD, which sets an object's state: only for the arrays and types made here."""
        state = self.stack.pop()
        made = self.stack[-1]
        if type(made) is np.ndarray:
            _set_array(made, state)
        elif isinstance(made, np.dtype):
            _set_dtype(made, state)
        else:
            raise pickle.UnpicklingError(f"a state for a {type(made).__name__}")

    def refused_extension(self) -> None:
        raise pickle.UnpicklingError("a code of copyreg's extension registry")

    def bounded_bytearray(self) -> None:
        """BYTEARRAY8 without reserving what the file only claims to hold."""
        (size,) = struct.unpack("<Q", self.read(8))  # type: ignore[attr-defined]
        self.stack.append(bytearray(self.read(size)))  # type: ignore[attr-defined]


# ---------------------------------------------------------------- keys


def _with_checked_keys(step: _Step, keys: slice) -> _Step:
    """`step`, once the `keys` among what lies on the stack are known to be flat: hashing a tuple in
    a tuple in a tuple ... overruns the C stack, and Python with it."""

    def checked(unpickler: Any) -> None:
        for key in unpickler.stack[keys]:
            _check_flat(key)
        step(unpickler)

    return checked


_SCALARS = frozenset({str, bytes, int, float, bool, type(None)})


def _check_flat(key: object) -> None:
    parts = key if type(key) is tuple else (key,)
    for part in parts:
        if type(part) not in _SCALARS and not isinstance(part, np.generic):
            raise pickle.UnpicklingError(f"a {type(part).__name__} in a key")


# ---------------------------------------------------------------- what stands in for globals


def _set(members: Sequence[object] = ()) -> set[object]:
    for member in members:
        _check_flat(member)
    return set(members)


def _frozenset(members: Sequence[object] = ()) -> frozenset[object]:
    return frozenset(_set(members))


def _empty_bytes() -> bytes:
    """b"" by protocols 0 to 2. With an argument, bytes() would reserve as much as it says."""
    return b""


def _latin1(text: str, encoding: str) -> bytes:
    """Bytes as protocols 0 to 2 write them."""
    if encoding not in ("latin1", "latin-1") or type(text) is not str:
        raise pickle.UnpicklingError("an encoding other than latin1")
    return text.encode("latin1")


def _class_only(*arguments: object) -> None:
    """numpy.ndarray, which is named as what to reconstruct but never called."""
    raise pickle.UnpicklingError("a call of numpy.ndarray")


def _empty_array(kind: object, shape: object, typecode: object) -> np.ndarray[Any, Any]:
    """What _reconstruct makes: an array that gets its state with the next BUILD."""
    return np.empty(0, dtype=np.int8)


_TYPE_CODE = re.compile(r"[<>=|]?(?:b1|[iu][1248]|f[248]|c(?:8|16)|[SU]\d{1,9})")


def _dtype(code: str | bytes, *flags: object) -> np.dtype[Any]:
    """A type of its own, because its byte order comes with the next BUILD."""
    text = code.decode("latin1") if isinstance(code, bytes) else code
    if type(text) is not str or not _TYPE_CODE.fullmatch(text):
        named = _one_line(text) if type(text) is str else type(text).__name__
        raise pickle.UnpicklingError(f"an array of type {named}, not of numbers or strings")
    return np.dtype(text, copy=True)


def _set_dtype(dtype: np.dtype[Any], state: Any) -> None:
    """The byte order of a state, and nothing else of it: flags from a file can make NumPy take
    numbers for addresses of objects."""
    order, fields = state[1], state[2:5]
    if isinstance(order, bytes):
        order = order.decode("latin1")
    if order not in ("<", ">", "|", "=") or any(field is not None for field in fields):
        raise pickle.UnpicklingError("an array of records")
    if order in "<>" and dtype.itemsize > 1:
        size, alignment = (dtype.itemsize, dtype.alignment) if dtype.kind in "SU" else (-1, -1)
        dtype.__setstate__(  # type: ignore[attr-defined]
            (3, order, None, None, None, size, alignment, dtype.flags)
        )


def _set_array(array: np.ndarray[Any, Any], state: Any) -> None:
    _, shape, dtype, by_columns, raw = state
    values = _from_buffer(raw, dtype, shape, "F" if by_columns else "C")
    plain: Any = (1, values.shape, values.dtype, bool(by_columns), values.tobytes("A"))
    array.__setstate__(plain)


def _from_buffer(
    raw: str | bytes | bytearray, dtype: np.dtype[Any], shape: Any, order: Any
) -> np.ndarray[Any, Any]:
    """An array from the bytes of its values; Python 2's come as text in Latin-1."""
    if not isinstance(dtype, np.dtype) or type(shape) is not tuple or order not in ("C", "F"):
        raise pickle.UnpicklingError("an array of a wrong form")
    content = raw.encode("latin1") if isinstance(raw, str) else bytes(memoryview(raw))
    if dtype.itemsize == 0 or not content:
        values = np.empty(shape, dtype) if 0 in shape else np.zeros(0, dtype).reshape(shape)
    else:
        values = np.frombuffer(bytearray(content), dtype).reshape(shape, order=order)
    if dtype.kind == "U":
        values.tolist()  # raises ValueError where a number is no character
    return values


def _scalar(dtype: np.dtype[Any], raw: str | bytes = b"") -> Any:
    return _from_buffer(raw, dtype, (), "C")[()]


_PLAIN: dict[tuple[str, str], Callable[..., Any]] = {
    ("_codecs", "encode"): _latin1,
    **{
        (module, name): stand_in
        for module in ("builtins", "__builtin__")
        for name, stand_in in (("set", _set), ("frozenset", _frozenset), ("bytes", _empty_bytes))
    },
}

_ARRAYS: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy", "dtype"): _dtype,
    ("numpy", "ndarray"): _class_only,
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")  # before and since NumPy 2
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}

# ---------------------------------------------------------------- opcodes

_KEYS: Mapping[bytes, slice] = {  # where keys lie on the stack; after a mark it has the items only
    pickle.SETITEM: slice(-2, -1),
    pickle.SETITEMS: slice(0, None, 2),
    pickle.DICT: slice(0, None, 2),
    pickle.ADDITEMS: slice(0, None),
    pickle.FROZENSET: slice(0, None),
}

_DataUnpickler.dispatch = {
    **pickle._Unpickler.dispatch,
    **{
        opcode[0]: _with_checked_keys(pickle._Unpickler.dispatch[opcode[0]], keys)
        for opcode, keys in _KEYS.items()
    },
    pickle.BUILD[0]: _DataUnpickler.checked_build,
    pickle.EXT1[0]: _DataUnpickler.refused_extension,
    pickle.EXT2[0]: _DataUnpickler.refused_extension,
    pickle.EXT4[0]: _DataUnpickler.refused_extension,
    pickle.BYTEARRAY8[0]: _DataUnpickler.bounded_bytearray,
}


def _one_line(text: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in text[:120])
    return " ".join(printable.split())
