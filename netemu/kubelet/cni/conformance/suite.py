"""The conformance suite, run on one executable in namespaces that end with it."""

from __future__ import annotations

import asyncio
import json
import os
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

from netemu.base import errors
from netemu.kernel import process
from netemu.kubelet.cni.conformance import cases, stage, subjects, trials

TIMEOUT = 20.0  # seconds a call may take


class Row(NamedTuple):
    """One rule. `outcome` is "ok", "failed" or "n/a" (it cannot be asked of this plugin); `why` not ok."""

    section: str
    rule: str
    outcome: str
    why: str


def examine(
    path: str,
    directories: Sequence[str],
    *,
    config: dict[str, Any] | None = None,
    part: str = "",
    timeout: float = TIMEOUT,
) -> tuple[Row, ...]:
    """Try an executable out. `directories`: where it, and the suite, find other plugins.

    Forks: the caller must have one thread. Rejected for a plugin nobody knows how to configure, or without
    the rights to make namespaces.
    """
    subject = subjects.subject(os.path.basename(path), config, part)
    base = next((f"{d}/bridge" for d in directories if os.access(f"{d}/bridge", os.X_OK)), "")
    if subject.part == subjects.CHAINED and not base:
        raise errors.Rejected("a chained plugin is tried behind `bridge`, which is in no plugin directory")
    reading, writing = os.pipe()

    def child() -> None:
        os.close(reading)
        with os.fdopen(writing, "w", encoding="utf-8") as channel:
            try:
                stage.enter((os.path.dirname(path), *directories))
                where = stage.Stage(path, directories, timeout)
                rows: Any = asyncio.run(_all(trials.Trial(where, subject, base)))
            except PermissionError as refusal:
                rows = {"message": f"namespaces cannot be made: {refusal.strerror}", "hint": "it needs root"}
            except Exception:
                rows = {"message": traceback.format_exc(), "hint": "this is a bug in netemu"}
            json.dump(rows, channel)

    pid = process.fork(child)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as channel:
        text = channel.read()
    os.waitpid(pid, 0)
    found = json.loads(text) if text else {"message": "the suite was killed", "hint": ""}
    if isinstance(found, dict):
        raise errors.Rejected(found["message"], hint=found["hint"])
    return tuple(Row(*row) for row in found)


async def _all(on: trials.Trial) -> list[Row]:
    return [Row(case.section, case.rule, *await cases.judge(case, on)) for case in cases.CASES]
