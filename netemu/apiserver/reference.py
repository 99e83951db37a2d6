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
## Custom kinds

A CustomResourceDefinition is established as soon as it is written: discovery, OpenAPI, validation, pruning,
defaulting, printer columns, selectable fields, status and scale, server-side apply by its list types,
several versions.

## What is different, and what is missing

- Fields are tracked (`metadata.managedFields`) from an object's creation with a `fieldManager`, or from its
  first apply on; what netemu's own loops make is not tracked, and taken over from `before-first-apply`.
- CEL rules (`x-kubernetes-validations`, ValidatingAdmissionPolicy) are stored and not evaluated; conversion
  webhooks of custom kinds are not called: versions differ by name only.
- APIServices are stored; requests to their groups are not passed on.
- Protobuf and CBOR answers: clients that ask for them are answered in JSON, which all of them accept.
- OpenAPI v2 is the smallest document that old kubectl insists on; schemas are in v3.
- Custom objects go with their definition and with their namespace at once: their finalizers do not hold
  them then, and the garbage collector does not know their owners.
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
