"""`netemu netpol` alone: what is not right is said before anything is filtered; and what it enforces."""

import logging
import os

import pytest

from netemu.base import clock
from netemu.cli import main
from netemu.netpol import admission, agent


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", "127.0.0.1:http", ":10259", "127.0.0.1:70000"])
def test_an_address_that_is_none(address, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert main.run(["netpol", "--metrics-bind-address", address]) == 2
    assert f"'{address}' is not an address and a port" in capsys.readouterr().err


def test_a_node_that_nobody_knows(caplog):
    loop = agent.Loop("wroker-1", None, admission.Gate(), clock.SystemClock(), agent.Options())
    with caplog.at_level(logging.INFO):
        loop.announce()
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING"]
    assert "NetworkPolicies=0 ClusterNetworkPolicies=0" in caplog.messages[0]
    assert "no such node node=wroker-1" in caplog.messages[1]
