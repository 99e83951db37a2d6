"""One question to one plugin: found by its type, run as an executable, its answer or its error read.

Knows the specification's way to ask (environment, standard input and output, exit code), not what for.
A plugin that does not answer in time is killed with all it has started.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from netemu.base import errors
from netemu.kernel import process
from netemu.kubelet.cni import ours
from netemu.wire import cni, documents

# As libcni names commands in its errors.
_WORDS = {"DEL": "delete"}
_BUSY_TRIES, _BUSY_WAIT = 5, 0.1  # an executable that is just being replaced; seconds
_log = logging.getLogger("cni")


class PluginFailed(errors.NetemuError):
    """A plugin answered with an error, or not at all; `failure` has the specification's code."""

    def __init__(self, plugin: str, command: str, failure: cni.Failure) -> None:
        said = f"{failure.msg}; {failure.details}" if failure.details else failure.msg
        super().__init__(f'plugin type="{plugin}" failed ({_WORDS.get(command, command.lower())}): {said}')
        self.failure = failure


class Plugins:
    """`directories`: where executables are looked for, in that order. `timeout` in seconds.

    At most `parallel` run at once: all of them wait for one kernel lock (RTNL). `own`: where netemu's own
    plugins are called without a process; None: all are executed.
    """

    def __init__(
        self,
        directories: Sequence[str],
        *,
        parallel: int = 4,
        timeout: float = 60.0,
        own: ours.Ours | None = None,
    ) -> None:
        self._directories = tuple(directories)
        self._slots = asyncio.Semaphore(parallel)
        self._timeout = timeout
        self._own = own
        self._versions: dict[str, tuple[tuple[int, int, int], tuple[str, ...]]] = {}

    def find(self, kind: str) -> str:
        """The executable for a plugin's type. Failure when no directory has it."""
        for directory in self._directories:
            path = os.path.join(directory, kind)
            if "/" not in kind and os.path.isfile(path) and os.access(path, os.X_OK):
                return path
        where = " ".join(self._directories)
        raise cni.Failure(cni.INVALID_CONFIGURATION, f'failed to find plugin "{kind}" in path [{where}]')

    def at_hand(self, kind: str) -> bool:
        """Whether it is netemu's own, unchanged, and called without a process."""
        try:
            return self._own is not None and bool(self._own.whose(self.find(kind)))
        except (cni.Failure, OSError):
            return False

    async def versions(self, kind: str) -> tuple[str, ...]:
        """What it says it supports, as long as its file does not change; () when it does not say."""
        try:
            path = self.find(kind)
            found = os.stat(path)
        except cni.Failure as failure:
            raise PluginFailed(kind, "VERSION", failure) from None
        except OSError as problem:
            raise PluginFailed(kind, "VERSION", cni.Failure(cni.IO_FAILURE, str(problem))) from None
        stamp = (found.st_dev, found.st_ino, found.st_mtime_ns)
        known = self._versions.get(path)
        if known is None or known[0] != stamp:
            try:
                answer = await self.ask("VERSION", kind, {"cniVersion": cni.NEWEST}, {})
            except PluginFailed:
                answer = None
            said = (answer or {}).get("supportedVersions")
            known = (stamp, tuple(map(str, said)) if isinstance(said, list) else ())
            self._versions[path] = known
        return known[1]

    async def ask(
        self, command: str, kind: str, request: Mapping[str, Any], parameters: Mapping[str, str]
    ) -> dict[str, Any] | None:
        """What it printed, after ADD and VERSION; None after the others. PluginFailed.

        `parameters` are the CNI_* variables, all but the command and the path.
        """
        environment = {
            "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
            **parameters,
            "CNI_COMMAND": command,
            "CNI_PATH": ":".join(self._directories),
        }
        try:
            path = self.find(kind)
            if self._own is not None and (name := self._own.whose(path)):
                return await self._own.call(name, command, environment, request, self._timeout)
            async with self._slots:
                done = await self._execute(path, environment, documents.dump(request).encode())
        except cni.Failure as failure:
            raise PluginFailed(kind, command, failure) from None
        except TimeoutError:
            late = cni.Failure(cni.TRY_AGAIN, f"no answer within {self._timeout:g} s")
            raise PluginFailed(kind, command, late) from None
        except OSError as problem:
            raise PluginFailed(kind, command, cni.Failure(cni.IO_FAILURE, str(problem))) from None
        if done.stderr:
            _log.debug("%s %s: %s", kind, command, done.stderr.decode(errors="replace").rstrip())
        return _answer(kind, command, done)

    async def _execute(self, path: str, environment: Mapping[str, str], text: bytes) -> process.Completed:
        for _ in range(_BUSY_TRIES - 1):
            try:
                return await process.run([path], env=environment, stdin=text, timeout=self._timeout)
            except OSError as problem:
                if problem.errno != errno.ETXTBSY:
                    raise
            await asyncio.sleep(_BUSY_WAIT)
        return await process.run([path], env=environment, stdin=text, timeout=self._timeout)


def _answer(kind: str, command: str, done: process.Completed) -> dict[str, Any] | None:
    """A result after ADD and VERSION; after a failure its error (libcni's words where there is none)."""
    code, stdout, stderr = done
    if code == 0 and command not in ("ADD", "VERSION"):
        return None
    document: Any = None
    trouble = ""
    try:
        document = documents.load(stdout) if stdout.strip() else None
    except ValueError as problem:
        trouble = str(problem)
    if code == 0:
        if isinstance(document, dict):
            return document
        text = f"it printed no result: {stdout[:200].decode(errors='replace')!r}"
        raise PluginFailed(kind, command, cni.Failure(cni.DECODING_FAILURE, text))
    if isinstance(document, dict):
        raise PluginFailed(kind, command, cni.failure(document))
    ended = f"signal: {-code}" if code < 0 else f"exit status {code}"
    if stdout.strip():
        said = stdout[-500:].decode(errors="replace")
        text = f"netplugin failed but error parsing its diagnostic message {said!r}: {trouble}"
    elif stderr.strip():
        text = f"netplugin failed: {stderr[-500:].decode(errors='replace').strip()!r}"
    else:
        text = f"netplugin failed with no error message: {ended}"
    raise PluginFailed(kind, command, cni.Failure(cni.INTERNAL, text))
