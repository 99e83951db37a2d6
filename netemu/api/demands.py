"""What a pod asks for and a node has, as whole numbers. Knows container kinds; does not know nodes.

cpu is in thousandths of a core, everything else in its own unit (bytes, pieces), rounded up.
Source: KEP-753 (sidecars), k8s.io/component-helpers/resource PodRequests.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from netemu.api import core, quantities

CPU: Final = "cpu"
MEMORY: Final = "memory"
PODS: Final = "pods"
# What a container without a request is counted as when nodes are scored (schedutil.DefaultMilliCPURequest).
SCORED_WITHOUT_REQUEST: Final = {CPU: 100, MEMORY: 200 * 1024 * 1024}

Amounts = Mapping[str, int]


def amounts(quantity_by_name: Mapping[str, str]) -> dict[str, int]:
    """Parse a resource list of the API."""
    return {name: _amount(name, text) for name, text in quantity_by_name.items()}


def requests(spec: core.PodSpec, floor: Amounts | None = None) -> dict[str, int]:
    """The most a pod needs at any one time.

    Containers and sidecars together, or an init container with the sidecars started before it, whichever
    is more; pod-level requests replace that; overhead is added. `floor` stands in for missing requests.
    """
    running: dict[str, int] = {}
    for container in spec.containers:
        _add(running, _of_container(container, floor))
    starting: dict[str, int] = {}
    sidecars: dict[str, int] = {}
    for container in spec.initContainers:
        asked = _of_container(container, floor)
        if container.restartPolicy == "Always":
            _add(running, asked)
            _add(sidecars, asked)
            _most(starting, sidecars)
        else:
            _most(starting, _sum(sidecars, asked))
    _most(running, starting)
    if spec.resources is not None:
        running.update(amounts(_asked(spec.resources)))
    _add(running, amounts(spec.overhead))
    return running


def _of_container(container: core.Container, floor: Amounts | None) -> dict[str, int]:
    asked = amounts(_asked(container.resources))
    return asked if floor is None else {**floor, **asked}


def _asked(resources: core.ResourceRequirements) -> Mapping[str, str]:
    # A limit without a request is a request: the API server's defaulting says so; be safe when it did not.
    return {**resources.limits, **resources.requests} if resources.limits else resources.requests


def _amount(name: str, text: str) -> int:
    return quantities.milli(text) if name == CPU else -(-quantities.milli(text) // 1000)


def _add(into: dict[str, int], more: Amounts) -> None:
    for name, amount in more.items():
        into[name] = into.get(name, 0) + amount


def _sum(one: Amounts, other: Amounts) -> dict[str, int]:
    total = dict(one)
    _add(total, other)
    return total


def _most(into: dict[str, int], other: Amounts) -> None:
    for name, amount in other.items():
        into[name] = max(into.get(name, 0), amount)


def total(of: Iterable[Amounts]) -> dict[str, int]:
    """The sum of several."""
    result: dict[str, int] = {}
    for one in of:
        _add(result, one)
    return result
