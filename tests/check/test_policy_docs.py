"""The teaching page says what is there: every scenario, the grammar of expectations, and true output."""

import pathlib
import re

import pytest

from netemu.base import yamls
from netemu.check import expectations

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "policies.md").read_text()
SCENARIOS = sorted(path.name for path in (ROOT / "scenarios" / "policies").iterdir())


def test_every_scenario_is_on_the_page_and_no_other():
    named = set(re.findall(r"`([a-z0-9-]+)`", PAGE))
    assert set(SCENARIOS) <= named
    listed = {
        name for row in PAGE.splitlines() if row.startswith("| `") for name in re.findall(r"`([^`]+)`", row)
    }
    assert {name for name in listed if name.startswith("mistake-")} == {
        name for name in SCENARIOS if name.startswith("mistake-")
    }


def test_what_the_page_shows_is_what_is_said():
    shown = [line.strip() for line in PAGE.splitlines() if line.startswith("    ") and "-> shop" not in line]
    said = (ROOT / "scenarios/policies/mistake-cluster-ip/explained.txt").read_text()
    lines = [line for line in shown if line.startswith(("dropped:", "1.", "2.", "note:"))]
    assert len(lines) == 4
    assert all(line in said for line in lines)


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_expectations_on_the_page_are_understood(text):
    (document,) = yamls.parse(text, "docs/policies.md")
    assert expectations.read(document).every
