"""Label and field selectors, as upstream parses and matches them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.api import apps, core, kinds, meta, selectors
from netemu.base import errors

LABELS = {"app": "web", "tier": "front", "n": "5"}

MATCHES = [
    ("", True), ("app=web", True), ("app==web", True), ("app!=web", False), ("app=db", False), ("x!=1", True),
    ("app in (db, web)", True), ("app notin (web)", False), ("x notin (web)", True), ("x in (a)", False),
    ("app", True), ("x", False), ("!x", True), ("!app", False), ("n>4", True), ("n>5", False), ("n<6", True),
    ("app>1", False), ("x<1", False), ("app=web,tier=front", True), ("app=web , tier=back", False),
    ("app in (web),!x,n", True), ("x=", False), ("app=,tier=front", False), ("x in (,a)", False),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MATCHES)
def test_label_selectors(text: str, expected: bool) -> None:
    assert selectors.labels(text).matches(LABELS) is expected


def test_an_empty_value_matches_an_empty_label() -> None:
    assert selectors.labels("x=").matches({"x": ""})
    assert selectors.labels("x in (,a)").matches({"x": ""})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("=a", "expected: identifier"),
        ("a=b,", "expected: identifier"),
        ("a in b", r"expected: '\('"),
        ("a in (b", r"expected: ',' or '\)'"),
        ("a=b c", "expected: ',' or 'end of string'"),
        ("a b", "expected: in, notin, =, ==, !=, gt, lt"),
        ("-a=b", 'key: Invalid value: "-a"'),
        ("a=-b", 'Invalid value: "-b"'),
        ("a>x", "the value must be an integer"),
        ("!a=b", "expected: ',' or 'end of string'"),
    ],
)
def test_malformed_label_selectors(text: str, message: str) -> None:
    with pytest.raises(errors.Rejected, match=message):
        selectors.labels(text)


WORDS = st.sampled_from(
    ["a", "b", "in", "notin", "app", "(", ")", ",", "=", "==", "!=", "!", "<", ">", " ", "-", "é"]
)


@given(
    st.lists(WORDS, max_size=8).map("".join), st.dictionaries(st.sampled_from("ab"), st.sampled_from("ab"))
)
def test_any_selector_is_parsed_or_refused_and_reads_back(text: str, labels: dict[str, str]) -> None:
    try:
        selector = selectors.labels(text)
    except errors.Rejected:
        return
    again = selectors.labels(str(selector))
    assert again.matches(labels) is selector.matches(labels)
    assert str(again) == str(selector)


def _expression(key: str, operator: str, *values: str) -> meta.LabelSelectorRequirement:
    return meta.LabelSelectorRequirement(key=key, operator=operator, values=values)


def test_label_selector_objects() -> None:
    assert not selectors.of(None).matches({})
    assert selectors.of(meta.LabelSelector()).matches({})
    found = selectors.of(
        meta.LabelSelector(
            matchLabels={"app": "web"},
            matchExpressions=(
                _expression("tier", "In", "front", "back"),
                _expression("x", "DoesNotExist"),
                _expression("n", "Exists"),
                _expression("y", "NotIn", "1"),
            ),
        )
    )
    assert found.matches(LABELS)
    assert not found.matches(LABELS | {"x": ""})
    assert str(found) == "app=web,n,tier in (back,front),!x,y notin (1)"
    with pytest.raises(errors.Rejected, match="not a valid label selector operator"):
        selectors.of(meta.LabelSelector(matchExpressions=(_expression("a", "Like", "b"),)))


def test_a_plain_map_selects_exactly() -> None:
    assert selectors.exactly({"app": "web", "n": "5"}).matches(LABELS)
    assert not selectors.exactly({"app": "web", "x": "1"}).matches(LABELS)


# --- fields ---

POD: dict[str, Any] = {
    "metadata": {"name": "a", "namespace": "ns"},
    "spec": {"nodeName": "w1", "restartPolicy": "Always"},
    "status": {"phase": "Running", "podIP": "10.0.0.1"},
}

FIELDS = [
    ("", True), ("metadata.name=a", True), ("metadata.name!=a", False), ("metadata.namespace==ns", True),
    ("spec.nodeName=w1,status.phase!=Failed", True), ("spec.nodeName=w1,status.phase=Failed", False),
    ("spec.host=w1", True), ("spec.hostNetwork=false", True), ("spec.hostNetwork=true", False),
    ("status.nominatedNodeName=", True), ("status.podIP=10.0.0.1", True),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), FIELDS)
def test_field_selectors_of_pods(text: str, expected: bool) -> None:
    assert selectors.fields(kinds.of(core.Pod), text).matches(POD) is expected


def test_absent_fields_count_as_their_zero_value() -> None:
    node = kinds.of(core.Node)
    assert selectors.fields(node, "spec.unschedulable=false").matches({"spec": {}})
    assert selectors.fields(node, "spec.unschedulable=true").matches({"spec": {"unschedulable": True}})
    assert selectors.fields(kinds.of(apps.ReplicaSet), "status.replicas=0").matches({})


def test_other_kinds() -> None:
    service = kinds.of(core.Service)
    assert not selectors.fields(service, "spec.clusterIP!=None").matches({"spec": {"clusterIP": "None"}})
    event = kinds.of(core.Event)
    document = {"involvedObject": {"name": "a", "kind": "Pod"}, "reportingComponent": "kubelet", "source": {}}
    assert selectors.fields(event, "involvedObject.name=a,source=kubelet").matches(document)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        (core.Pod, "spec.image=x", "field label not supported: spec.image"),
        (core.Node, "metadata.namespace=x", "field label not supported: metadata.namespace"),
        (core.Pod, "metadata.name", "invalid field selector"),
    ],
)
def test_fields_that_cannot_be_selected(kind: Any, text: str, message: str) -> None:
    with pytest.raises(errors.Rejected, match=message):
        selectors.fields(kinds.of(kind), text)


def test_escapes_and_the_value_a_selector_demands() -> None:
    selector = selectors.fields(kinds.of(core.Event), r"involvedObject.fieldPath=a\,b\=c,reason!=x")
    assert selector.required("involvedObject.fieldPath") == "a,b=c"
    assert selector.required("reason") is None
    assert str(selectors.fields(kinds.of(core.Pod), "metadata.name=a,status.phase!=x")) == (
        "metadata.name=a,status.phase!=x"
    )
