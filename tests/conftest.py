"""What every test may rely on: Control-C works; tests that need root are skipped elsewhere, and say so."""

import os
import pathlib
import signal

import pytest

# A shell's background job begins with SIGINT ignored, and so would every command that a test starts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A command finds its modules compiled from its second start on, and so do those that tests start. Where that
# is not wanted beside the sources, compiled code lies with what else pytest keeps.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    kept = pathlib.Path(__file__).parent.parent / ".pytest_cache" / "bytecode"
    os.environ.setdefault("PYTHONPYCACHEPREFIX", str(kept))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.geteuid() == 0:
        return
    skip = pytest.mark.skip(reason="needs root: makes network namespaces (run the tests with sudo)")
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("lab"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What tests recorded as "measured" stands at the end of a run, whether they passed or not."""
    reports = (one for several in terminalreporter.stats.values() for one in several)
    for report in reports:
        for name, said in getattr(report, "user_properties", ()):
            if name == "measured" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid}: {said}")
