"""One container at work: its process from start to end, its output into its log, who waits for what.

Knows one container and the kernel; does not know the others. Every change of state is written down before it
is announced, so a new shim finds what the last one knew.
"""

import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from netemu.base import errors
from netemu.kernel import process
from netemu.runtime import attachments, endings, logs, output, records
from netemu.runtime.eventloop import EventLoop, Timer
from netemu.wire import cri

log = logging.getLogger("shim")
_AT_ONCE = 1 << 18  # bytes read before others get their turn
UNKNOWN = "it ended while nobody could see its exit code"


class StartFailed(errors.NetemuError):
    """The container's program could not be started; it is EXITED with 128."""


class Tenant:
    """With a pidfd it has a process. `ended` is called once, when it has none any more."""

    def __init__(
        self,
        record: records.ContainerRecord,
        shelf: records.Shelf[records.ContainerRecord],
        loop: EventLoop,
        announce: Callable[[cri.Container], None],
        ended: Callable[["Tenant"], None],
    ) -> None:
        self.container = record.container
        self.pidfd: int | None = None
        self._start_time = record.start_time
        self._shelf, self._loop, self._announce, self._on_end = shelf, loop, announce, ended
        self._namespace = ""
        self._log: logs.Log | None = None
        self._streams: dict[int, str] = {}
        self._paused: set[int] = set()
        self._stdin: int | None = None  # the writing end, kept until somebody attaches
        self._attached = attachments.Attachments(loop, self._resume)
        self._report: int | None = None
        self._waiting: tuple[Callable[[object], None], Callable[[Exception], None]] | None = None
        self._killer: Timer | None = None
        self._stopped: list[Callable[[], None]] = []

    @property
    def place(self) -> str:
        return self._shelf.place(self.container.id)

    def change(self, **fields: Any) -> None:
        self.container = msgspec.structs.replace(self.container, **fields)
        self._shelf.save(self.container.id, records.ContainerRecord(self.container, self._start_time))

    # -- start

    def open_streams(self, log_path: str) -> output.Stdio:
        """The container's side; the caller closes it after the fork."""
        self._log = logs.Log(log_path)
        config = self.container.config
        if config.tty:
            ours, stdio = output.terminal()
            self._streams[ours] = "stdout"
            return stdio
        output.make_fifos(self.place, stdin=config.stdin)
        if config.stdin and config.stdin_once:
            self._stdin, stdio = output.open_for_session(self.place)
        else:
            stdio = output.open_for_container(self.place, stdin=config.stdin)
        self._open_fifos()
        return stdio

    def run(
        self, pid: int, report: int, done: Callable[[object], None], failed: Callable[[Exception], None]
    ) -> None:
        """Its process is there: write that down before anything else can happen to it."""
        self.pidfd, self._report, self._waiting = os.pidfd_open(pid), report, (done, failed)
        self._start_time = process.start_time(pid)
        self.change(pid=pid)
        self._loop.readable(report, self._reported)
        self._watch()

    def fail(self, why: str) -> None:
        """It never had a process."""
        self._close_streams()
        self.change(reason="StartError", message=why)
        self._finish(128)

    def adopt(self, pidfd: int | None, log_path: str) -> None:
        """Take over what an earlier shim started; without a pidfd it ended meanwhile."""
        if pidfd is None:
            self._finish(None)
            return
        self.pidfd = pidfd
        self._namespace = endings.mount_namespace(self.container.pid)
        self._log = logs.Log(log_path)
        if not self.container.config.tty:
            self._open_fifos()
        if self.container.state == "CREATED":  # it was being started
            self.change(state="RUNNING", started_at=time.time())
        self._watch()

    def _reported(self) -> None:
        """The child has executed its program (the pipe ends) or says why it cannot."""
        assert self._report is not None
        trouble = os.read(self._report, 4096).decode(errors="replace")
        self._loop.forget(self._report)
        os.close(self._report)
        self._report = None
        self._namespace = endings.mount_namespace(self.container.pid)
        waiting, self._waiting = self._waiting, None
        if trouble:
            self.change(reason="StartError", message=trouble)
            if waiting:
                waiting[1](StartFailed(trouble))
        else:
            self.change(state="RUNNING", started_at=time.time())
            self._announce(self.container)
            if waiting:
                waiting[0](None)

    # -- end

    def stop(self, number: int, timeout: float, done: Callable[[], None]) -> None:
        """Ask politely, then insist. One that does not run is stopped already."""
        if self.pidfd is None:
            done()
            return
        self._stopped.append(done)
        if timeout > 0:
            process.kill(self.pidfd, number)
        if self._killer:
            self._killer.cancel()
        self._killer = self._loop.after(max(timeout, 0.0), self._kill)

    def _kill(self) -> None:
        if self.pidfd is not None:
            process.kill(self.pidfd)

    def _ended(self, patience: int = 20) -> None:
        """Its process is gone, or a zombie if it is our child."""
        assert self.pidfd is not None
        if self._report is not None:
            self._reported()
        code = endings.of_child(self.pidfd)
        if code is None:
            code = endings.of_stranger(self.pidfd)
            if code is None and patience:  # PID 1 of the lab has not reaped it yet
                self._loop.forget(self.pidfd)
                self._loop.after(0.005, lambda: self._ended(patience - 1))
                return
        self._loop.forget(self.pidfd)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.container.pid, signal.SIGKILL)
        endings.reap(self.pidfd)
        os.close(self.pidfd)
        self.pidfd = None
        self._on_end(self)
        self._close_streams()
        self._finish(code)

    def kill_orphans(self, pause: int) -> None:
        """What it left running in the pod whose PID 1 is `pause`.

        Several times: the children of one that is dying just now become orphans only when it is dead.
        """
        for delay in (0.0, 0.005, 0.02, 0.1):
            self._loop.after(delay, lambda: endings.kill_orphans(pause, self._namespace))

    def _finish(self, code: int | None) -> None:
        """EXITED, and everybody hears of it. None: nobody knows how."""
        if self._killer:
            self._killer.cancel()
        if self.container.reason == "StartError":
            how: dict[str, object] = {"exit_code": 128}
        elif code is None:
            how = {"exit_code": 137, "reason": "ContainerStatusUnknown", "message": UNKNOWN}
        else:
            how = {"exit_code": code, "reason": "Error" if code else "Completed"}
        self.change(state="EXITED", finished_at=time.time(), **how)
        self._announce(self.container)
        waiting, self._stopped = self._stopped, []
        for done in waiting:
            done()

    # -- output

    def attach(self, outlets: Sequence[tuple[str, int]], *, stdin: bool) -> int | None:
        """Copy what it writes from now on to those pipes, too: (stream, descriptor), kept until its end.

        The answer is the caller's descriptor of its terminal, if it has one, or of its stdin, if asked for.
        """
        if self.container.state != "RUNNING" or self.pidfd is None:
            raise errors.Rejected(f'container "{self.container.id}" is not running')
        config = self.container.config
        if config.tty and not self._streams:
            raise errors.Rejected("the terminal was lost when the runtime restarted")
        for stream, fd in outlets:
            self._attached.add(stream, fd)
        if config.tty:
            return os.dup(next(iter(self._streams)))
        if not (stdin and config.stdin):
            return None
        if config.stdin_once:
            source, self._stdin = self._stdin, None
            return source
        with contextlib.suppress(OSError):  # it has closed it
            return output.open_stdin(self.place)
        return None

    def reopen_log(self) -> None:
        if self._log:
            self._log.reopen()

    def _open_fifos(self) -> None:
        self._streams.update((output.open_for_shim(self.place, name), name) for name in output.STREAMS)

    def _watch(self) -> None:
        assert self.pidfd is not None
        self._loop.readable(self.pidfd, self._ended)
        for fd in self._streams:
            self._loop.readable(fd, functools.partial(self._copy, fd))

    def _copy(self, fd: int) -> None:
        stream = self._streams[fd]
        if not output.drain(fd, functools.partial(self._write, stream), most=_AT_ONCE):
            self._loop.forget(fd)
        elif self._attached.full(stream):
            self._loop.forget(fd)
            self._paused.add(fd)

    def _resume(self) -> None:
        """Read on where somebody attached was slow."""
        for fd in tuple(self._paused):
            if not self._attached.full(self._streams[fd]):
                self._paused.discard(fd)
                self._loop.readable(fd, functools.partial(self._copy, fd))

    def _write(self, stream: str, data: bytes) -> None:
        try:
            if self._log:
                self._log.write(stream, data)
        except OSError as refusal:  # a full disk must not stop the pod
            log.warning("log lost container=%s error=%s", self.container.id[:12], refusal)
        self._attached.write(stream, data)

    def _close_streams(self) -> None:
        """What was written before the end is in the log before anybody hears of the end."""
        self._paused.clear()
        for fd, stream in self._streams.items():
            self._loop.forget(fd)
            output.drain(fd, functools.partial(self._write, stream))
            os.close(fd)
        self._streams.clear()
        self._attached.finish()
        if self._stdin is not None:
            os.close(self._stdin)
            self._stdin = None
        if self._log:
            with contextlib.suppress(OSError):
                self._log.close()
            self._log = None
