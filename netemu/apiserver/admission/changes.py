"""A write on its way to the store: what admission looks at and may alter."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from netemu.api import kinds
from netemu.apiserver import contexts, objects, statuses


@dataclass(frozen=True)
class Write:
    """`new` is the writer's own and altered in place; `old` is None on creation and never altered.

    `held` gives back at the end of the request what was reserved for it.
    """

    parts: contexts.Parts
    kind: kinds.Kind
    namespace: str
    new: statuses.Document
    old: statuses.Document | None = None
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def name(self) -> str:
        return objects.name(self.new)

    def forbidden(self, why: str) -> statuses.Refusal:
        """Refuse the write: `pods "web" is forbidden: ...`."""
        return statuses.forbidden(self.kind.group, self.kind.plural, self.name, why)

    def invalid(self, *causes: statuses.Cause) -> statuses.Refusal:
        return statuses.invalid(self.kind.group, self.kind.kind, self.name, causes)
