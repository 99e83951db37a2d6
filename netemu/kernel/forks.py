"""fork(2) without the interpreter's after-fork work, for a process that has one thread and holds no locks.

That work (reseeding random, rebuilding thread and logging state) touches 140 pages, which a child then has of
its own: 0.5 ms and 570 kB a container need not cost. Standard library only; nothing is looked up at import.
"""

import ctypes
import os
import platform
import signal

_CLONE_PARENT = 0x8000
# clone(2); its first argument is the flags on both, and the others are 0 here.
_NUMBERS = {"x86_64": 56, "aarch64": 220}


class Forks:
    """Calls found once, so that a fork touches little. Falls back to os.fork on unknown machines."""

    def __init__(self) -> None:
        number = _NUMBERS.get(platform.machine())
        # It keeps the interpreter lock, as the child must have it.
        self._python = ctypes.PyDLL(None, use_errno=True)
        zeros = (ctypes.c_ulong(0),) * 4
        self._call = self._python.syscall if number is not None else None
        self._child = (number, ctypes.c_ulong(signal.SIGCHLD), *zeros)
        self._sibling = (number, ctypes.c_ulong(signal.SIGCHLD | _CLONE_PARENT), *zeros)

    @property
    def siblings(self) -> bool:
        """Whether `sibling` is to be had on this machine."""
        return self._call is not None

    def child(self) -> int:
        """As os.fork. OSError when it cannot be."""
        return self._checked(self._call(*self._child)) if self._call else os.fork()

    def sibling(self) -> int:
        """Fork, but the child's parent is the caller's parent, which gets its SIGCHLD and its exit status."""
        assert self._call is not None
        return self._checked(self._call(*self._sibling))

    def run_hooks(self) -> None:
        """In a child that is to run code which counts on the after-fork work (random, threads, logging)."""
        if self._call:
            self._python.PyOS_AfterFork_Child()

    @staticmethod
    def _checked(pid: int) -> int:
        if pid < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"clone: {os.strerror(number)}")
        return pid
