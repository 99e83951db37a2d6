"""A container's output as the log files kubelet reads (CRI logging, KEP-1602). Sans I/O but for `Log`.

2026-01-02T03:04:05.000000006Z stdout F a whole line
2026-01-02T03:04:05.000000006Z stdout P a piece of a line longer than 16 KiB
"""

import os
import time
from collections.abc import Callable

LINE_LIMIT = 16 * 1024  # as containerd's max_container_log_line_size
FILE_LIMIT = 10 * 1024 * 1024  # as kubelet's containerLogMaxSize; of the older file one is kept, too


def stamp(nanoseconds: int) -> bytes:
    """Unix time as RFC 3339 with nanoseconds, in UTC."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return time.strftime(f"%Y-%m-%dT%H:%M:%S.{fraction:09d}Z", time.gmtime(seconds)).encode()


class Lines:
    """Cuts one stream into records. What has no newline yet is kept back, as containerd does."""

    def __init__(self, stream: str) -> None:
        self._middle = b" " + stream.encode()
        self._rest = b""

    def feed(self, data: bytes, at: bytes) -> bytes:
        """The records that are complete with `data`, which came at the time `at` says."""
        whole, partial = at + self._middle + b" F ", at + self._middle + b" P "
        *lines, self._rest = (self._rest + data).split(b"\n")
        records: list[bytes] = []
        for line in lines:
            start = 0
            while len(line) - start > LINE_LIMIT:
                records += (partial, line[start : start + LINE_LIMIT], b"\n")
                start += LINE_LIMIT
            records += (whole, line[start:], b"\n")
        while len(self._rest) > LINE_LIMIT:
            records += (partial, self._rest[:LINE_LIMIT], b"\n")
            self._rest = self._rest[LINE_LIMIT:]
        return b"".join(records)

    def end(self, at: bytes) -> bytes:
        """The last line, if it lacks its newline."""
        rest, self._rest = self._rest, b""
        return at + self._middle + b" F " + rest + b"\n" if rest else b""


class Log:
    """One container's log file, open for appending. No path: nothing is written."""

    def __init__(self, path: str, now: Callable[[], int] = time.time_ns) -> None:
        self._path, self._now = path, now
        self._fd = -1
        self._size = 0
        self._streams: dict[str, Lines] = {}
        self.reopen()

    def reopen(self) -> None:
        """Go on in the file of that name, which somebody may have moved away."""
        self.close_file()
        if self._path:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            self._fd = os.open(self._path, flags, 0o640)
            self._size = os.fstat(self._fd).st_size

    def write(self, stream: str, data: bytes) -> None:
        lines = self._streams.setdefault(stream, Lines(stream))
        self._append(lines.feed(data, stamp(self._now())))

    def close(self) -> None:
        at = stamp(self._now())
        for lines in self._streams.values():
            self._append(lines.end(at))
        self.close_file()

    def close_file(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _append(self, records: bytes) -> None:
        if self._fd < 0 or not records:
            return
        if self._size > FILE_LIMIT:
            os.replace(self._path, f"{self._path}.1")
            self.reopen()
        self._size += os.write(self._fd, records)
