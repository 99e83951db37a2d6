"""What the README tells people to type works, in its order. `sudo` is whoever runs the tests."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
SHELL = """\
set -euo pipefail
sudo() { "$@"; }
say() { printf '\\n$ %s\\n' "$BASH_COMMAND"; }
trap say DEBUG
"""


@pytest.mark.lab
def test_the_first_ten_minutes(tmp_path):
    environment = {
        **os.environ,
        "PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}",
        "NETEMU_STATE_DIR": str(tmp_path / "netemu"),
        "NO_COLOR": "1",
    }
    script = SHELL + "".join(BLOCKS)
    try:
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=90,
        )
    finally:
        subprocess.run(
            [sys.executable, "-m", "netemu.cli.main", "down", "-q"], cwd=ROOT, env=environment, check=False
        )
    assert done.returncode == 0, done.stdout
    assert "quickstart: all hold" in done.stdout
    assert done.stdout.rstrip().endswith("no lab is up, and nothing is left of any")


def test_every_file_the_readme_points_to_is_there():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if target != "docs/performance.md":  # written by the benchmarks
            assert (ROOT / target).exists(), target


def test_the_set_up_is_two_commands():
    commands = re.findall(r"^ +(sudo python3 -m netemu\.setup .*)$", README, flags=re.MULTILINE)
    assert commands == [
        "sudo python3 -m netemu.setup run scenarios/01-quickstart/",
        "sudo python3 -m netemu.setup test",
    ]
