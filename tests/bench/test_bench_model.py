"""The benchmark of the model asks what it says it asks, and its world is one in which policies matter."""

import importlib
from pathlib import Path

import pytest

from netemu.model import expect


@pytest.fixture
def model(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    return importlib.import_module("bench.model")


def test_every_flow_once_and_both_ways_it_may_end(model):
    world = model.world(12, 60)
    asked = list(model.to_pods(world))
    assert len(asked) == len(set(asked)) == 12 * 11 * len(model._PORTS) * 2 * 2
    assert {expect.of(world).judge(flow).outcome for flow in asked} >= {"ok", "dropped"}
    asked = list(model.to_services(world))
    assert len(asked) == len(set(asked)) == 12 * len(world.services) * len(model._PORTS) * 2
    assert "ok" in {expect.of(world).judge(flow).outcome for flow in asked}


def test_it_measures(model):
    samples = model.measure(4, 4, 1)
    assert [sample.unit for sample in samples] == ["ms", "µs/flow", "µs/flow", "µs/flow"]
    assert all(value > 0 for sample in samples for value in sample.values)
