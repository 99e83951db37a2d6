"""The set-up command where nothing is installed yet: what it needs, what it says, what it leaves alone."""

import pathlib
import subprocess
import sys

import pytest

from netemu import setup

ROOT = pathlib.Path(__file__).parents[2]


PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from netemu import setup
sys.exit(setup.main(sys.argv[1:]))
"""


def run(*arguments):
    """Without site-packages, as on a machine where nothing is installed."""
    command = [sys.executable, "-IS", "-c", PROGRAM, str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_it_runs_on_the_standard_library_alone():
    done = run("--help")
    assert done.returncode == 0, done.stderr
    assert "sudo python3 -m netemu.setup run SCENARIO" in done.stdout


@pytest.mark.parametrize("arguments", [[], ["reinstall"], ["run"]])
def test_not_knowing_what_to_do_is_exit_code_2(arguments):
    assert run(*arguments).returncode == 2


def test_an_old_python_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setattr(sys, "version_info", (3, 9, 2, "final", 0))
    with pytest.raises(setup.Impossible, match=r"Python 3\.9\.2 is too old: 3\.11 or later"):
        setup.install(tmp_path, dev=False)


@pytest.mark.root
def test_without_root_it_says_what_to_install():
    program = "import os; from netemu import setup; os.setuid(65534); setup.install_packages(['x', 'y'])"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "missing here: x y. Run it with sudo, or: sudo apt-get install x y" in done.stderr


def test_without_apt_it_says_what_is_missing(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(setup.Impossible, match=r"missing here: nftables\. There is no apt-get"):
        setup.install_packages(["nftables"])


def environment(place, stamp):
    (place / "bin").mkdir(parents=True)
    (place / "bin" / "netemu").touch()
    (place / "netemu-setup").write_text(stamp)
    return place


@pytest.mark.parametrize(
    ("extras", "dev", "current"),
    [("plain", False, True), ("plain", True, False), ("dev", False, True), ("dev", True, True)],
)
def test_an_environment_is_current_for_what_it_was_made_for(tmp_path, extras, dev, current):
    venv = environment(tmp_path / "venv", f"{setup.fingerprint()} {extras}\n")
    assert setup.is_current(venv, dev=dev) is current


@pytest.mark.parametrize("stamp", ["", "otherwise dev\n", "garbage"])
def test_any_other_environment_is_not_current(tmp_path, stamp):
    assert not setup.is_current(environment(tmp_path / "venv", stamp), dev=False)
    assert not setup.is_current(tmp_path / "nowhere", dev=False)


def test_the_link_is_made_moved_and_left_alone(monkeypatch, tmp_path, capsys):
    link = tmp_path / "bin" / "netemu"
    monkeypatch.setattr(setup, "LINK", link)
    for venv in (tmp_path / "one", tmp_path / "two"):
        setup.link(venv)
        assert link.readlink() == venv / "bin" / "netemu"
        assert f"linked {link}" in capsys.readouterr().err
        setup.link(venv)
        assert capsys.readouterr().err == ""
    link.unlink()
    link.write_text("somebody else's")
    setup.link(tmp_path / "one")
    assert link.read_text() == "somebody else's"
    assert "leaving it" in capsys.readouterr().err


def test_the_ci_runs_the_same_command():
    assert "python3 -m netemu.setup test" in (ROOT / ".ci" / "run").read_text()
    assert "sudo python3 -m netemu.setup test" in (ROOT / "README.md").read_text()
