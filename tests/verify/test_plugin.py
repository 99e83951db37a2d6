"""The pytest plugin as a user's project has it; the project is the example of docs/testing.md."""

import os
import pathlib
import re

import pytest

pytest_plugins = ["pytester"]

MANUAL = (pathlib.Path(__file__).parents[2] / "docs" / "testing.md").read_text()
FILES = dict(re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)^```", MANUAL, flags=re.MULTILINE | re.DOTALL))
FAILING = """

def test_that_fails(connectivity):
    assert connectivity("client", "pod/web:80").ok


def test_that_is_misspelt(connectivity):
    connectivity("client", "wbe:80")


def test_that_applies_nonsense(netemu_lab):
    netemu_lab.apply(text="apiVersion: v1\\nkind: Pod\\nmetadata: {name: x}\\nspec: {containrs: []}")
"""


@pytest.fixture
def arguments(request):
    """The plugin comes by its entry point; by name where netemu is not installed anew since it has one."""
    installed = request.config.pluginmanager.has_plugin("netemu")
    return ["-p", "no:cacheprovider", *(() if installed else ("-p", "netemu.pytest_plugin"))]


@pytest.mark.lab
def test_a_project_that_uses_it(pytester, monkeypatch, tmp_path, arguments):
    monkeypatch.setenv("NETEMU_STATE_DIR", str(tmp_path / "labs"))
    assert sorted(FILES) == ["shop.yaml", "test_shop.py"]
    for name, text in FILES.items():
        (pytester.path / name).write_text(text + (FAILING if name.endswith(".py") else ""))
    result = pytester.runpytest_subprocess(*arguments)
    result.assert_outcomes(passed=3, failed=3)
    output = result.stdout.str()
    assert "<client -> pod/web:80: dropped, as the model says" in output
    assert "measured, and what the model says" in output
    assert "default/deny-all" in output
    assert "there is no target 'wbe' in Namespace default (did you mean 'web'?)" in output
    assert 'Rejected: text:4: unknown field "spec.containrs"' in output
    assert "netemu/testing.py" not in output  # what fails is the test, not a line of netemu
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
