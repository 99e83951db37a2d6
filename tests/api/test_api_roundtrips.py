"""Laws of reading and writing, for every kind and for any JSON at all."""

from __future__ import annotations

import base64
import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.api import codec, core, defaults, fields, kinds, meta, schema, shapes, tables, validation
from netemu.base import errors

TEXTS = st.text('abcdefgh-./=é"\\ 0', max_size=6)
SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "string": TEXTS,
    "duration": st.sampled_from(["1s", "2m0s"]),
    "boolean": st.booleans(),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(-1e6, 1e6),
    "int-or-string": st.integers(0, 70000) | TEXTS,
    "quantity": st.sampled_from(["0", "100m", "1.5", "64Mi", "2e3", "1k"]),
    "date-time": st.sampled_from(["2026-01-02T03:04:05Z", "2026-01-02T03:04:05+02:00"]),
    "micro-time": st.sampled_from(["2026-01-02T03:04:05.123456Z"]),
    "byte": st.binary(max_size=4).map(lambda data: base64.b64encode(data).decode()),
    "raw": st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | TEXTS,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXTS, inner, max_size=2),
        max_leaves=4,
    ),
}


def documents(record: type[fields.Record], depth: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    """A JSON document of the type, a few of its fields set."""
    properties = [p for p in shapes.of(record).properties.values() if p.name not in ("kind", "apiVersion")]
    if depth == 0 or not properties:
        return st.just({})

    @st.composite
    def draw(pick: Any) -> dict[str, Any]:
        chosen = pick(st.lists(st.sampled_from(properties), max_size=4, unique_by=lambda p: p.name))
        return {p.name: pick(values(p.shape, depth - 1)) for p in chosen}

    return draw()


def values(shape: shapes.Shape, depth: int) -> st.SearchStrategy[Any]:
    if shape.record:
        return documents(shape.record, depth)
    if shape.items:
        return st.lists(values(shape.items, depth), max_size=2)
    if shape.values:
        return st.dictionaries(TEXTS, values(shape.values, depth), max_size=2)
    return SCALARS[shape.scalar]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["metadata", "spec", "status", "name", "containers", "ports", "labels", "x", "limits", "cpu",
             "template", "resources", "creationTimestamp", "replicas", "data", "endpoints"]
        )
        | TEXTS,
        inner,
        max_size=4,
    ),
    max_leaves=15,
)  # fmt: skip


EVERY = kinds.SERVED
KINDS = st.sampled_from(EVERY)


@st.composite
def objects(draw: Any) -> tuple[kinds.Kind, dict[str, Any]]:
    kind = draw(KINDS)
    return kind, draw(documents(kind.type))


@given(objects())
@settings(max_examples=300, deadline=None)
def test_what_is_written_is_read_again(drawn: tuple[kinds.Kind, dict[str, Any]]) -> None:
    kind, document = drawn
    record = codec.convert(kind.type, document)
    text = codec.encode(record)
    assert codec.decode(kind.type, text) == record
    written = codec.document(record)
    assert (written["kind"], written["apiVersion"]) == (kind.kind, kind.api_version)
    # A record and its document say the same once both are in normal form.
    assert schema.normalise(kind, written) == schema.normalise(kind, document)


@given(objects())
@settings(max_examples=200, deadline=None)
def test_a_fitting_document_has_no_problems(drawn: tuple[kinds.Kind, dict[str, Any]]) -> None:
    kind, document = drawn
    assert schema.problems(kind, document) == ()
    assert schema.unknown(kind, document) == ()
    assert schema.prune(kind, document) == document


@given(objects())
@settings(max_examples=200, deadline=None)
def test_defaults_settle_at_once_and_leave_the_input_alone(drawn: tuple[kinds.Kind, dict[str, Any]]) -> None:
    kind, document = drawn
    before = codec.dumps(document)
    once = defaults.apply(kind, document)
    assert defaults.apply(kind, once) == once
    assert codec.dumps(document) == before
    assert schema.problems(kind, once) == ()


@given(objects(), objects())
@settings(max_examples=200, deadline=None)
def test_rules_and_tables_take_whatever_fits(
    drawn: tuple[kinds.Kind, dict[str, Any]], other: tuple[kinds.Kind, dict[str, Any]]
) -> None:
    kind, document = drawn
    new = defaults.apply(kind, document)
    for found in validation.check(kind, new):
        assert found.reason.startswith("FieldValue")
        assert found.message
    validation.check(kind, new, new)
    if other[0] is kind:
        validation.check(kind, new, defaults.apply(kind, other[1]))
    row = tables.cells(kind, new, 1.8e9)
    assert len(row) == len(tables.columns(kind))


@given(KINDS, ANY_JSON)
@settings(max_examples=400, deadline=None)
def test_any_json_is_judged_never_a_bug(kind: kinds.Kind, document: Any) -> None:
    wrong = schema.problems(kind, document)
    strange = schema.unknown(kind, document)
    assert all(isinstance(path, str) for path in strange)
    if isinstance(document, dict):
        normal = schema.normalise(kind, document)
        if not wrong:  # then it can be read, and is stable
            codec.convert(kind.type, normal)
            assert schema.normalise(kind, normal) == normal
            assert schema.unknown(kind, schema.prune(kind, document)) == ()
    else:
        assert wrong or document is None


@given(st.binary(max_size=40))
def test_any_bytes_are_json_or_refused(data: bytes) -> None:
    with contextlib.suppress(errors.Rejected):
        schema.read(data)


def test_deep_json_is_refused_not_crashed() -> None:
    for depth in (500, 5_000, 200_000):
        for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
            data = opening * depth + b"1" + closing * depth
            with contextlib.suppress(errors.Rejected):
                schema.read(data)


def test_null_is_absent() -> None:
    text = b'{"metadata":{"name":"a","creationTimestamp":null},"spec":{"containers":null,"nodeName":null}}'
    assert codec.decode(core.Pod, text) == core.Pod(metadata=meta.ObjectMeta(name="a"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b'{"spec":{"nodeName":3}}', "not a valid Pod"),
        (b'{"spec":', "not a valid Pod"),
        (b"[]", "not a valid Pod"),
        (b'{"metadata":{"name":"\xff"}}', "not a valid Pod"),
    ],
)
def test_what_does_not_fit_is_rejected(text: bytes, message: str) -> None:
    with pytest.raises(errors.Rejected, match=message):
        codec.decode(core.Pod, text)


def test_words_of_python_are_renamed_only_in_python() -> None:
    options = codec.decode(meta.ListMeta, b'{"continue":"abc"}')
    assert options.continue_ == "abc"
    assert codec.encode(options) == b'{"continue":"abc"}'
