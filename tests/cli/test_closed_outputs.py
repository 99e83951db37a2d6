"""Commands whose stdout or stderr was closed, or is full."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">&- 2>&-", 0), (">/dev/full", 2)])
def test_an_output_that_takes_nothing(tmp_path, closed, code):
    """Nothing written to a closed one gets into a file that was opened since."""
    command = f"{sys.executable} -m netemu.cli.main status {closed}"
    env = {**os.environ, "NETEMU_STATE_DIR": str(tmp_path)}
    done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "unexpected" not in done.stderr
    assert "Traceback" not in done.stderr
