"""The list of kinds and verbs as a page for people: `python -m netemu.apiserver.reference > docs/api.md`.

Rendered from the tables that answer requests, so it cannot say anything else. A test compares the page.
"""

from __future__ import annotations

from collections.abc import Iterator

from netemu.api import kinds, resources
from netemu.apiserver import discovery, verbs

_HEAD = """\
# The Kubernetes API as netemu serves it

Made by `python -m netemu.apiserver.reference > docs/api.md` from the tables that answer requests; a test
checks that it is current. `kubectl api-resources` and `kubectl explain KIND --recursive` tell the same of a
running lab.

Every resource below is stored, defaulted, validated in shape, listed, watched (bookmarks, WatchList), shown
as a Table or as metadata only, patched (JSON, merge, strategic merge, server-side apply), and described by
OpenAPI v3. Requests may be JSON, YAML or protobuf; answers are JSON.
"""
_TAIL = """\
## Groups of other servers

An APIService with a `service` names a server that answers for a group and version. It is asked at the
Service's cluster IP (or external name) over TLS, checked against `caBundle` unless
`insecureSkipTLSVerify` says otherwise, every 30 seconds and when anything about it changes: the condition
Available says how that went. Requests are authorized here and passed on with the certificate
`front-proxy-client` and the user in `X-Remote-User`, `X-Remote-Group`, `X-Remote-Uid` and
`X-Remote-Extra-*`; the ConfigMap `extension-apiserver-authentication` in kube-system tells such servers
whom to trust. Discovery and OpenAPI v3 list what they say of themselves, or that it is stale. netemu's
own groups have APIServices, too (`Local`).

## Custom kinds

A CustomResourceDefinition is established as soon as it is written if no other one has its names
(`NamesAccepted`), and served: discovery, OpenAPI, validation (formats and patterns as Go reads them),
pruning, defaulting, printer columns, selectable fields, status and scale, server-side apply by its list
types, several versions, converted by a webhook if it says so (`ConversionReview` v1), quotas
(`count/<plural>.<group>`), garbage collection, and deletion with the namespace. A definition that is
deleted waits for its objects, whose finalizers are honoured. `netemu apply -f` and `netemu delete -f`
take objects of such kinds, with their definition in the same files or applied before.

`x-kubernetes-validations` are evaluated: CEL with the libraries Kubernetes adds (lists, regular
expressions, URLs, IP addresses, CIDRs, quantities, sets, formats, optional values), `messageExpression`,
`fieldPath`, `reason`, transition rules and `optionalOldSelf`. An expression is refused for syntax, names
and functions that do not exist; types are met only when it is evaluated. What has not changed is not
judged anew.

## Admission webhooks

Mutating and validating ones, over HTTPS, by URL or by Service: `rules` with subresources and `CONNECT`,
selectors, `matchPolicy: Equivalent`, `matchConditions` (CEL), `failurePolicy`, `timeoutSeconds`,
`sideEffects`, `reinvocationPolicy`; their warnings reach the client. What they change is completed and
checked by the server's own rules.

## What is different, and what is missing

- Fields are tracked (`metadata.managedFields`) from an object's creation with a `fieldManager`, or from
  its first apply on; what netemu's own loops make is not tracked, and taken over from
  `before-first-apply`.
- ValidatingAdmissionPolicies are stored and not evaluated.
- CEL: no static types, so a rule that names a field the schema has not is refused for objects only; a
  fixed bound on the work in place of upstream's cost estimate; no `authorizer`; time zones other than UTC
  fail.
- Regular expressions: Unicode classes (`\\pL`) are refused.
- Protobuf and CBOR answers: clients that ask for them are answered in JSON, which all of them accept.
- OpenAPI v2 is the smallest document that old kubectl insists on; schemas are in v3.
- The garbage collector and namespace deletion know custom kinds, not those of other servers.
- Whoever watches through a version that a webhook converts is sent away when it fails.
- Events go an hour after their last change.
"""


def render() -> str:
    """The page."""
    return "\n".join((_HEAD, *_groups(), _TAIL))


def _groups() -> Iterator[str]:
    for group, versions in sorted(discovery.group_versions(kinds.SERVED).items()):
        for version in versions:
            here = sorted(
                (kind for kind in kinds.SERVED if (kind.group, kind.version) == (group, version)),
                key=lambda kind: kind.plural,
            )
            yield f"## {here[0].api_version}\n"
            yield "| resource | kind | short | scope | verbs | subresources |\n|---|---|---|---|---|---|"
            yield from (_row(kind) for kind in here)
            yield ""


def _row(kind: kinds.Kind) -> str:
    every = set(resources.ALL_VERBS)
    shown = "all" if every <= set(kind.verbs) else ", ".join(sorted(kind.verbs))
    if len(every - set(kind.verbs)) == 1:
        shown = f"all but {next(iter(every - set(kind.verbs)))}"
    subs = ", ".join(_sub(sub) for sub in kind.subresources)
    name = f"{kind.plural} (a view of {kind.stored.api_version})" if kind.stored else kind.plural
    scope = "namespace" if kind.namespaced else "cluster"
    return f"| {name} | {kind.kind} | {', '.join(kind.short_names)} | {scope} | {shown} | {subs} |"


def _sub(sub: kinds.Subresource) -> str:
    return sub.name if verbs.serves(sub) else f"{sub.name} (not served)"


if __name__ == "__main__":
    print(render(), end="")
