"""Patches against the vectors of their RFCs, and strategic merges as kubectl sends them."""

from __future__ import annotations

import contextlib
import copy
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.wire import patches, strategic

# --- RFC 7386, appendix A, every row ---

MERGES = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("document", "patch", "expected"), MERGES)
def test_merge_patch_follows_the_rfc(document: Any, patch: Any, expected: Any) -> None:
    before = copy.deepcopy((document, patch))
    assert patches.merge(document, patch) == expected
    assert (document, patch) == before


# --- RFC 6902, appendix A (numbers of its sections) and section 4 ---

OPERATIONS = {
    "A1 add a member": ({"foo": "bar"}, [("add", "/baz", "qux")], {"baz": "qux", "foo": "bar"}),
    "A2 add an element": (
        {"foo": ["bar", "baz"]}, [("add", "/foo/1", "qux")], {"foo": ["bar", "qux", "baz"]}),
    "A3 remove a member": ({"baz": "qux", "foo": "bar"}, [("remove", "/baz")], {"foo": "bar"}),
    "A4 remove an element": ({"foo": ["bar", "qux", "baz"]}, [("remove", "/foo/1")], {"foo": ["bar", "baz"]}),
    "A5 replace": ({"baz": "qux", "foo": "bar"}, [("replace", "/baz", "boo")], {"baz": "boo", "foo": "bar"}),
    "A6 move": (
        {"foo": {"bar": "baz", "waldo": "fred"}, "qux": {"corge": "grault"}},
        [("move", "/qux/thud", "/foo/waldo")],
        {"foo": {"bar": "baz"}, "qux": {"corge": "grault", "thud": "fred"}},
    ),
    "A7 move an element": (
        {"foo": ["all", "grass", "cows", "eat"]}, [("move", "/foo/3", "/foo/1")],
        {"foo": ["all", "cows", "eat", "grass"]}),
    "A8 test": (
        {"baz": "qux", "foo": ["a", 2, "c"]}, [("test", "/baz", "qux"), ("test", "/foo/1", 2)],
        {"baz": "qux", "foo": ["a", 2, "c"]}),
    "A10 add a nested object": (
        {"foo": "bar"}, [("add", "/child", {"grandchild": {}})], {"foo": "bar", "child": {"grandchild": {}}}),
    "A14 escapes": ({"/": 9, "~1": 10}, [("test", "/~01", 10)], {"/": 9, "~1": 10}),
    "A16 add to the end": ({"foo": ["bar"]}, [("add", "/foo/-", ["abc"])], {"foo": ["bar", ["abc"]]}),
    "4.5 copy": (
        {"a": {"b": [1]}}, [("copy", "/c", "/a/b"), ("add", "/c/-", 2)], {"a": {"b": [1]}, "c": [1, 2]}),
    "4.3 replace the whole": ({"a": 1}, [("replace", "", {"b": 2})], {"b": 2}),
    "4.1 add over an existing member": ({"a": 1}, [("add", "/a", 2)], {"a": 2}),
}  # fmt: skip


def _operation(row: tuple[Any, ...]) -> dict[str, Any]:
    verb, path, *rest = row
    if verb in ("move", "copy"):
        return {"op": verb, "path": path, "from": rest[0]}
    return {"op": verb, "path": path} | ({"value": rest[0]} if rest else {})


@pytest.mark.parametrize("name", OPERATIONS)
def test_json_patch_follows_the_rfc(name: str) -> None:
    document, rows, expected = OPERATIONS[name]
    before = copy.deepcopy(document)
    assert patches.json_patch(document, [_operation(row) for row in rows]) == expected
    assert document == before


REFUSED: dict[str, tuple[Any, Any, type[Exception], str]] = {
    "A9 test fails": ({"baz": "qux"}, [("test", "/baz", "bar")], patches.Inapplicable, '"/baz" failed'),
    "A12 no such parent": (
        {"foo": "bar"},
        [("add", "/baz/bat", 1)],
        patches.Inapplicable,
        '"/baz" does not exist',
    ),
    "A15 1 is not '1'": ({"~1": 10}, [("test", "/~01", "10")], patches.Inapplicable, "another one"),
    "true is not 1": ({"a": 1}, [("test", "/a", True)], patches.Inapplicable, "another one"),
    "remove nothing": ({}, [("remove", "/a")], patches.Inapplicable, '"/a" does not exist'),
    "replace nothing": ({}, [("replace", "/a", 1)], patches.Inapplicable, '"/a" does not exist'),
    "index with a leading zero": ({"a": [1]}, [("remove", "/a/00")], patches.Inapplicable, "no index"),
    "index beyond": ({"a": [1]}, [("add", "/a/2", 1)], patches.Inapplicable, "beyond the list of 1"),
    "the end cannot be removed": ({"a": [1]}, [("remove", "/a/-")], patches.Inapplicable, "no index"),
    "move into itself": ({"a": {}}, [("move", "/a/b", "/a")], patches.Inapplicable, "into itself"),
    "unknown op": ({}, [("merge", "/a")], patches.Malformed, "unknown op 'merge'"),
    "no value": ({}, [("add", "/a")], patches.Malformed, 'no "value"'),
    "no slash": ({}, [("remove", "a")], patches.Malformed, 'must start with "/"'),
    "bad escape": ({}, [("remove", "/~2")], patches.Malformed, '"~0"'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_json_patch_refuses(name: str) -> None:
    document, rows, error, message = REFUSED[name]
    with pytest.raises(error, match=message.replace("(", r"\(")):
        patches.json_patch(document, [_operation(row) for row in rows])


def test_a_json_patch_is_a_list_of_objects() -> None:
    with pytest.raises(patches.Malformed, match="list of operations"):
        patches.json_patch({}, {"op": "add"})
    with pytest.raises(patches.Malformed, match="no object"):
        patches.json_patch({}, ["add"])
    with pytest.raises(patches.Malformed, match="at most 10000"):
        patches.json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)


# --- strategic merge: a small kind of our own ---


class Rule(NamedTuple):
    merge: bool = False
    key: str = ""
    replace: bool = False


RULES = {
    ("containers",): Rule(merge=True, key="name"),
    ("containers", "env"): Rule(merge=True, key="name"),
    ("finalizers",): Rule(merge=True),
    ("selector",): Rule(replace=True),
}


def strategically(document: Any, patch: Any) -> Any:
    before = copy.deepcopy((document, patch))
    result = strategic.merge(document, patch, lambda path: RULES.get(path, Rule()))
    assert (document, patch) == before
    return result


A, B, C = ({"name": n, "image": n} for n in "abc")

STRATEGIC: dict[str, tuple[Any, Any, Any]] = {
    "objects merge, null removes": (
        {"a": {"x": 1, "y": 2}}, {"a": {"x": None, "z": 3}}, {"a": {"y": 2, "z": 3}}),
    "null for nothing": ({}, {"a": None, "b": {"c": None}}, {"b": {}}),
    "a list without a key is replaced": ({"args": [1, 2]}, {"args": [3]}, {"args": [3]}),
    "a list with a key is merged": (
        {"containers": [A, B]}, {"containers": [{"name": "b", "image": "x"}]},
        {"containers": [A, {"name": "b", "image": "x"}]}),
    "a new item comes first, as upstream's documentation of kubectl patch shows": (
        {"containers": [A]}, {"containers": [B]}, {"containers": [B, A]}),
    "nested keys": (
        {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]},
        {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]},
        {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}, {"name": "X", "value": "1"}]}]}),
    "an item is deleted": (
        {"containers": [A, B]}, {"containers": [{"name": "a", "$patch": "delete"}]}, {"containers": [B]}),
    "deleting what is not there": (
        {"containers": [A]}, {"containers": [{"name": "z", "$patch": "delete"}]}, {"containers": [A]}),
    "a list is replaced": (
        {"containers": [A, B]}, {"containers": [{"$patch": "replace"}, C]}, {"containers": [C]}),
    "a list that replaces is taken as it is, keys that recur included": (
        {"containers": [A, B]}, {"containers": [{"$patch": "replace"}, C, C]}, {"containers": [C, C]}),
    "an object is replaced": ({"a": {"x": 1}}, {"a": {"$patch": "replace", "y": 2}}, {"a": {"y": 2}}),
    "an object is emptied": ({"a": {"x": 1}}, {"a": {"$patch": "delete"}}, {"a": {}}),
    "an object whose strategy is replace": (
        {"selector": {"x": 1}}, {"selector": {"y": 2}}, {"selector": {"y": 2}}),
    "a set of values": ({"finalizers": ["a"]}, {"finalizers": ["b", "a"]}, {"finalizers": ["b", "a"]}),
    "values deleted from a set": (
        {"finalizers": ["a", "b", "c"]}, {"$deleteFromPrimitiveList/finalizers": ["b"]},
        {"finalizers": ["a", "c"]}),
    "retained keys": (
        {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}},
        {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}, {"strategy": {"type": "Recreate"}}),
    "order alone": (
        {"containers": [A, B, C]}, {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}]},
        {"containers": [B, C, A]}),
    "order of a merge": (
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "c"}, {"name": "a"}, {"name": "b"}], "containers": [C]},
        {"containers": [C, A, B]}),
    "kubectl set image": (
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
         "containers": [{"name": "b", "image": "new"}]},
        {"containers": [A, {"name": "b", "image": "new"}]}),
    "an added item stands where a deleted one freed a place": (
        {"containers": [A, B]},
        {"$setElementOrder/containers": [{"name": "c"}],
         "containers": [C, {"name": "a", "$patch": "delete"}]},
        {"containers": [B, C]}),
    "server's own items keep their place": (
        {"containers": [A, B, C]}, {"$setElementOrder/containers": [{"name": "a"}, {"name": "c"}]},
        {"containers": [A, B, C]}),
    "directives vanish from what is new": (
        {}, {"a": {"$retainKeys": ["x"], "x": 1}, "containers": [{"name": "z", "$patch": "delete"}, A]},
        {"a": {"x": 1}, "containers": [A]}),
    "another type replaces": ({"a": [1]}, {"a": {"b": 1}}, {"a": {"b": 1}}),
}  # fmt: skip


@pytest.mark.parametrize("name", STRATEGIC)
def test_strategic_merge(name: str) -> None:
    document, patch, expected = STRATEGIC[name]
    assert strategically(document, patch) == expected


NONSENSE: dict[str, tuple[Any, Any, str]] = {
    "no merge key": ({"containers": [A]}, {"containers": [{"image": "x"}]}, "no merge key 'name'"),
    "not an object": ({"containers": [A]}, {"containers": ["x"]}, "items must be objects"),
    "unknown directive": ({}, {"$patch": "explode"}, "unknown \\$patch 'explode'"),
    "retainKeys lacks a key": ({"a": {}}, {"a": {"$retainKeys": ["x"], "y": 1}}, "does not list 'y'"),
    "order does not match": (
        {"containers": [A]}, {"$setElementOrder/containers": [{"name": "a"}], "containers": [B]},
        "does not match"),
    "order is no list": ({"containers": [A]}, {"$setElementOrder/containers": {}}, "a list is expected"),
}  # fmt: skip


@pytest.mark.parametrize("name", NONSENSE)
def test_strategic_merge_refuses(name: str) -> None:
    document, patch, message = NONSENSE[name]
    with pytest.raises(patches.Malformed, match=message):
        strategically(document, patch)


# --- laws ---

NAMES = ["a", "name", "containers", "finalizers", "$patch", "$retainKeys", "$setElementOrder/containers",
         "$deleteFromPrimitiveList/finalizers"]  # fmt: skip

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("ab$/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, JSON)
def test_a_merge_patch_applied_twice_changes_nothing_more(document: Any, patch: Any) -> None:
    once = patches.merge(document, patch)
    assert patches.merge(once, patch) == once


@given(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=4), JSON)
def test_a_strategic_patch_is_applied_or_refused(document: Any, patch: Any) -> None:
    before = copy.deepcopy(document)
    with contextlib.suppress(patches.Malformed):
        strategically(document, patch)
    assert document == before


OPERATION = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": st.text("/a0-~1", max_size=6),
    },
    optional={"value": JSON, "from": st.text("/a0-~1", max_size=4)},
)


@given(JSON, st.lists(OPERATION, max_size=4))
def test_a_json_patch_is_applied_or_refused(document: Any, operations: Any) -> None:
    before = copy.deepcopy((document, operations))
    with contextlib.suppress(patches.Malformed, patches.Inapplicable):
        patches.json_patch(document, operations)
    assert (document, operations) == before
