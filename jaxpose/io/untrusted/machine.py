"""The pickle machine, restricted: an untrusted pickle builds plain values, and calls only what a table names.

A pickle is a program of opcodes: it may import any object, call it, set its state and use anything as a dict's key.
`Machine` is the Unpickler of pickle.py (pure Python) with other handlers of the opcodes that do so:

- names are those of a closed table, (module, name) -> function or type;
- a key is a string or a number. Hashing nested tuples overflows the stack of C, and takes exponential time where they
  share parts. Sets become lists for the same reason;
- state is set only by a type's own `__setstate__`; functions and types stay as they are. That of an OrderedDict, where
  torch puts versions, is passed over;
- what calls and states make takes at most 4 times the bytes of the file and 1 MiB in all (a string of the file may be
  converted again and again); text and bytes are no longer than the rest of the file.

So memory stays near the size of the file: an opcode, one byte, makes an object of 64 bytes at most.
"""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, ClassVar, NoReturn, TypeAlias

import numpy as np

Names: TypeAlias = Mapping[tuple[str, str], Callable[..., Any]]

_MADE_FACTOR, _MADE_BYTES = 4, 1 << 20
_LONG = 4096  # bytes: shorter reads are not compared with what is left
_LONGEST_KEY = 4096  # bytes of a key that is hashed at each use
_KEYS = (str, bytes, bool, float, type(None))  # hashed once, or at once
_FORBIDDEN = (pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER)


def check_keys(keys: Iterable[Any]) -> None:
    """UnpicklingError unless all are strings or numbers, which are hashed fast."""
    for key in keys:
        whole = type(key) is int and key.bit_length() <= 64
        if not (type(key) in _KEYS or whole or (isinstance(key, np.generic) and key.nbytes <= _LONGEST_KEY)):
            raise pickle.UnpicklingError(f"a {type(key).__name__} as a key; must be strings or numbers")


class Machine(pickle._Unpickler):
    """An unpickler of a seekable file, from its current position, that knows only `names`.

    num_bytes: of the file, where the pickle is a part of it that refers to other parts.
    """

    def __init__(self, file: BinaryIO, names: Names, num_bytes: int | None = None):
        super().__init__(file, encoding="latin1")
        start = file.tell()
        self._file, self._names, self._end = file, names, file.seek(0, os.SEEK_END)
        file.seek(start)
        self._may_make = _MADE_FACTOR * (num_bytes or self._end - start) + _MADE_BYTES
        # what the handlers of the base class work with
        self.stack: list[Any] = []
        self.metastack: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.append = self.stack.append
        self.read = self._read

    def load(self) -> Any:
        """The value of the pickle."""
        self._run(lambda: False)
        return self.stack.pop()

    def _run(self, is_enough: Callable[[], bool]) -> bool:
        """Obey opcodes until it `is_enough` (False), or to the end of the pickle (True)."""
        read, dispatch = self._file.read, self.dispatch
        while not is_enough():
            code = read(1)
            if code == pickle.STOP:
                return True
            try:
                obey = dispatch[code[0]]
            except LookupError:
                raise pickle.UnpicklingError(f"no opcode is {code!r}" if code else "it ends early") from None
            obey(self)
        return False

    def find_class(self, module: str, name: str) -> Any:
        """The function of `names`; UnpicklingError for all others."""
        if (module, name) not in self._names:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not allowed")
        return self._names[module, name]

    def _read(self, count: int) -> bytes:
        # a file allocates what it is asked for
        data = b"" if count > _LONG and count > self._end - self._file.tell() else self._file.read(count)
        if len(data) < count:
            raise EOFError(f"it ends early: {count} bytes are needed")
        return data

    def readline(self) -> bytes:
        line = self._file.readline()
        if line[-1:] != b"\n":
            raise pickle.UnpicklingError("a line does not end")
        return line

    def _makes(self, value: Any) -> Any:
        """The value, whose bytes are counted."""
        array = getattr(value, "value", value)  # of an array that is being built
        if isinstance(array, np.ndarray):
            self._may_make -= array.nbytes
        elif isinstance(array, bytes | list | tuple | dict):
            self._may_make -= len(array) * (1 if isinstance(array, bytes) else 64)
        if self._may_make < 0:
            raise pickle.UnpicklingError("it makes far more than the file holds")
        return value

    def _call(self, function: Any, args: Any) -> Any:
        if not callable(function) or not isinstance(args, tuple):
            raise pickle.UnpicklingError(f"it calls a {type(function).__name__} with a {type(args).__name__}")
        self._may_make -= 8 * len(args)
        return self._makes(function(*args))

    def _instantiate(self, function: Any, args: list[Any]) -> None:
        self.append(self._call(function, tuple(args)))

    def load_reduce(self) -> None:
        args = self.stack.pop()
        self.stack[-1] = self._call(self.stack[-1], args)

    def load_newobj(self) -> None:
        args, kind = self.stack.pop(), self.stack.pop()
        if not isinstance(kind, type):
            raise pickle.UnpicklingError(f"it makes an object of a {type(kind).__name__}")
        self.append(self._call(kind.__new__, (kind, *args)))

    def load_newobj_ex(self) -> None:
        self.stack.pop()  # arguments by name, which nothing here has
        self.load_newobj()

    def load_build(self) -> None:
        state, made = self.stack.pop(), self.stack[-1]
        if type(made) is OrderedDict:
            return
        if not hasattr(type(made), "__setstate__"):
            raise pickle.UnpicklingError(f"it sets the state of a {type(made).__name__}")
        made.__setstate__(state)
        self._makes(made)

    def load_dict(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined] # of the base class
        self.append({})
        self._set(items)

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._set([key, value])

    def _set(self, items: list[Any]) -> None:
        keys = items[::2]
        if type(self.stack[-1]) not in (dict, OrderedDict):
            raise pickle.UnpicklingError(f"it sets items of a {type(self.stack[-1]).__name__}")
        if set(map(type, keys)) != {str}:
            check_keys(keys)
        self.stack[-1].update(zip(keys, items[1::2], strict=True))

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            raise pickle.UnpicklingError(f"it appends to a {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(items)

    def _refuse(self) -> NoReturn:
        raise pickle.UnpicklingError("it uses extensions or buffers of another file, which are not allowed")

    dispatch: ClassVar[dict[int, Any]] = {
        **pickle._Unpickler.dispatch,
        pickle.FRAME[0]: lambda self: self._read(8),  # a hint about how much to read ahead
        pickle.REDUCE[0]: load_reduce,
        pickle.NEWOBJ[0]: load_newobj,
        pickle.NEWOBJ_EX[0]: load_newobj_ex,
        pickle.BUILD[0]: load_build,
        pickle.DICT[0]: load_dict,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: lambda self: self._set(self.pop_mark()),
        pickle.APPEND[0]: lambda self: self._extend([self.stack.pop()]),
        pickle.EMPTY_SET[0]: lambda self: self.append([]),
        **dict.fromkeys((pickle.APPENDS[0], pickle.ADDITEMS[0]), lambda self: self._extend(self.pop_mark())),
        pickle.FROZENSET[0]: lambda self: self.append(self.pop_mark()),
        pickle.BYTEARRAY8[0]: lambda self: self.append(bytearray(self._read(int.from_bytes(self._read(8), "little")))),
        **dict.fromkeys((code[0] for code in _FORBIDDEN), _refuse),
    }
