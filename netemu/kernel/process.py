"""Processes run to their end, forked into namespaces, recognised beyond doubt. Does not know what for.

A pid alone proves nothing, for the kernel reuses it: a process is (pid, start time, boot id).
Standard library only at import; asyncio only where a loop is running anyway.
"""

import contextlib
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from netemu.kernel import linux, netns


class Completed(NamedTuple):
    """A process that has ended. `code` is negative for a signal, as in subprocess."""

    code: int
    stdout: bytes
    stderr: bytes


class Identity(NamedTuple):
    """A process, recognisable after its death and after a reboot."""

    pid: int
    start_time: int
    boot_id: str


def boot_id() -> str:
    """Different after every boot."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()


def start_time(pid: int, *, proc: str = "/proc") -> int:
    """Clock ticks after boot at which `pid` began. ProcessLookupError when there is no such process.

    A zombie still has one: it keeps its pid until it is reaped.
    """
    return int(_stat(pid, proc)[19])


def state(pid: int, *, proc: str = "/proc") -> str:
    """One letter as in proc(5): R, S, D, Z (zombie), X …; ProcessLookupError when there is none."""
    return _stat(pid, proc)[0]


def _stat(pid: int, proc: str) -> list[str]:
    try:
        with open(f"{proc}/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(f"no process {pid}") from None


def descendants(pid: int, *, proc: str = "/proc") -> tuple[int, ...]:
    """The children of a process, their children and so on, as they are now."""
    children: dict[int, list[int]] = {}
    for name in os.listdir(proc):
        if name.isdigit():
            with contextlib.suppress(ProcessLookupError):
                children.setdefault(int(_stat(int(name), proc)[1]), []).append(int(name))
    found, waiting = [], [pid]
    while waiting:
        more = children.get(waiting.pop(), [])
        found += more
        waiting += more
    return tuple(found)


def identify(pid: int) -> Identity:
    """Who `pid` is now. ProcessLookupError when nobody."""
    return Identity(pid, start_time(pid), boot_id())


def alive(who: Identity) -> bool:
    """Whether that very process still runs (a zombie does not)."""
    try:
        same = who.boot_id == boot_id() and start_time(who.pid) == who.start_time
        return same and state(who.pid) not in "ZX"
    except ProcessLookupError:
        return False


def open_pidfd(who: Identity) -> int | None:
    """A descriptor of that very process, or None when it is gone: a signal by it cannot reach another one."""
    try:
        fd = os.pidfd_open(who.pid)
    except ProcessLookupError:
        return None
    if alive(who):
        return fd
    os.close(fd)
    return None


def kill(pidfd: int, number: int = signal.SIGKILL) -> None:
    """Fine when the process is gone already."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def wait_end(pidfd: int, timeout: float | None = None) -> bool:
    """Block until the process has ended (whoever's child it is); False when `timeout` seconds went by."""
    import select

    poller = select.poll()
    poller.register(pidfd, select.POLLIN)
    return bool(poller.poll(None if timeout is None else timeout * 1000))


def return_memory() -> None:
    """Give what was freed back to the system: glibc keeps it. Other C libraries have no way."""
    trim = getattr(linux.libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def allow_files() -> int:
    """Let this process and those it will start open as many files as they may; how many that is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def spawn(argv: Sequence[str], descriptors: Mapping[int, int], *, new_session: bool = False) -> int:
    """Start a program with exactly these descriptors (number there -> number here) and go on; its pid.

    No signal is blocked in it, whatever is here. Safe in a process with threads. OSError when it cannot be
    started.
    """
    # One may sit where another is going, and dup2 onto itself keeps close-on-exec: move all out of the way.
    parked = {there: os.dup(here) for there, here in descriptors.items()}
    try:
        top = max((*parked.values(), *descriptors)) + 1
        actions: list[tuple[int, ...]] = [
            (os.POSIX_SPAWN_DUP2, fd, top + there) for there, fd in parked.items()
        ]
        actions += [(os.POSIX_SPAWN_DUP2, top + there, there) for there in parked]
        actions += [(os.POSIX_SPAWN_CLOSE, top + there) for there in parked]
        return os.posix_spawn(
            argv[0], list(argv), os.environ, file_actions=actions, setsid=new_session, setsigmask=()
        )
    finally:
        for fd in parked.values():
            os.close(fd)


def set_name(name: str) -> None:
    """What ps and top show for this process (the kernel keeps 15 bytes)."""
    linux.prctl(linux.PR_SET_NAME, name.encode()[:15])


def die_with_parent() -> None:
    """Have the kernel kill this process when the thread that forked it ends."""
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def enter(namespaces: Mapping[str, netns.Place]) -> None:
    """Move this (single-threaded) process into namespaces by kind ("net", "mnt", "uts", "pid" ...).

    All files are opened first, since after "mnt" their paths may mean something else. "pid" takes effect for
    children only. "user" goes first, for it gives the right to the others.
    """
    with contextlib.ExitStack() as stack:
        opened = {kind: stack.enter_context(netns.opened(place)) for kind, place in namespaces.items()}
        for kind in sorted(opened, key=tuple(netns.KINDS).index):
            linux.setns(opened[kind], netns.KINDS[kind])


def fork(child: Callable[[], int | None], *, namespaces: Mapping[str, netns.Place] | None = None) -> int:
    """Fork; the child runs `child` in those namespaces and exits with its result (1 and a traceback: error).

    The caller must be single-threaded. The child has default signal handlers. Returns its pid.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        reset_signals()
        if namespaces:
            enter(namespaces)
        code = child() or 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def reset_signals() -> None:
    """Default dispositions and an empty mask, as a new program expects; wake-up descriptors forgotten."""
    signal.set_wakeup_fd(-1)
    for name in ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGCHLD", "SIGWINCH", "SIGUSR1", "SIGUSR2"):
        signal.signal(signal.Signals[name], signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def close_except(keep: Sequence[int]) -> None:
    """Close every descriptor above 2 but those."""
    floor = 3
    for fd in sorted(set(keep)):
        if fd >= floor:
            os.closerange(floor, fd)
            floor = fd + 1
    os.closerange(floor, 0x7FFFFFFF)  # close_range(2): one call


async def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    stdin: bytes = b"",
    timeout: float | None = None,
) -> Completed:
    """Run a program to its end, in a session of its own.

    When `timeout` seconds pass (TimeoutError), or on cancellation, it is killed with all it has started.

    OSError when it cannot be started. Output that grandchildren write after its end is not waited for.
    """
    from netemu.kernel import subprocesses

    return await subprocesses.run(argv, env=env, stdin=stdin, timeout=timeout)
