"""What a pod needs at once. Cases from KEP-753 and the documentation of sidecars and pod overhead."""

import pytest

from netemu.api import core, demands


def c(name, cpu, *, sidecar=False):
    return core.Container(
        name=name,
        resources=core.ResourceRequirements(requests={"cpu": cpu} if cpu else {}),
        restartPolicy="Always" if sidecar else None,
    )


CASES = [
    ("containers add up", [], [c("a", "100m"), c("b", "1")], {}, 1100),
    ("the largest init container counts alone", [c("i", "2"), c("j", "3")], [c("a", "1")], {}, 3000),
    ("a small init container does not count", [c("i", "500m")], [c("a", "1")], {}, 1000),
    ("a sidecar runs beside the containers", [c("s", "300m", sidecar=True)], [c("a", "1")], {}, 1300),
    (
        "an init container runs beside the sidecars started before it",
        [c("s", "1", sidecar=True), c("i", "2")],
        [c("a", "500m")],
        {},
        3000,
    ),
    (
        "but not beside those started after it",
        [c("i", "2"), c("s", "1", sidecar=True)],
        [c("a", "500m")],
        {},
        2000,
    ),
    ("overhead is on top", [], [c("a", "1")], {"cpu": "250m"}, 1250),
    ("nothing asked is nothing", [], [c("a", "")], {}, 0),
]


@pytest.mark.parametrize(("what", "init", "containers", "overhead", "millicores"), CASES)
def test_requests(what, init, containers, overhead, millicores):
    spec = core.PodSpec(initContainers=tuple(init), containers=tuple(containers), overhead=overhead)
    assert demands.requests(spec).get("cpu", 0) == millicores, what


def test_missing_requests_count_for_scoring_container_by_container():
    spec = core.PodSpec(containers=(c("a", ""), c("b", "1")))
    scored = demands.requests(spec, demands.SCORED_WITHOUT_REQUEST)
    assert scored == {"cpu": 1100, "memory": 2 * 200 * 1024 * 1024}


def test_pod_level_requests_replace_the_sum_of_containers():
    spec = core.PodSpec(
        containers=(c("a", "1"), c("b", "1")),
        resources=core.ResourceRequirements(requests={"cpu": "3"}),
    )
    assert demands.requests(spec) == {"cpu": 3000}


def test_bytes_round_up():
    assert demands.amounts({"memory": "1500m", "ephemeral-storage": "1Ki"}) == {
        "memory": 2,
        "ephemeral-storage": 1024,
    }
