"""How single probe answers become a verdict. Pure: thresholds and counting, no time and no network."""

from __future__ import annotations

from typing import NamedTuple

from netemu.api import core


class Count(NamedTuple):
    """`verdict`: yes, no, or (None) not known yet; `run`: how often the last answer came in a row."""

    verdict: bool | None = None
    last: bool | None = None
    run: int = 0


def counted(before: Count, probe: core.Probe, *, well: bool) -> Count:
    """Take one more answer in: a verdict changes when its threshold is reached."""
    run = before.run + 1 if before.last is well else 1
    needed = (probe.successThreshold if well else probe.failureThreshold) or (1 if well else 3)
    verdict = well if run >= needed else before.verdict
    return Count(verdict, well, run)
