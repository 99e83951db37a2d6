"""Which sandboxes of this node have which addresses, and who waits until their pods are policed.

A runtime asks here before it starts a pod's first process, so that the pod's first packet meets its policies.
Knows neither policies nor pods beyond their names.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import NamedTuple

from netemu.netpol import terms


class Attachment(NamedTuple):
    """A sandbox on the pod network, the pod it is of, and the addresses it was given."""

    sandbox: str
    pod: terms.Key
    uid: str
    addresses: tuple[terms.Address, ...]


class Gate:
    """`existing` tells the sandboxes there are when the agent begins: some may run already."""

    def __init__(self, existing: Callable[[], Awaitable[Iterable[Attachment]]] | None = None) -> None:
        self.changed: Callable[[terms.Key], None] = lambda _: None
        self._existing = existing
        self._attached: dict[str, Attachment] = {}
        self._waiting: dict[str, asyncio.Event] = {}

    async def open(self) -> None:
        """Learn what is there. Before it, nobody is let through."""
        for attachment in await self._existing() if self._existing is not None else ():
            self._attached.setdefault(attachment.sandbox, attachment)
            self._waiting.setdefault(attachment.sandbox, asyncio.Event())

    def attached(self, pod: terms.Key) -> tuple[Attachment, ...]:
        """The sandboxes that this pod, or one of its name before it, has here."""
        return tuple(one for one in self._attached.values() if one.pod == pod)

    async def admit(self, attachment: Attachment) -> None:
        """Return when the pod's policies are in force on these addresses."""
        self._attached[attachment.sandbox] = attachment
        event = self._waiting.setdefault(attachment.sandbox, asyncio.Event())
        self.changed(attachment.pod)
        await event.wait()

    async def admitted(self, sandbox: str) -> None:
        """The same for a sandbox that has been told of; at once for any other (of a node's own network)."""
        event = self._waiting.get(sandbox)
        if event is not None:
            await event.wait()

    def waiting(self) -> tuple[Attachment, ...]:
        """Those who are not let through yet."""
        closed = (sandbox for sandbox, event in self._waiting.items() if not event.is_set())
        return tuple(self._attached[sandbox] for sandbox in closed)

    def let(self, attachments: Iterable[Attachment]) -> None:
        """Their policies are in force."""
        for attachment in attachments:
            self._waiting[attachment.sandbox].set()

    def release(self, sandbox: str) -> None:
        """The sandbox has no network any more."""
        attachment = self._attached.pop(sandbox, None)
        event = self._waiting.pop(sandbox, None)
        if event is not None:
            event.set()
        if attachment is not None:
            self.changed(attachment.pod)
