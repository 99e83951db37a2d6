"""Nobody gives rights away that he has not: roles and bindings are written only within the writer's own.

Follows k8s.io/kubernetes pkg/registry/rbac/*/policybased: `escalate` on the role and `bind` on the role
referred to are the ways around it.
"""

from __future__ import annotations

from netemu.apiserver import authorization, statuses
from netemu.apiserver.admission import changes
from netemu.apiserver.rbac import authorizer, roles, rules

_SHOWN = 8


async def role(write: changes.Write) -> None:
    """A (Cluster)Role's rules are covered by the writer's. A binding's role cannot be exchanged. Refusal."""
    deciding = _deciding(write)
    if deciding is None:
        return
    wanted = rules.read(write.new.get("rules"))
    aggregates = write.new.get("aggregationRule")
    if write.old is not None:
        same = wanted == rules.read(write.old.get("rules"))
        if same and aggregates == write.old.get("aggregationRule"):
            return
    if _allowed(write, "escalate", write.kind.plural, write.name):
        return
    if aggregates:
        everything = (rules.Rule(("*",), ("*",), ("*",)), rules.Rule(("*",), urls=("*",)))
        if missing := rules.uncovered(_held(deciding, write), everything):
            raise _refused(write, missing, "must have cluster-admin privileges to use the aggregationRule")
    if missing := rules.uncovered(_held(deciding, write), wanted):
        raise _refused(write, missing, "")


async def binding(write: changes.Write) -> None:
    """Who binds a role has its rights, or may bind it. Refusal."""
    ref = write.new.get("roleRef") or {}
    if write.old is not None and ref != write.old.get("roleRef"):
        cause = statuses.Cause("FieldValueInvalid", "Invalid value: cannot change roleRef", "roleRef")
        raise write.invalid(cause)
    deciding = _deciding(write)
    if deciding is None:
        return
    if write.old is not None and write.new.get("subjects") == write.old.get("subjects"):
        return
    plural = "roles" if ref.get("kind") == "Role" else "clusterroles"
    if _allowed(write, "bind", plural, ref.get("name", "")):
        return
    wanted = deciding.rules_of(ref.get("kind", ""), write.namespace, ref.get("name", ""))
    if wanted is None:
        raise statuses.not_found(roles.GROUP, plural, ref.get("name", ""))
    if missing := rules.uncovered(_held(deciding, write), wanted):
        raise _refused(write, missing, "")


def _deciding(write: changes.Write) -> roles.Roles | None:
    """Who knows the rules; None when they do not bind the writer."""
    found = write.parts.authorizer
    if authorizer.MASTERS in write.user.groups or not isinstance(found, authorizer.Authorizer):
        return None
    return found.roles


def _held(deciding: roles.Roles, write: changes.Write) -> list[rules.Rule]:
    return list(deciding.rights(write.user).of(write.namespace))


def _allowed(write: changes.Write, verb: str, plural: str, name: str) -> bool:
    asked = authorization.Attributes(verb, roles.GROUP, plural, "", write.namespace, name)
    return write.parts.authorizer.allowed(write.user, asked)


def _refused(write: changes.Write, missing: list[rules.Rule], why: str) -> statuses.Refusal:
    groups = _quoted(write.user.groups)
    text = "\n".join(_shown(rule) for rule in missing[:_SHOWN])
    more = f"\n... and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    who = f'user "{write.user.name}" (groups=[{groups}])'
    told = f"{who} is attempting to grant RBAC permissions not currently held"
    return write.forbidden(f"{why}: {told}:\n{text}{more}" if why else f"{told}:\n{text}{more}")


def _shown(rule: rules.Rule) -> str:
    """As upstream prints a rule in this message: {APIGroups:[""], Resources:["pods"], Verbs:["get"]}."""
    fields = (
        ("APIGroups", rule.groups),
        ("Resources", rule.resources),
        ("ResourceNames", rule.names),
        ("NonResourceURLs", rule.urls),
        ("Verbs", rule.verbs),
    )
    listed = (f"{name}:[{_quoted(values)}]" for name, values in fields if values)
    return "{" + ", ".join(listed) + "}"


def _quoted(values: tuple[str, ...]) -> str:
    return " ".join(f'"{value}"' for value in values)
