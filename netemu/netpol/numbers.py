"""Numbers for values: the same value has the same number while anybody has it. Pure bookkeeping.

With `inherit`, when all who had one value have another one now, that takes over the number, so that what
refers to the number may stay. A number that is let go comes again as late as possible: a packet may still be
on its way with it.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from netemu.base import errors

T = TypeVar("T")


class Moved(NamedTuple, Generic[T]):
    """`changed`: numbers that mean this value now and did not before. `gone`: what means nothing more."""

    changed: dict[int, T]
    gone: tuple[tuple[T, int], ...]


class Numbers(Generic[T]):
    """Numbers from `first` to `last`."""

    def __init__(self, first: int, last: int, *, inherit: bool = True) -> None:
        self._inherit = inherit
        self._numbers: dict[T, int] = {}
        self._used: Counter[T] = Counter()
        self._free: deque[int] = deque()
        self._next, self._last = first, last

    def __getitem__(self, value: T) -> int:
        return self._numbers[value]

    def __len__(self) -> int:
        return len(self._numbers)

    def move(self, moves: Iterable[tuple[T | None, T | None]]) -> Moved[T]:
        """Each move: one who had the first value has the second one now. None: he had, or has, none.

        Rejected when there are no numbers left.
        """
        real = [(old, new) for old, new in moves if old != new]
        for old, new in real:
            if old is not None:
                self._used[old] -= 1
            if new is not None:
                self._used[new] += 1
        gone = {old: None for old, _ in real if old in self._numbers and not self._used[old]}
        fresh = {new: None for _, new in real if new is not None and self._used[new]}
        fresh = {new: None for new in fresh if new not in self._numbers}
        changed: dict[int, T] = {}
        for value in gone:
            del self._used[value]
        for old, new in real if self._inherit else ():
            if old in gone and new in fresh:
                number = self._numbers[new] = self._numbers.pop(old)
                changed[number] = new
                del gone[old], fresh[new]
        for new in fresh:
            changed[self._allocate(new)] = new
        freed = tuple((old, self._numbers.pop(old)) for old in gone)
        self._free.extend(number for _, number in freed)
        return Moved(changed, freed)

    def _allocate(self, value: T) -> int:
        if self._next <= self._last:
            self._numbers[value] = self._next
            self._next += 1
        elif self._free:
            self._numbers[value] = self._free.popleft()
        else:
            raise errors.Rejected(f"more than {self._last} different ones cannot be told apart")
        return self._numbers[value]
