"""The acceptance test of the whole house: the quickstart from nothing to a verdict, and nothing left."""

import json
import os
import pathlib
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest

ROOT = pathlib.Path(__file__).parents[2]
QUICKSTART = "scenarios/01-quickstart/"

pytestmark = pytest.mark.lab


@pytest.fixture
def netemu(tmp_path):
    """Runs the command with labs kept in a directory of this test's own."""
    environment = {**os.environ, "NETEMU_STATE_DIR": str(tmp_path / "netemu"), "NO_COLOR": "1"}

    def run(*arguments, **settings):
        return subprocess.run(
            [sys.executable, "-m", "netemu.cli.main", *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
            **settings,
        )

    run.environment = environment
    yield run
    run("down", "--all", "-q")


def host_links():
    links = pathlib.Path("/proc/net/dev").read_text().splitlines()[2:]
    return sorted(line.split(":")[0].strip() for line in links)


def test_the_quickstart_holds_and_leaves_nothing(netemu, tmp_path):
    before = host_links()
    junit = tmp_path / "report.xml"
    done = netemu("run", QUICKSTART, "--json", "-", "--junit", str(junit))
    assert done.returncode == 0, done.stderr + done.stdout
    report = json.loads(done.stdout)
    assert report["ok"]
    assert len(report["probes"]) > 100
    assert {probe["family"] for probe in report["probes"]} == {"IPv4", "IPv6"}
    assert {probe["protocol"] for probe in report["probes"]} == {"TCP", "UDP"}
    assert {"same-node", "other-node"} <= {probe["where"] for probe in report["probes"]}
    spread = [probe for probe in report["probes"] if len(probe["answers"]) > 1]
    assert spread
    assert all(len({answer["endpoint"] for answer in probe["answers"]}) == 3 for probe in spread)
    assert ElementTree.parse(junit).getroot().tag == "testsuites"
    assert host_links() == before
    assert netemu("status").stdout == "no lab is up, and nothing is left of any\n"


FALSE_CHECK = """
name: wrong
manifests: [{manifests}]
checks:
- {{name: pods are on the moon, from: pod client, to: pod duo, port: 8080, expect: dropped, within: 0s}}
- {{name: nobody answers, from: pod client, to: pod duo, port: 81, within: 0s, family: IPv4}}
"""


def test_a_false_expectation_is_exit_code_1_with_its_cause(netemu, tmp_path):
    manifests = ROOT / QUICKSTART / "manifests"
    (tmp_path / "scenario.yaml").write_text(FALSE_CHECK.format(manifests=manifests))
    done = netemu("run", str(tmp_path))
    assert done.returncode == 1, done.stderr
    assert "FAIL 1. pods are on the moon" in done.stdout
    assert "why it failed: ok instead of dropped" in done.stdout
    assert "why it failed: refused instead of ok" in done.stdout
    assert "likely cause:  nothing listens on port 81/TCP" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_control_c_removes_the_lab(netemu, tmp_path, number):
    """Interrupted while it waits for what never becomes ready."""
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: never}\n"
        "spec: {containers: [{name: c, image: nobody/has-this}]}\n"
    )
    (tmp_path / "scenario.yaml").write_text(
        "name: stuck\nmanifests: [pod.yaml]\nchecks: [{name: c, from: nodes, to: pod never, port: 80}]\n"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "netemu.cli.main", "run", str(tmp_path)],
        cwd=ROOT,
        env=netemu.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        for line in process.stderr:
            if "waiting for pod default/never" in line:
                process.send_signal(number)
                break
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "netemu: interrupted"
    assert netemu("status").stdout == "no lab is up, and nothing is left of any\n"


def test_bad_manifests_are_refused_before_anything_is_made(netemu, tmp_path):
    (tmp_path / "pod.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  contianers: []\n"
    )
    (tmp_path / "scenario.yaml").write_text(
        "manifests: [pod.yaml]\nchecks: [{name: c, from: nodes, to: pod x, port: 80}]\n"
    )
    done = netemu("run", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f'netemu: {tmp_path}/pod.yaml:5: unknown field "spec.contianers"\n'
