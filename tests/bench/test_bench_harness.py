"""The numbers of the benchmarks are only as good as the way they are read and printed."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def harness():
    spec = importlib.util.spec_from_file_location(
        "bench_harness", Path(__file__).parents[2] / "bench" / "harness.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench_harness"] = module
    spec.loader.exec_module(module)
    return module


def test_median_percentiles_and_verdict(harness):
    sample = harness.Sample("x", "s", tuple(float(n) for n in range(1, 101)), goal=60.0, aim=10.0)
    assert (sample.median, sample.percentile(50), sample.percentile(99)) == (50.5, 50.0, 99.0)
    assert sample.verdict == "holds"
    assert harness.Sample("x", "s", (9.0,), 60.0, 10.0).verdict == "aim reached"
    assert harness.Sample("x", "s", (61.0,), 60.0, 10.0).verdict == "MISSED"
    assert harness.Sample("x", "s", (61.0,)).verdict == ""


def test_a_section_is_rewritten_and_nothing_else(harness, tmp_path):
    document = tmp_path / "performance.md"
    document.write_text("# Title\n\nbefore\n")
    harness.rewrite(document, "one", "first")
    harness.rewrite(document, "two", "second")
    harness.rewrite(document, "one", "changed")
    assert document.read_text() == (
        "# Title\n\nbefore\n\n<!-- one: begin -->\nchanged\n<!-- one: end -->\n\n"
        "<!-- two: begin -->\nsecond\n<!-- two: end -->\n"
    )


def test_a_process_and_its_children_are_found_and_counted(harness):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        assert {os.getpid(), child} <= set(harness.tree(os.getpid()))
        assert harness.pss([os.getpid()]) > 1.0
        before = harness.cpu([os.getpid()])
        while harness.cpu([os.getpid()]) == before:
            sum(range(100_000))
    finally:
        os.close(writing)
        os.waitpid(child, 0)
        os.close(reading)
    assert child not in harness.tree(os.getpid())
    assert harness.pss([child]) == 0.0
