"""What is given up is gone, also for the programs a process executes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from netemu.kernel import capabilities

LIMITED = """
import sys
from netemu.kernel import capabilities
kept = frozenset({"NET_RAW", "CHOWN", "CHECKPOINT_RESTORE"})
capabilities.drop_from_bounding_set(frozenset(capabilities.NAMES) - kept)
capabilities.restrict(kept)
print(",".join(sorted(capabilities.permitted())), flush=True)
import os
os.execv("/bin/grep", ["grep", "-E", "^Cap(Prm|Eff|Bnd)", "/proc/self/status"])
"""


def test_the_names_have_the_kernel_headers_numbers() -> None:
    header = Path("/usr/include/linux/capability.h")
    if not header.exists():
        pytest.skip("no kernel headers here")
    lines = (line.split() for line in header.read_text().splitlines() if line.startswith("#define CAP_"))
    numbers = {words[1]: int(words[2]) for words in lines if len(words) > 2 and words[2].isdigit()}
    assert numbers == {f"CAP_{name}": number for number, name in enumerate(capabilities.NAMES)}


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root has capabilities to give up")
def test_what_is_given_up_is_gone_for_good() -> None:
    done = subprocess.run([sys.executable, "-c", LIMITED], capture_output=True, text=True, check=True)
    mine, *status = done.stdout.splitlines()
    assert mine == "CHECKPOINT_RESTORE,CHOWN,NET_RAW"
    mask = 1 << 0 | 1 << 13 | 1 << 40  # capability.h
    assert [int(line.split()[1], 16) for line in status] == [mask] * 3
