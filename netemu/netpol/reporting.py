"""Says for one node up to which revision policies are in force, and of its pods that theirs are.

Nothing waits for it: what cannot be written now is written with the next report.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from netemu.api import core
from netemu.base import clock, errors
from netemu.client import api
from netemu.netpol import reports

_TOGETHER = 0.02  # seconds: other nodes program the same policy now, and come first
_log = logging.getLogger("netpol")


class Reporter:
    """`programmed` takes down what is true; `run` writes the latest of it."""

    def __init__(self, client: api.Client, node: str, time: clock.Clock) -> None:
        self._client, self._node, self._clock = client, node, time
        self._report = reports.Report()
        self._written = reports.Report()
        self._pods: dict[str, core.Pod] = {}
        self._told: set[str] = set()
        self._wake = asyncio.Event()

    def programmed(self, revisions: Iterable[str], policed: Iterable[core.Pod]) -> None:
        """Policies up to these revisions are in force (of both kinds; "" is none), on these pods, too."""
        policies, cluster = (int(text) if text.isdigit() else 0 for text in revisions)
        if (policies, cluster) != self._report[:2]:
            self._report = reports.Report(policies, cluster, self._clock.now())
            self._wake.set()
        for pod in policed:
            if pod.metadata.uid not in self._told:
                self._told.add(pod.metadata.uid)
                self._pods[pod.metadata.uid] = pod
                self._wake.set()

    async def run(self) -> None:
        """Write for ever."""
        while True:
            await self._wake.wait()
            await self._clock.sleep(_TOGETHER)
            self._wake.clear()
            try:
                await self._write()
            except errors.NetemuError as error:
                _log.debug("not reported: %s", error)

    async def _write(self) -> None:
        report = self._report
        if report != self._written:
            noted = {"metadata": {"annotations": {reports.NODE: str(report)}}}
            await self._client.patch(core.Node, self._node, body=noted)
            self._written = report
        while self._pods:
            _, pod = self._pods.popitem()
            now = clock.rfc3339(self._clock.now())
            condition = {
                "type": reports.CONDITION,
                "status": "True",
                "reason": "Programmed",
                "lastTransitionTime": now,
            }
            about = pod.metadata
            body = {"status": {"conditions": [condition]}}
            await self._client.patch(
                core.Pod, about.name, about.namespace, body=body, how="strategic", subresource="status"
            )


def wants(pod: core.Pod, *, policed: bool) -> bool:
    """Whether the pod is to hear of it: policies select it, or its readiness waits for it."""
    gates = (gate.conditionType for gate in pod.spec.readinessGates)
    if not policed and reports.CONDITION not in gates:
        return False
    return not any(c.type == reports.CONDITION and c.status == "True" for c in pod.status.conditions)
