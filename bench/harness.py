"""How a benchmark is repeated, read off /proc and printed: median, 50th and 99th percentile, spread.

Knows numbers, processes and tables; does not know what is measured. Nothing here changes what it looks at.
"""

from __future__ import annotations

import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Sample:
    """Values of one figure, in one unit. `goal`: what it must not exceed, and `aim`: what would be better
    still. A rate (`more`) must not fall below them.
    """

    name: str
    unit: str
    values: tuple[float, ...]
    goal: float | None = None
    aim: float | None = None
    command: str = ""
    more: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    def percentile(self, percent: float) -> float:
        """Nearest rank: a value that was really seen."""
        ordered = sorted(self.values)
        return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(percent) // 100) - 1))]

    @property
    def verdict(self) -> str:
        if self.goal is None:
            return ""
        if self.aim is not None and self._meets(self.aim):
            return "aim reached"
        return "holds" if self._meets(self.goal) else "MISSED"

    def _meets(self, bound: float) -> bool:
        return self.median >= bound if self.more else self.median <= bound

    def line(self) -> str:
        low, high = min(self.values), max(self.values)
        goal = "" if self.goal is None else f"  goal {self.goal:g} {self.unit}: {self.verdict}"
        return (
            f"{self.name:46} median {self.median:9.3f} {self.unit:6} p50 {self.percentile(50):9.3f}  "
            f"p99 {self.percentile(99):9.3f}  spread {low:.3f}..{high:.3f}  n={len(self.values)}{goal}"
        )


def timed(work: Callable[[], object]) -> float:
    """Wall-clock seconds."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def table(samples: Iterable[Sample]) -> str:
    """Markdown, one row a figure."""
    rows = ["| figure | goal | aim | median | spread | n | |", "|---|---|---|---|---|---|---|"]
    for one in samples:
        bound = ">=" if one.more else "<="
        goal = "" if one.goal is None else f"{bound} {one.goal:g} {one.unit}"
        aim = "" if one.aim is None else f"{one.aim:g} {one.unit}"
        spread = f"{min(one.values):.3g} .. {max(one.values):.3g}"
        median = f"**{one.median:.3g} {one.unit}**"
        rows.append(
            f"| {one.name} | {goal} | {aim} | {median} | {spread} | {len(one.values)} | {one.verdict} |"
        )
    return "\n".join(rows) + "\n"


def rewrite(document: Path, section: str, text: str) -> None:
    """Put `text` between the section's two marker comments of a Markdown file; elsewhere nothing changes."""
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    old = document.read_text() if document.exists() else ""
    if begin not in old:
        old = f"{old.rstrip()}\n\n{begin}\n{end}\n".lstrip()
    head, _, rest = old.partition(begin)
    _, _, tail = rest.partition(end)
    document.write_text(f"{head}{begin}\n{text.rstrip()}\n{end}{tail}")


def publish(section: str, samples: Iterable[Sample], command: str, note: str = "") -> None:
    """The figures of one benchmark into its section of docs/performance.md, with how they were taken."""
    today = datetime.datetime.now(datetime.UTC).date()
    about = f"{today}, {machine()}. Measured by `{command} --write`. {note}".rstrip()
    rewrite(DOCUMENT, section, f"{table(samples)}\n{about}")


# --- processes


def tree(root: int) -> list[int]:
    """A process and all its descendants, as this pid namespace sees them."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _stat(int(entry))
            if fields:
                children.setdefault(int(fields[1]), []).append(int(entry))
    found, queue = [], [root]
    while queue:
        pid = queue.pop()
        found.append(pid)
        queue.extend(children.get(pid, ()))
    return found


def pss(pids: Iterable[int]) -> float:
    """MiB of memory that would be free if they were gone, shared pages counted by share (smaps_rollup)."""
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def cpu(pids: Iterable[int]) -> float:
    """Seconds of processor time used so far, by them and by their children that have ended."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        total += sum(int(fields[i]) for i in (11, 12, 13, 14)) if fields else 0
    return total / _TICKS


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""


def _stat(pid: int) -> Sequence[str]:
    """The fields of /proc/<pid>/stat after the command: state, ppid, ..."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ()


def idle_share(seconds: float = 1.0) -> float:
    """How much of all processors nobody used, 0 to 1, during these seconds."""
    before = _processors()
    time.sleep(seconds)
    after = _processors()
    spent = [now - then for now, then in zip(after, before, strict=True)]
    return (spent[3] + spent[4]) / max(1, sum(spent))


def quiet(patience: float, share: float = 0.88) -> bool:
    """Wait, at most `patience` seconds, till the machine has nothing else to do; False if it stays busy."""
    deadline = time.monotonic() + patience
    while idle_share() < share:
        if time.monotonic() > deadline:
            return False
    return True


def _processors() -> list[int]:
    """Ticks by kind (user, nice, system, idle, iowait, ...) of all processors together."""
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def machine() -> str:
    """What the numbers were taken on, in a line."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    kernel = platform.release().partition("-")[0]
    return f"{os.cpu_count()} cores, {model}, Linux {kernel}, Python {platform.python_version()}"
