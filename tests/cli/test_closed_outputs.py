"""Commands whose stdout or stderr was closed, or is full; and reports that cannot be written."""

import os
import subprocess
import sys

import pytest

from netemu.cli import main


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), (">/dev/full", 2)])
def test_an_output_that_takes_nothing(tmp_path, closed, code):
    """Nothing written to a closed one gets into a file that was opened since."""
    command = f"{sys.executable} -m netemu.cli.main status {closed}"
    env = {**os.environ, "NETEMU_STATE_DIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["run", "scenarios/01-quickstart/"], "--json"),
        (["check", "deploy/"], "--junit"),
        (["probe"], "--junit"),
        (["verify"], "--junit"),
        (["fuzz"], "--out"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_work(tmp_path, command, option, capsys):
    for place, words in ((tmp_path, "is a directory"), (tmp_path / "x" / "y", "there is no directory")):
        assert main.run([*command, option, str(place)]) == 2
        assert words in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("command", ["probe", "verify"])
def test_stdout_takes_one_report(command, capsys):
    assert main.run([command, "--json", "--junit", "-"]) == 2
    assert "stdout takes one report" in capsys.readouterr().err
