"""Request bodies as documents: JSON, YAML or protobuf in, checked against the kind's schema.

Knows media types and fieldValidation. Nothing that gets past here has a value of the wrong type.
"""

from __future__ import annotations

from typing import Any

from netemu.api import kinds, meta, schema
from netemu.apiserver import protobufs, statuses
from netemu.base import errors
from netemu.http import messages

Document = statuses.Document
_ACCEPTED = ("application/json", "application/yaml", "application/vnd.kubernetes.protobuf")


def media(request: messages.Request) -> str:
    """The media type of the body, without parameters; JSON when none is given."""
    return request.header("content-type").partition(";")[0].strip().lower() or "application/json"


def read(request: messages.Request, kind: kinds.Kind) -> tuple[Document, tuple[str, ...]]:
    """The document in the body, and the paths of keys that stand twice. BadRequest, UnsupportedMediaType."""
    type = media(request)
    duplicates: tuple[str, ...] = ()
    try:
        if type in ("application/json", "text/json"):
            if request.parameter("fieldValidation") != "Ignore":
                document, duplicates = schema.read(request.body)
            else:
                document = _json(request.body)
        elif type in ("application/yaml", "text/yaml", "application/x-yaml"):
            document, duplicates = _yaml(request.body)
        elif type == "application/vnd.kubernetes.protobuf" and kind.custom is None:
            document = protobufs.decode(kind.type, request.body)
        else:
            raise statuses.unsupported_media(_ACCEPTED)
    except errors.Rejected as error:
        raise statuses.bad_request(error.message) from None
    return _object(document), duplicates


def _json(data: bytes) -> Any:
    import msgspec

    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise statuses.bad_request(f"malformed JSON: {error}") from None


def _yaml(data: bytes) -> tuple[Any, tuple[str, ...]]:
    from netemu.apiserver import yamls

    try:
        return yamls.read(data)
    except errors.Rejected as error:
        raise statuses.bad_request(error.message) from None


def read_yaml(data: bytes) -> tuple[Document, tuple[str, ...]]:
    """A document in YAML, or in JSON, which is read faster, and keys that stand twice. BadRequest."""
    if data.lstrip()[:1] == b"{":
        try:
            document, duplicates = schema.read(data)
            return _object(document), duplicates
        except errors.Rejected:
            pass  # YAML has braces, too
    document, duplicates = _yaml(data)
    return _object(document), duplicates


def _object(document: Any) -> Document:
    if not isinstance(document, dict):
        raise statuses.bad_request("couldn't get version/kind; the body is not an object")
    return document


def fit(
    document: Document,
    kind: kinds.Kind,
    request: messages.Request,
    *,
    duplicates: tuple[str, ...] = (),
    patched: bool = False,
    known: Document | None = None,
) -> tuple[Document, tuple[str, ...]]:
    """The document, every value of the right type, and warnings. BadRequest, Invalid, by fieldValidation.

    Fields the kind does not have are still in it; `schema.normalise` and `defaults.apply` leave them out.
    What is equal in `known`, the stored object, is not looked at again.
    """
    given, named = document.get("apiVersion") or kind.api_version, document.get("kind") or kind.kind
    if (given, named) != (kind.api_version, kind.kind):
        raise statuses.bad_request(
            f"the object provided is {given} {named}, but {kind.api_version} {kind.kind} was expected"
        )
    try:
        fresh = document if known is None else _unlike(document, known)
        wrong = schema.problems(kind, fresh)
    except RecursionError:
        raise statuses.bad_request("the object is nested too deeply") from None
    if wrong:
        raise _wrong(kind, document, wrong, patched=patched)
    strictness = request.parameter("fieldValidation") or "Warn"
    if strictness not in ("Strict", "Warn", "Ignore"):
        raise statuses.Refusal(
            422,
            "Invalid",
            f'fieldValidation: Unsupported value: "{strictness}": supported: "Ignore", "Strict", "Warn"',
        )
    warnings: tuple[str, ...] = ()
    if strictness != "Ignore":
        strange = [f'unknown field "{path}"' for path in schema.unknown(kind, fresh)]
        warnings = (*strange, *(f'duplicate field "{path}"' for path in duplicates))
    if warnings and strictness == "Strict":
        why = f"strict decoding error: {', '.join(warnings)}"
        if patched:
            raise statuses.invalid(kind.group, kind.kind, _name(document), [_cause("patch", why)])
        raise statuses.bad_request(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'
        )
    return _with_metadata(document), warnings


def take(request: messages.Request, kind: kinds.Kind) -> Document:
    """The body of a request that is answered and not stored, in its normal form. BadRequest."""
    given, duplicates = read(request, kind)
    document, _ = fit(given, kind, request, duplicates=duplicates)
    return schema.normalise(kind, document)


def _unlike(document: Document, known: Document) -> Document:
    return {key: value for key, value in document.items() if key not in known or known[key] != value}


def _with_metadata(document: Document) -> Document:
    return document if document.get("metadata") is not None else {**document, "metadata": {}}


def _wrong(
    kind: kinds.Kind, document: Document, wrong: tuple[schema.Problem, ...], *, patched: bool
) -> statuses.Refusal:
    if patched:
        causes = [_cause(problem.path, problem.message) for problem in wrong]
        return statuses.invalid(kind.group, kind.kind, _name(document), causes)
    why = "; ".join(problem.message for problem in wrong[:5])
    return statuses.bad_request(
        f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: {why}'
    )


def _cause(field: str, why: str) -> statuses.Cause:
    return statuses.Cause("FieldValueInvalid", f"Invalid value: {why}", field)


def _name(document: Document) -> str:
    about = document.get("metadata")
    name = about.get("name", "") if isinstance(about, dict) else ""
    return name if isinstance(name, str) else ""


def warned(headers: messages.Fields, warnings: tuple[str, ...]) -> messages.Fields:
    """Response headers with warnings (RFC 7234 warn-code 299), as kubectl prints them."""
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in warnings[:20])
    return (*headers, *(("warning", f'299 - "{text}"') for text in quoted))


def read_options(request: messages.Request) -> tuple[Document, tuple[str, ...]]:
    """The DeleteOptions in a body."""
    type = media(request)
    if type == "application/vnd.kubernetes.protobuf":
        try:
            return _object(protobufs.decode(meta.DeleteOptions, request.body)), ()
        except errors.Rejected as error:
            raise statuses.bad_request(error.message) from None
    return _object(_yaml(request.body)[0] if "yaml" in type else _json(request.body)), ()
