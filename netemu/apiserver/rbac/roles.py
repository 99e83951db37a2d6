"""The RBAC authorizer: roles and bindings as the cache has them, decisions remembered until one changes.

Knows the four kinds of rbac.authorization.k8s.io. A binding to a role that does not exist gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from netemu.api import kinds, rbac
from netemu.apiserver import authentication, authorization, cache
from netemu.apiserver.rbac import rules

GROUP = "rbac.authorization.k8s.io"
_REMEMBERED_USERS = 1024
_REMEMBERED_ANSWERS = 1024
Key = tuple[str, str, str]  # kind, namespace, name


class Binding(NamedTuple):
    """Whose rules hold where; an empty namespace is everywhere."""

    namespace: str
    role: Key
    subjects: tuple[Key, ...]


class Rights:
    """What one user may do: rules everywhere and by namespace, with the answers given so far."""

    __slots__ = ("_answers", "everywhere", "within")

    def __init__(self, everywhere: tuple[rules.Rule, ...], within: dict[str, tuple[rules.Rule, ...]]) -> None:
        self.everywhere = everywhere
        self.within = within
        self._answers: dict[authorization.Attributes, bool] = {}

    def allow(self, asked: authorization.Attributes) -> bool:
        known = self._answers.get(asked)
        if known is None:
            known = any(rules.allows(rule, asked) for rule in self.of(asked.namespace))
            if len(self._answers) >= _REMEMBERED_ANSWERS:
                self._answers.clear()
            self._answers[asked] = known
        return known

    def of(self, namespace: str) -> Iterator[rules.Rule]:
        """The rules that hold in a namespace; "" for the cluster."""
        yield from self.everywhere
        if namespace:
            yield from self.within.get(namespace, ())


class Roles:
    """An authorizer, and the one who knows anybody's rules."""

    def __init__(self, caches: cache.Cache) -> None:
        self._rules: dict[Key, tuple[rules.Rule, ...]] = {}
        self._bindings: dict[Key, Binding] = {}
        self._by_subject: dict[Key, dict[Key, Binding]] = {}
        self._rights: dict[tuple[str, tuple[str, ...]], Rights] = {}
        for kind in (rbac.ClusterRole, rbac.Role, rbac.ClusterRoleBinding, rbac.RoleBinding):
            collection = caches.of(kinds.of(kind))
            for entry in collection.all():
                self._take(entry.document())
            collection.listen(self._receive)

    def allowed(self, user: authentication.User, asked: authorization.Attributes) -> bool:
        """Whether any rule of the user permits it."""
        return self.rights(user).allow(asked)

    def rights(self, user: authentication.User) -> Rights:
        """Everything a user may do."""
        who = (user.name, user.groups)
        found = self._rights.get(who)
        if found is None:
            if len(self._rights) >= _REMEMBERED_USERS:
                self._rights.clear()
            found = self._rights[who] = self._resolve(user)
        return found

    def rules_of(self, kind: str, namespace: str, name: str) -> tuple[rules.Rule, ...] | None:
        """The rules of a Role or ClusterRole; None when it does not exist."""
        return self._rules.get((kind, namespace if kind == "Role" else "", name))

    def _resolve(self, user: authentication.User) -> Rights:
        everywhere: list[rules.Rule] = []
        within: dict[str, list[rules.Rule]] = {}
        for subject in _subjects(user):
            for binding in self._by_subject.get(subject, {}).values():
                held = within.setdefault(binding.namespace, []) if binding.namespace else everywhere
                held.extend(self._rules.get(binding.role, ()))
        return Rights(tuple(everywhere), {name: tuple(found) for name, found in within.items()})

    def _receive(self, event: cache.Event) -> None:
        self._rights.clear()
        document = event.entry.document()
        if event.type == "DELETED":
            key = _key(document)
            self._rules.pop(key, None)
            self._unbind(key)
        else:
            self._take(document)

    def _take(self, document: dict[str, Any]) -> None:
        key = _key(document)
        if key[0] in ("Role", "ClusterRole"):
            self._rules[key] = rules.read(document.get("rules"))
            return
        self._unbind(key)
        ref = document["roleRef"]
        role = (ref["kind"], key[1] if ref["kind"] == "Role" else "", ref["name"])
        subjects = tuple(_subject(found, key[1]) for found in document.get("subjects") or ())
        binding = self._bindings[key] = Binding(key[1], role, subjects)
        for subject in subjects:
            self._by_subject.setdefault(subject, {})[key] = binding

    def _unbind(self, key: Key) -> None:
        old = self._bindings.pop(key, None)
        for subject in old.subjects if old else ():
            self._by_subject[subject].pop(key, None)


def _key(document: dict[str, Any]) -> Key:
    about = document["metadata"]
    return document["kind"], about.get("namespace", ""), about["name"]


def _subject(found: dict[str, Any], namespace: str) -> Key:
    if found.get("kind") == "ServiceAccount":
        return "ServiceAccount", found.get("namespace") or namespace, found.get("name", "")
    return found.get("kind", ""), "", found.get("name", "")


def _subjects(user: authentication.User) -> Iterable[Key]:
    yield "User", "", user.name
    for group in user.groups:
        yield "Group", "", group
    parts = user.name.split(":")
    if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"]:
        yield "ServiceAccount", parts[2], parts[3]
