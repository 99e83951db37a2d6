"""A write on its way to the store: what admission looks at and may alter."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from netemu.api import kinds
from netemu.apiserver import authentication, contexts, objects, statuses

_NOBODY = authentication.User("system:apiserver", ("system:masters", authentication.AUTHENTICATED))


@dataclass(frozen=True)
class Write:
    """`new` is the writer's own and altered in place; `old` is None on creation and never altered.

    `held` gives back at the end of the request what was reserved for it. `call` is the request, which a
    write of the server's own has not; `dry`: nothing will be stored.
    """

    parts: contexts.Parts
    kind: kinds.Kind
    namespace: str
    new: statuses.Document
    old: statuses.Document | None = None
    call: contexts.Call | None = None
    dry: bool = False
    held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    @property
    def name(self) -> str:
        return objects.name(self.new)

    @property
    def user(self) -> authentication.User:
        """Who writes."""
        return self.call.user if self.call else _NOBODY

    @property
    def subresource(self) -> str:
        """What of the object is written: "" for the whole."""
        return self.call.target.subresource if self.call else ""

    def become(self, document: statuses.Document) -> None:
        """Replace all of the new object."""
        self.new.clear()
        self.new.update(document)

    def warn(self, texts: tuple[str, ...]) -> None:
        """Tell the writer."""
        if self.call:
            self.call.warnings.extend(texts)

    def forbidden(self, why: str) -> statuses.Refusal:
        """Refuse the write: `pods "web" is forbidden: ...`."""
        return statuses.forbidden(self.kind.group, self.kind.plural, self.name, why)

    def invalid(self, *causes: statuses.Cause) -> statuses.Refusal:
        return statuses.invalid(self.kind.group, self.kind.kind, self.name, causes)
