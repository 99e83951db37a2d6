"""netemu's own plugins called inside this process: the same code as the executables, without their start.

Only while an executable is, byte for byte, the one netemu installs: whoever replaces it gets his own.
The calls are made one after another on a thread, for they block and visit the container's namespace.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping
from concurrent import futures
from typing import Any

from cni import inprocess
from netemu.wire import cni

_Stamp = tuple[int, int, int, int]
_log = logging.getLogger("cni")


class Ours:
    """The thread is started with the first call."""

    def __init__(self) -> None:
        self._thread = futures.ThreadPoolExecutor(1, "cni")
        self._known: dict[str, tuple[_Stamp, str]] = {}

    def whose(self, path: str) -> str:
        """Which plugin of ours that file is; "" for anybody else's. It is read again when it has changed."""
        found = os.stat(path)
        stamp = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
        known = self._known.get(path)
        if known is None or known[0] != stamp:
            known = self._known[path] = (stamp, inprocess.whose(path))
        return known[1]

    async def call(
        self,
        name: str,
        command: str,
        environment: Mapping[str, str],
        request: Mapping[str, Any],
        timeout: float,
    ) -> dict[str, Any]:
        """The result's document ({} where there is none). cni.Failure as an executable would print it.

        TimeoutError after so many seconds: its thread is left to itself, the next call gets another. A thread
        cannot be killed; what an ADD makes after that is taken away again.
        """
        call = self._thread.submit(inprocess.call, name, command, environment, dict(request))
        try:
            async with asyncio.timeout(timeout):
                return await asyncio.wrap_future(call)
        except TimeoutError:
            self._thread.shutdown(wait=False, cancel_futures=False)
            self._thread = futures.ThreadPoolExecutor(1, "cni")
            if command == "ADD":
                call.add_done_callback(lambda late: _undo(late, name, environment, request))
            raise


def _undo(
    late: futures.Future[dict[str, Any]],
    name: str,
    environment: Mapping[str, str],
    request: Mapping[str, Any],
) -> None:
    """DEL, on the thread of an ADD that nobody waited for and that has succeeded after all."""
    if late.cancelled() or late.exception() is not None:
        return
    try:
        inprocess.call(name, "DEL", environment, dict(request))
    except cni.Failure as failure:
        _log.warning("%s DEL of %s: %s", name, environment.get("CNI_CONTAINERID"), failure)
