"""What a node's Service proxy has programmed, as it tells at its health port. Knows HTTP; no Service.

So a balancer looks at the nodes behind it before it sends them anything (KEP-3836).
"""

from __future__ import annotations

import asyncio
import re
from typing import Protocol

from netemu.cloud import plan
from netemu.http import client, messages

PORT, HEADER = 10256, "x-netemu-programmed"
_PATIENCE = 1.0  # seconds
_TOLD = re.compile(r"services=(\d+) endpoints=(\d+)")


class Proxies(Protocol):
    async def programmed(self, node: plan.Address) -> plan.Revisions | None:
        """None when nobody there tells: it is another proxy."""
        ...


class HealthPorts:
    """Asks at the nodes' addresses."""

    async def programmed(self, node: plan.Address) -> plan.Revisions | None:
        host = f"[{node}]" if node.version == 6 else str(node)
        asked = client.Connections(f"http://{host}:{PORT}")
        try:
            async with asyncio.timeout(_PATIENCE):
                answer = await asked.send(messages.Request("GET", "/livez"))
        except (client.Unreachable, TimeoutError):
            return None
        finally:
            await asked.close()
        told = _TOLD.fullmatch(dict(answer.headers).get(HEADER, ""))
        return plan.Revisions(int(told[1]), int(told[2])) if told else None
