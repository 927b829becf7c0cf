"""Streaming reader of a pickled list: elements are returned in batches, and their memory is freed.

The pickle module builds the whole list before it returns, and keeps every object in its memo for later references.
`PickledList` yields the elements in batches. Its memo has two generations. An object that was referred to is old and
stays. After each batch the young objects are removed, except those that a later element may refer to first: functions,
types of arrays, keys of dicts, single letters, and the objects that the caller names (a camera that many frames share).
A reference to a removed object raises an error.

All else is as restricted as in `machine.py`. 60 us of processor time for a frame of `h36m_train.pkl`.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, ClassVar

from jaxpose.io.untrusted.machine import Machine, Names
from jaxpose.io.untrusted.unpickle import NUMPY

_BATCH = 1000  # elements; as many as the pickle module itself writes at once
_MOST_OLD = 1_000_000  # shared objects; h36m_train.pkl has some ten thousand
_DTYPE: Any = NUMPY["numpy", "dtype"]


def _is_common(value: Any) -> bool:
    """Whether any later element may refer to `value`. (Python has one object for each text of one letter.)"""
    return callable(value) or isinstance(value, _DTYPE) or (isinstance(value, str | bytes) and len(value) < 2)


class PickledList(Machine):
    """A pickle file, read once. Faults raise the errors of the pickle module."""

    def __init__(self, file: BinaryIO, names: Names = NUMPY):
        super().__init__(file, names)
        self._young: dict[int, Any] = {}
        self._old: dict[int, Any] = {}
        self._next = 0  # memo index
        self._list: list[Any] = []

    def batches(self, shared: Callable[[list[Any]], Iterable[Any]] = lambda _: ()) -> Iterator[list[Any]]:
        """The elements of the list, about `_BATCH` at a time; `shared` returns objects to keep in the memo."""
        while not self._run(lambda: len(self._list) >= _BATCH):
            yield self._hand_over(shared)
        if (top := self.stack.pop()) is not self._list:
            raise pickle.UnpicklingError(f"it holds a {type(top).__name__}; needed a list")
        if self._list:
            yield self._hand_over(shared)

    def _hand_over(self, shared: Callable[[list[Any]], Iterable[Any]]) -> list[Any]:
        batch = list(self._list)
        self._list.clear()
        keep = {id(part) for part in shared(batch)}
        keep.update(id(key) for element in batch if isinstance(element, dict) for key in element)
        self._old.update((i, value) for i, value in self._young.items() if id(value) in keep or _is_common(value))
        self._young.clear()
        if len(self._old) > _MOST_OLD:
            raise pickle.UnpicklingError(f"more than {_MOST_OLD} objects are shared between its elements")
        return batch

    def _remember(self, index: int) -> None:
        # All picklers number upwards. An index used twice would leave its first object in the other generation.
        if index < self._next:
            raise pickle.UnpicklingError(f"it fills entry {index} of the memo again")
        self._next = index + 1
        self._young[index] = self.stack[-1]

    def _recall(self, index: int) -> None:
        if index in self._young:
            self._old[index] = self._young.pop(index)
        elif index not in self._old:
            raise pickle.UnpicklingError(f"it refers to object {index} of an element that was read long before")
        self.append(self._old[index])

    def load_empty_list(self) -> None:
        is_bottom = not self.stack and not self.metastack
        self.append(self._list if is_bottom else [])

    def load_list(self) -> None:
        items = self.pop_mark()  # type: ignore[attr-defined] # of the base class
        self.load_empty_list()
        self.stack[-1].extend(items)

    dispatch: ClassVar[dict[int, Any]] = {
        **Machine.dispatch,
        pickle.PUT[0]: lambda self: self._remember(int(self.readline())),
        pickle.BINPUT[0]: lambda self: self._remember(self.read(1)[0]),
        pickle.LONG_BINPUT[0]: lambda self: self._remember(int.from_bytes(self.read(4), "little")),
        pickle.MEMOIZE[0]: lambda self: self._remember(self._next),
        pickle.GET[0]: lambda self: self._recall(int(self.readline())),
        pickle.BINGET[0]: lambda self: self._recall(self.read(1)[0]),
        pickle.LONG_BINGET[0]: lambda self: self._recall(int.from_bytes(self.read(4), "little")),
        pickle.EMPTY_LIST[0]: load_empty_list,
        pickle.LIST[0]: load_list,
    }
