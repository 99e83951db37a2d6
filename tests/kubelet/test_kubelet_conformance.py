"""`netemu cni test` holds plugins to the specification: ours keep it, and what breaks it is told how."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cni

ROOT = Path(__file__).parents[2]
DEBIAN = Path("/usr/lib/cni")

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: makes network namespaces"),
]


def tried(path):
    """The rules by outcome, {outcome: {"COMMAND rule": why}}, and the exit code."""
    command = [sys.executable, "-m", "netemu.cli.main", "cni", "test", str(path), "--json"]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.stdout, done.stderr
    found = {"ok": {}, "failed": {}, "n/a": {}}
    for row in json.loads(done.stdout):
        found[row["outcome"]][f"{row['section']} {row['rule']}"] = row["why"]
    return found, done.returncode


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == "bridge" else pytest.mark.slow) for name in cni.EXECUTABLES],
)
def test_ours_keep_every_rule(tmp_path, name):
    cni.install(tmp_path)
    found, code = tried(tmp_path / name)
    assert (found["failed"], code) == ({}, 0)
    assert len(found["ok"]) > 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["bandwidth", "bridge", "firewall", "host-local", "loopback", "macvlan", "ptp", "static", "tuning"],
)
def test_the_reference_plugins_keep_every_rule_of_their_version(name):
    if not (DEBIAN / name).exists():
        pytest.skip("containernetworking-plugins is not installed")
    found, code = tried(DEBIAN / name)
    assert (found["failed"], code) == ({}, 0)
    assert "since 1.1.0; it speaks 1.0.0" in found["n/a"].values()


def test_what_a_plugin_breaks_is_said_with_the_reason(tmp_path):
    """This one says yes to everything, and does nothing."""
    cni.install(tmp_path)
    careless = tmp_path / "careless"
    said = json.dumps({"cniVersion": "1.1.0", "supportedVersions": ["1.0.0", "1.1.0"]})
    careless.write_text(f"#!/bin/sh\n[ $CNI_COMMAND = VERSION ] && echo '{said}'\nexit 0\n")
    careless.chmod(0o755)
    config = tmp_path / "careless.conf"
    config.write_text(json.dumps({"type": "careless", "ipam": {"type": "host-local"}}))
    command = [sys.executable, "-m", "netemu.cli.main", "cni", "test", str(careless), "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False)
    assert done.returncode == 1
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    assert ["failed", "an unknown command is refused with code 4"] in lines
    assert ["accepted:", "exit code 0, nothing printed"] in lines
    assert "(ADD does not succeed)" in done.stdout
    assert "broken" in done.stdout.splitlines()[-1]
