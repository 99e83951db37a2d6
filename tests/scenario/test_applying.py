"""The patch that `netemu apply` sends: the three-way merge over the last-applied annotation."""

import pytest

from netemu.api import core, kinds
from netemu.scenario import applying

POD = kinds.of(core.Pod)
SERVICE = kinds.of(core.Service)


def spec(**fields):
    return {"spec": fields}


def test_nothing_changed_is_no_patch():
    live = spec(containers=[{"name": "a", "image": "x", "imagePullPolicy": "Always"}])
    wanted = spec(containers=[{"name": "a", "image": "x"}])
    assert applying.merge(POD, wanted, wanted, live) == {}


def test_what_the_server_or_others_added_stays():
    last = spec(ports=[{"port": 80}])
    live = spec(clusterIP="10.96.0.7", ports=[{"port": 80, "nodePort": 30080}])
    wanted = spec(ports=[{"port": 80, "targetPort": 8080}])
    assert applying.merge(SERVICE, last, wanted, live) == spec(ports=[{"port": 80, "targetPort": 8080}])


def test_an_item_no_longer_wanted_is_deleted_by_its_key():
    last = wanted_before = spec(containers=[{"name": "a"}, {"name": "b"}])
    live = spec(containers=[{"name": "a"}, {"name": "b"}, {"name": "injected"}])
    patch = applying.merge(POD, last, spec(containers=[{"name": "a"}]), live)
    assert patch == spec(containers=[{"name": "b", "$patch": "delete"}])
    assert wanted_before == last


def test_a_new_item_is_sent_whole():
    live = spec(containers=[{"name": "a"}])
    wanted = spec(containers=[{"name": "a"}, {"name": "b", "image": "x"}])
    assert applying.merge(POD, live, wanted, live) == spec(containers=[{"name": "b", "image": "x"}])


@pytest.mark.parametrize(
    ("last", "wanted", "live", "patch"),
    [
        ({"a": "1"}, {}, {"a": "1", "b": "2"}, {"a": None}),
        ({}, {"a": "2"}, {"a": "1"}, {"a": "2"}),
        ({"a": "1"}, {}, {}, {}),  # somebody else has removed it already
    ],
)
def test_labels(last, wanted, live, patch):
    def labelled(labels):
        return {"metadata": {"labels": labels}}

    expected = labelled(patch) if patch else {}
    assert applying.merge(POD, labelled(last), labelled(wanted), labelled(live)) == expected
