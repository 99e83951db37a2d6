"""The policy recipes and classic mistakes: judged by the model, explained as written down, measured in a lab.

`explained.txt` of each, and of every other scenario, is what `netemu explain` prints; NETEMU_REGENERATE=1
writes it anew, for a reader to check against the specification.
"""

import contextlib
import io
import os
import pathlib
import shlex

import pytest

from netemu.base import clock
from netemu.check import imagine
from netemu.cli import main
from netemu.cli import run as run_command
from netemu.lab import config
from netemu.model import verdicts
from netemu.scenario import manifests, plan, run, scenarios

ROOT = pathlib.Path(__file__).parents[2] / "scenarios" / "policies"
NAMES = sorted(path.name for path in ROOT.iterdir() if path.is_dir())
EXPLAINED = sorted(str(path.parent.relative_to(ROOT.parent)) for path in ROOT.parent.rglob("scenario.yaml"))
PATIENCE = 30.0  # seconds: a busy machine may not get to an answer within the deadline of one attempt
MEASURED = ("both-directions", "mistake-forgotten-dns")  # by default; all with -m slow


@pytest.mark.parametrize("name", NAMES)
def test_the_model_expects_what_the_scenario_does(name):
    scenario = scenarios.load(str(ROOT / name))
    world = imagine.world(manifests.read(scenario.manifests), scenario.lab).world
    planned = plan.plan(scenario.checks, world)
    assert not planned.empty
    for probe in planned.probes:
        assert probe.verdict.words == {probe.check.expect}, (probe.check.name, probe.verdict.text)


@pytest.mark.parametrize(
    "name", [*NAMES, "Ein Name, länger als der eines Labors sein darf", "12345" * 9, "…"]
)
def test_a_scenario_has_a_lab_called_after_it(name):
    assert config.is_name(run_command.called_after(name, "x2b4z"))


def test_no_scenario_is_without_its_explanation():
    assert {"01-quickstart", *(f"policies/{name}" for name in NAMES)} <= set(EXPLAINED)


@pytest.mark.parametrize("name", EXPLAINED)
def test_the_explanation_is_the_one_written_down(name, monkeypatch):
    monkeypatch.chdir(ROOT.parent / name)
    golden = pathlib.Path("explained.txt")
    written = golden.read_text()
    said = "\n".join(explained(line) for line in written.splitlines() if line.startswith("$ "))
    if os.environ.get("NETEMU_REGENERATE"):
        golden.write_text(said)
    assert written == said


def explained(line):
    """The command and what it prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main.run(shlex.split(line.removeprefix("$ netemu ")))
    assert code in (0, 1), out.getvalue()
    return f"{line}\n{out.getvalue()}"


def test_every_mistake_is_noticed():
    """A note says what was overlooked; where the last step says it all, there is none."""
    for name in NAMES:
        if name.startswith("mistake-") and name != "mistake-forgotten-dns":
            assert "note: policy " in (ROOT / name / "explained.txt").read_text(), name
    told = (ROOT / "mistake-forgotten-dns" / "explained.txt").read_text()
    assert "by its name: no-such-name: " in told
    assert "udp/53 to kube-system/coredns" in told


@pytest.mark.root
@pytest.mark.lab
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in MEASURED else pytest.mark.slow) for name in NAMES]
)
def test_the_network_does_what_the_scenario_expects(name, tmp_path, monkeypatch):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path))
    loaded = scenarios.load(str(ROOT / name))
    checks = tuple(check._replace(within=PATIENCE) for check in loaded.checks)
    scenario = loaded._replace(checks=checks, ready_within=4 * PATIENCE)
    found = run.run(
        scenario, name=f"p-{name}"[:30], keep=False, progress=lambda _: None, time=clock.SystemClock()
    )
    assert not found.unready, found.unready
    wrong = [(result.probe.check.name, result.wrong, result.why) for result in found.results if not result.ok]
    assert not wrong
    assert verdicts.UNKNOWN not in {result.probe.verdict.outcome for result in found.results}
