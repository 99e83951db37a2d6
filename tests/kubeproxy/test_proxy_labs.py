"""Whole labs whose nodes serve Services in the other mode: the quickstart holds there too."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.root,
    pytest.mark.lab,
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes whole labs"),
    pytest.mark.skipif(shutil.which("iptables-restore") is None, reason="iptables is not installed"),
]


@pytest.fixture
def netemu(tmp_path, monkeypatch):
    """The command, with labs of this test's own."""
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path / "netemu"))

    def run(*arguments):
        command = [sys.executable, "-m", "netemu.cli.main", *arguments]
        done = subprocess.run(command, cwd=ROOT, check=False, timeout=300, text=True, capture_output=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    yield run
    run("down", "--all", "-q")


@pytest.mark.timeout(600)
def test_the_quickstart_holds_in_iptables_mode(netemu, tmp_path):
    (tmp_path / "lab.yaml").write_text("name: old\nproxy: {mode: iptables}\n")
    netemu("up", "-q", "-f", str(tmp_path / "lab.yaml"))
    said = netemu("run", "-q", "--in", "old", "scenarios/01-quickstart/")
    assert re.search(r"quickstart: all hold", said), said
    told = json.loads(netemu("proxy", "explain", "kube-dns", "-n", "kube-system", "--name", "old", "--json"))
    assert {line["verdict"] for lines in told.values() for line in lines} == {"sent"}
    assert all(
        line["chances"][0]["target"].startswith("coredns") for lines in told.values() for line in lines
    )
    text = netemu("proxy", "explain", "kube-dns", "-n", "kube-system", "--name", "old")
    assert text.startswith("kube-system/kube-dns on control-plane-1, worker-1, worker-2\n"), (
        "alike: told once"
    )
    assert re.search(r"a pod +10\.96\.0\.10:53 +cluster IP, UDP dns +100 % coredns-\S+ ", text), text
    chains = netemu("shell", "--name", "old", "worker-1", "--", "iptables-save", "-t", "nat")
    assert "KUBE-SVC-TCOU7JCQXEZGVUNU" in chains  # kube-system/kube-dns:dns, on every cluster
