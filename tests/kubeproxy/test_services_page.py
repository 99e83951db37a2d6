"""docs/services.md names the test of each rule: they exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_tests_that_the_page_names_are_there():
    page = (ROOT / "docs" / "services.md").read_text()
    table = page.partition("| rule | shown by |")[2].partition("\n\n")[0]
    shown = "".join(line.split("|")[2] for line in table.splitlines()[2:])
    sources = [*ROOT.glob("tests/kubeproxy/test_*.py"), *ROOT.glob("tests/cloud/test_*.py")]
    tests = re.findall(r"^def test_(\w+)", "\n".join(path.read_text() for path in sources), re.MULTILINE)
    rows = re.findall(r"^ *([\w -]+):", (ROOT / "tests/kubeproxy/packets.yaml").read_text(), re.MULTILINE)
    named = re.findall(r"`([\w -]+)`", shown)
    assert len(named) > 60
    assert [one for one in named if one not in rows and not any(one in test for test in tests)] == []
