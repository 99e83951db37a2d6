"""The pytest plugin as a user's project has it: a conftest-less directory, a few lines a test."""

import os

import pytest

pytest_plugins = ["pytester"]

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: c
    image: registry.k8s.io/e2e-test-images/agnhost:2.53
    args: [netexec, --http-port=80]
    ports: [{containerPort: 80}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers: [{name: c, image: registry.k8s.io/e2e-test-images/agnhost:2.53, args: [pause]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 8080, targetPort: 80}], ipFamilyPolicy: PreferDualStack}
"""
DENY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny-all}
spec: {podSelector: {matchLabels: {app: web}}}
"""
TESTS = """
import pytest
from scapy.layers.inet import ICMP, TCP

pytestmark = pytest.mark.netemu(manifests="pods.yaml", nodes=1)


def test_reached_by_service_and_by_address(connectivity):
    found = connectivity("client", "web:8080")
    assert found.ok
    assert found.endpoints == {"web"}
    assert connectivity("client", "pod/web:80", family=6).ok


def test_what_passes(connectivity, sniff):
    with sniff("web", wanted=ICMP) as packets:
        assert connectivity("client", "pod/web", protocol="ICMP", family=4)
        packets.wait(2)
    assert {packet[ICMP].type for packet in packets} >= {0, 8}


def test_a_policy(netemu_lab, connectivity):
    netemu_lab.apply("deny.yaml")
    assert connectivity("client", "web:8080").dropped


def test_that_fails(connectivity):
    assert connectivity("client", "pod/web:80").ok
"""


@pytest.fixture
def arguments(request):
    """The plugin comes by its entry point; by name where netemu is not installed anew since it has one."""
    installed = request.config.pluginmanager.has_plugin("netemu")
    return ["-p", "no:cacheprovider", *(() if installed else ("-p", "netemu.pytest_plugin"))]


@pytest.mark.lab
def test_a_project_that_uses_it(pytester, monkeypatch, tmp_path, arguments):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path / "labs"))
    pytester.makefile(".yaml", pods=PODS, deny=DENY)
    pytester.makepyfile(test_shop=TESTS)
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=3, failed=1)
    output = result.stdout.str()
    assert "<client -> pod/web:80: dropped, as the model says" in output
    assert "measured, and what the model says" in output
    assert "default/deny-all" in output
    assert not (tmp_path / "labs").exists() or not os.listdir(tmp_path / "labs")


def test_without_root_the_tests_are_skipped_and_say_why(pytester, monkeypatch, arguments):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    pytester.makepyfile(test_shop="def test_any(connectivity):\n    assert False\n")
    result = pytester.runpytest_inprocess("-rs", *arguments)
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*netemu needs root*"])


def test_a_marker_with_something_else_is_refused(pytester, monkeypatch, arguments):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    pytester.makepyfile(
        test_shop="import pytest\npytestmark = pytest.mark.netemu(pods=3)\ndef test_any(netemu_lab): pass\n"
    )
    result = pytester.runpytest_inprocess(*arguments)
    result.stdout.fnmatch_lines(["*the marker netemu takes manifests, nodes and file, not pods*"])


def test_loading_it_costs_next_to_nothing(pytester, arguments):
    """Every pytest on a machine with netemu loads the plugin: it must bring nothing along."""
    pytester.makepyfile(
        test_any=(
            "import sys\n"
            "def test_any():\n"
            "    found = {m for m in sys.modules if m.startswith('netemu.')}\n"
            "    assert found <= {'netemu.pytest_plugin'}, found\n"
        )
    )
    pytester.runpytest_subprocess(*arguments).assert_outcomes(passed=1)
