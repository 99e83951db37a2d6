"""Pages name the tests of what they promise, in tables under "What is tested where": they are there."""

import re
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]


class Page(NamedTuple):
    """What the last column of its tables names: parts of names of tests in folders, or rows of tables."""

    name: str
    folders: tuple[str, ...]
    rows: tuple[tuple[str, str], ...]  # file, and a pattern whose group is the name of a row
    least: int  # so many names are in it


PAGES = (
    Page("services.md", ("kubeproxy", "cloud"), (("kubeproxy/packets.yaml", r"^ *([\w -]+):"),), 60),
    Page("cni.md", ("cni", "kubelet", "wire", "cli", "lab"), (), 100),
    Page("networking.md", ("podnet", "lab"), (), 45),
    Page("model.md", ("*",), (("model/test_model_policies.py", r'^    "(.+)": \('),), 60),
)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_tests_that_a_page_names_are_there(page):
    text = (ROOT / "docs" / page.name).read_text()
    section = re.split(r"^## ", text.partition("## What is tested where\n")[2], flags=re.MULTILINE)[0]
    shown = "".join(line.rstrip("|").rpartition("|")[2] for line in section.splitlines() if line[:1] == "|")
    named = [one for one in re.findall(r"`([^`]+)`", shown) if not one.startswith("tests/")]
    files = [path for folder in page.folders for path in ROOT.glob(f"tests/{folder}/test_*.py")]
    tests = re.findall(r"^ *(?:async )?def test_(\w+)", "\n".join(map(Path.read_text, files)), re.MULTILINE)
    rows = [
        row
        for file, pattern in page.rows
        for row in re.findall(pattern, (ROOT / "tests" / file).read_text(), re.MULTILINE)
    ]
    assert len(named) > page.least
    assert [one for one in named if not any(one in known for known in (*tests, *rows))] == []
