"""Writes the history of an owner's template into ControllerRevisions, as planned by `history`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from typing import Any

from netemu.api import apps, core, meta
from netemu.client import api, informers
from netemu.client import errors as api_errors
from netemu.controllers import history, views


class Revisions:
    """The ControllerRevisions of all owners of one controller."""

    def __init__(self, client: api.Client, known: informers.Informers) -> None:
        self._client = client
        self._view = views.View(known.of(apps.ControllerRevision), views.by_controller)
        self.synced: asyncio.Event = self._view.synced

    def of(self, owner: meta.Object) -> list[apps.ControllerRevision]:
        """All recorded versions of the owner."""
        return [one for one in self._view.group(owner.metadata.uid) if not self._view.is_leaving(one)]

    async def record(self, owner: Any, pods: Iterable[core.Pod]) -> apps.ControllerRevision:
        """Bring the history up to date; the version of the owner's template as it is now."""
        steps = history.plan(owner, self.of(owner), pods)
        if owner.metadata.deletionTimestamp:
            return steps.newest
        for old in steps.delete:
            with contextlib.suppress(api_errors.NotFound):
                about = old.metadata
                await self._client.delete(apps.ControllerRevision, about.name, about.namespace, uid=about.uid)
            self._view.deleted(old)
        if steps.create is not None:
            return self._view.wrote(await self._client.create(steps.create))
        if steps.raise_ is not None:
            return self._view.wrote(await self._client.update(steps.raise_))
        return steps.newest
