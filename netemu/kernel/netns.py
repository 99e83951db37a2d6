"""Namespaces entered, made and kept. The one module that moves a thread between them.

A thread that went elsewhere comes back before anybody else runs on it (`inside`) or ends (`call`, `create`).
Standard library only: runtime shims and CNI executables import this module.
"""

import contextlib
import functools
import operator
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from netemu.kernel import linux

T = TypeVar("T")
Place = str | os.PathLike[str] | int

KINDS = {
    "user": linux.CLONE_NEWUSER,
    "mnt": linux.CLONE_NEWNS,
    "uts": linux.CLONE_NEWUTS,
    "ipc": linux.CLONE_NEWIPC,
    "net": linux.CLONE_NEWNET,
    "pid": linux.CLONE_NEWPID,
    "cgroup": linux.CLONE_NEWCGROUP,
}


def setns(place: Place, kind: int = 0) -> None:
    """Move the calling thread for good. `kind` 0 takes any namespace file; OSError as setns(2) says."""
    with opened(place) as fd:
        linux.setns(fd, kind)


def unshare(flags: int) -> None:
    """New namespaces for the calling thread; see linux.CLONE_NEW*."""
    linux.unshare(flags)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[int]:
    """A descriptor of a namespace file; one that was handed in stays open."""
    if isinstance(place, int):
        yield place
        return
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def inside(place: Place | None) -> Iterator[None]:
    """The calling thread is in that network namespace for the length of a `with` block (0.03 ms).

    None is where it is already, which needs no right. Only for code that does not await or hand work to
    others meanwhile. If the way back is barred the process aborts: a thread lost in the wrong namespace
    would do its next work there.
    """
    if place is None:
        yield
        return
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(place, linux.CLONE_NEWNET)
        try:
            yield
        finally:
            try:
                linux.setns(home, linux.CLONE_NEWNET)
            except OSError:
                os.abort()
    finally:
        os.close(home)


def call(place: Place, function: Callable[..., T], *arguments: object) -> T:
    """Run `function` in that network namespace on a thread of its own and hand on its result or exception."""

    def work() -> T:
        setns(place, linux.CLONE_NEWNET)
        return function(*arguments)

    return _on_own_thread(work)


def create(path: str | os.PathLike[str]) -> None:
    """Make a network namespace and keep it by a bind mount at `path` (the file is made; 0.7 ms).

    Whoever removes it: `remove`. FileExistsError when there is something already.
    """
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))

    def work() -> None:
        linux.unshare(linux.CLONE_NEWNET)
        linux.mount("/proc/thread-self/ns/net", path, None, linux.MS_BIND)

    try:
        _on_own_thread(work)
    except BaseException:
        os.unlink(path)
        raise


def open_new() -> int:
    """A descriptor of a new network namespace, which lives as long as something refers to it (0.4 ms)."""

    def work() -> int:
        linux.unshare(linux.CLONE_NEWNET)
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    return _on_own_thread(work)


def make(kinds: Iterable[str], furnish: Callable[[], object] = lambda: None) -> dict[str, int]:
    """New namespaces of those kinds ("net", "mnt", "uts" …) as descriptors (the caller's), without a fork.

    `furnish` runs inside them before anybody sees them; what it raises is raised here, and they are gone.
    """
    wanted = tuple(kinds)

    def work() -> dict[str, int]:
        with linux.on_one_cpu():
            linux.unshare(functools.reduce(operator.or_, (KINDS[kind] for kind in wanted)))
        furnish()
        return {kind: os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in wanted}

    return _on_own_thread(work)


def bind(source: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Keep an existing namespace (any kind's file in /proc/PID/ns) at `path`, which is made."""
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o444))
    linux.mount(os.fspath(source), path, None, linux.MS_BIND)


def remove(path: str | os.PathLike[str]) -> None:
    """Let go of a kept namespace and remove its file. Fine when it is gone already."""
    with contextlib.suppress(FileNotFoundError, OSError):
        linux.umount(path, linux.MNT_DETACH)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def identity(place: Place) -> tuple[int, int]:
    """What two files of one namespace have in common: (device, inode)."""
    found = os.stat(place)
    return found.st_dev, found.st_ino


def _on_own_thread(work: Callable[[], T]) -> T:
    """The thread ends afterwards, so wherever it went, nobody else finds himself there."""
    results: list[T] = []
    failures: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="netns", daemon=True)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]
