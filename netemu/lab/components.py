"""A long-lived child of the supervisor: started, watched, started again. Knows pids; not what it does.

The supervisor must be single-threaded whenever `start` is called, for it forks.
"""

import errno
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from netemu.base import backoff, errors
from netemu.kernel import process

_FIRST, _LIMIT = 0.1, 10.0  # seconds before the next start
_STEADY = 30.0  # whoever ran that long begins again with the first back-off
_LOG_LIMIT = 16 << 20

log = logging.getLogger("supervisor")


class Channel:
    """The child's way to tell the supervisor something; it hears nothing back."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream

    def say(self, event: str, **details: Any) -> None:
        self._stream.sendall(json.dumps({"event": event, **details}).encode() + b"\n")

    def mark(self, phase: str) -> None:
        """For NETEMU_TIMINGS: when a phase ended, and how much CPU this process has had so far."""
        self.say("mark", phase=f"{phase} (cpu {time.process_time() * 1000:.0f} ms)", at=time.monotonic())


@dataclass
class Component:
    """`main` runs in a forked child inside `namespaces` (kind to file); `keep` are descriptors it needs."""

    name: str
    title: str
    main: Callable[[Channel], int | None]
    log_path: str
    namespaces: Mapping[str, str] = field(default_factory=dict)
    keep: tuple[int, ...] = ()
    pid: int = 0
    started: float = 0.0
    restarts: int = 0
    due: float | None = None
    last_end: str = ""
    stream: socket.socket | None = None
    heard: bytes = b""
    _retry: backoff.Backoff = field(default_factory=lambda: backoff.Backoff(_FIRST, limit=_LIMIT))

    def start(self, now: float) -> None:
        """Fork it. `now`: monotonic seconds."""
        mine, theirs = socket.socketpair()
        output = _open_log(self.log_path)

        def child() -> int | None:
            os.dup2(output, 1)
            os.dup2(output, 2)
            process.close_except((theirs.fileno(), *self.keep))
            process.set_name(self.title)
            configure_logging(self.name)
            return self.main(Channel(theirs))

        self.pid = process.fork(child, namespaces=self.namespaces)
        os.close(output)
        theirs.close()
        mine.setblocking(False)
        self.stream, self.heard, self.started, self.due = mine, b"", now, None

    def ended(self, status: int, now: float) -> None:
        """It is gone: note how, and when to start it again."""
        code = os.waitstatus_to_exitcode(status)
        self.last_end = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        if now - self.started > _STEADY:
            self._retry.reset()
        wait = self._retry.next()
        self.pid, self.due = 0, now + wait
        self.restarts += 1
        log.warning("component ended component=%s end=%r again_in=%.1fs", self.name, self.last_end, wait)

    def hear(self) -> list[dict[str, Any]] | None:
        """What it has said since; None once it will say no more."""
        assert self.stream is not None
        try:
            piece = self.stream.recv(1 << 16)
        except BlockingIOError:
            return []
        except ConnectionResetError:
            piece = b""
        *lines, self.heard = (self.heard + piece).split(b"\n")
        said = [json.loads(line) for line in lines if line]
        return said if piece or said else None

    def status(self, now: float) -> dict[str, Any]:
        """As a row of `netemu status`; `pid` is the one inside the lab, `since` are seconds."""
        return {
            "name": self.name,
            "state": "running" if self.pid else "waiting",
            "pid": self.pid,
            "restarts": self.restarts,
            "since": round(now - self.started, 1),
            "last_end": self.last_end,
        }


def _open_log(path: str) -> int:
    """Append; a log that has grown too long makes way once."""
    try:
        if os.stat(path).st_size > _LOG_LIMIT:
            os.replace(path, path + ".1")
    except FileNotFoundError:
        pass
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def configure_logging(component: str) -> None:
    """One line a record on stderr, in UTC: time, level, component, logger and what happened."""
    text = f"%(asctime)s.%(msecs)03dZ %(levelname)s {component} %(name)s %(message)s"
    formatter = logging.Formatter(text, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(open(2, "w", encoding="utf-8", buffering=1, closefd=False))  # noqa: SIM115
    handler.setFormatter(formatter)
    # What was there belongs to whoever forked us, and is not ours to close.
    logging.root.handlers[:] = [handler]
    logging.root.setLevel(os.environ.get("NETEMU_LOG", "INFO").upper())


def explained(failure: BaseException) -> dict[str, str]:
    """What went wrong in one line (`message`), and what to do about it (`hint`)."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    if isinstance(failure, errors.NetemuError):
        return {"message": failure.message, "hint": failure.hint}
    if isinstance(failure, OSError) and failure.strerror:
        where = f"{failure.filename}: " if failure.filename else ""
        hint = "free some space" if failure.errno == errno.ENOSPC else ""
        return {"message": f"{where}{failure.strerror}", "hint": hint}
    return {"message": f"{type(failure).__name__}: {failure}", "hint": "this is a bug in netemu"}


def last_words(path: str) -> str:
    """The last line of a log that says something, without a traceback's frame; "" when there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = (line.strip(" |+-") for line in text.splitlines())
    return next((line for line in reversed([*lines]) if line), "")
