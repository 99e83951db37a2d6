"""A pod's status as upstream would say it: phases, container states, conditions, and the patch that tells."""

import pytest

from netemu.api import codec, core
from netemu.base import clock
from netemu.kubelet import statuses, views


def status(given, view):
    return statuses.status(view, statuses.Place(given.node_ips), given.now)


def condition(found, kind):
    (one,) = [c for c in found.conditions if c.type == kind]
    return one.status, one.reason, one.message


def test_a_pod_on_its_way(given):
    found = status(given, given.view(None, ()))
    assert (found.phase, found.podIP, found.hostIP) == ("Pending", "", "172.18.0.3")
    assert [ip.ip for ip in found.hostIPs] == list(given.node_ips)
    assert found.containerStatuses[0].state.waiting.reason == "ContainerCreating"
    assert condition(found, "PodReadyToStartContainers")[0] == "False"
    assert condition(found, "Initialized")[0] == "True"
    unready = ("False", "ContainersNotReady", "containers with unready status: [c]")
    assert condition(found, "Ready") == condition(found, "ContainersReady") == unready
    assert found.startTime == clock.rfc3339(given.now)


def test_a_running_pod(given):
    found = status(given, given.view(None, None, [given.run()]))
    assert (found.phase, found.podIP) == ("Running", "10.244.1.5")
    assert [ip.ip for ip in found.podIPs] == ["10.244.1.5", "fd00:244:0:1::5"]
    (one,) = found.containerStatuses
    assert (one.ready, one.started, one.restartCount) == (True, True, 0)
    assert (one.containerID, one.imageID) == ("netemu://c0", "sha256:x")
    assert one.state.running.startedAt == clock.rfc3339(given.now)
    for kind in ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"):
        assert condition(found, kind) == ("True", "", "")


def test_init_containers_hold_the_others_back(given):
    pod = given.pod(initContainers=(given.container("i"),))
    found = status(given, given.view(pod, None, [given.run("i")]))
    assert found.phase == "Pending"
    assert found.containerStatuses[0].state.waiting.reason == "PodInitializing"
    reason = ("False", "ContainersNotInitialized", "containers with incomplete status: [i]")
    assert condition(found, "Initialized") == reason
    done = status(given, given.view(pod, None, [given.run("i", state="EXITED"), given.run()]))
    assert done.phase == "Running"
    assert done.initContainerStatuses[0].state.terminated.reason == "Completed"
    assert condition(done, "Ready")[0] == "True"


def test_a_crash_loop_shows_the_wait_and_the_last_end(given):
    ended = given.run(state="EXITED", code=3, attempt=2)
    found = status(given, given.view(None, None, [ended], delays={"c": 80.0}))
    (one,) = found.containerStatuses
    assert one.state.waiting.reason == "CrashLoopBackOff"
    assert one.state.waiting.message == "back-off 1m20s restarting failed container=c pod=web_default(u1)"
    assert (one.lastState.terminated.exitCode, one.lastState.terminated.reason) == (3, "Error")
    assert (one.restartCount, one.ready, found.phase) == (2, False, "Running")


def test_a_restarted_container_remembers_its_last_end(given):
    runs = [given.run(state="EXITED", code=1), given.run(attempt=1)]
    (one,) = status(given, given.view(None, None, runs)).containerStatuses
    assert one.state.running
    assert one.lastState.terminated.containerID == "netemu://c0"
    assert one.restartCount == 1


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [
        ("Never", 0, "Succeeded", "PodCompleted"),
        ("Never", 1, "Failed", "PodFailed"),
        ("OnFailure", 0, "Succeeded", "PodCompleted"),
        ("OnFailure", 1, "Running", "ContainersNotReady"),
        ("Always", 0, "Running", "ContainersNotReady"),
    ],
)
def test_phases_of_pods_whose_containers_have_ended(given, policy, code, phase, reason):
    view = given.view(given.pod(restartPolicy=policy), None, [given.run(state="EXITED", code=code)])
    found = status(given, view)
    assert found.phase == phase
    assert condition(found, "Ready")[:2] == ("False", reason)


def test_what_is_over_stays_over(given):
    before = core.PodStatus(phase="Failed", reason="Evicted", podIPs=(core.PodIP(ip="10.244.1.5"),))
    found = status(given, given.view(given.pod(status=before), ()))
    assert (found.phase, found.reason) == ("Failed", "Evicted")
    assert [ip.ip for ip in found.podIPs] == ["10.244.1.5"]


def test_a_problem_shows_as_the_reason_to_wait(given):
    problems = {"c": views.Problem("ErrImagePull", "no such image", 0.0)}
    (one,) = status(given, given.view(problems=problems)).containerStatuses
    assert (one.state.waiting.reason, one.state.waiting.message) == ("ErrImagePull", "no such image")


def test_probes_decide_readiness(given):
    starting = {"c0": views.Health(started=False, ready=False)}
    (one,) = status(given, given.view(None, None, [given.run()], health=starting)).containerStatuses
    assert (one.ready, one.started) == (False, False)
    unready = {"c0": views.Health(ready=False)}
    found = status(given, given.view(None, None, [given.run()], health=unready))
    assert (found.containerStatuses[0].ready, found.phase) == (False, "Running")


def test_readiness_gates_are_others_conditions(given):
    gate = (core.PodReadinessGate(conditionType="lb"),)
    shut = status(given, given.view(given.pod(readinessGates=gate), None, [given.run()]))
    assert condition(shut, "ContainersReady")[0] == "True"
    assert condition(shut, "Ready")[1] == "ReadinessGatesNotReady"
    opened = core.PodStatus(conditions=(core.PodCondition(type="lb", status="True"),))
    found = status(given, given.view(given.pod(readinessGates=gate, status=opened), None, [given.run()]))
    assert condition(found, "Ready")[0] == "True"
    assert condition(found, "lb")[0] == "True"


def test_a_condition_s_time_changes_with_its_status_only(given):
    first = status(given, given.view(None, ()))
    later = statuses.status(
        given.view(given.pod(status=first), None, [given.run()]),
        statuses.Place(given.node_ips),
        given.now + 60,
    )
    times = {c.type: c.lastTransitionTime for c in later.conditions}
    assert times["Initialized"] == clock.rfc3339(given.now)
    assert times["Ready"] == clock.rfc3339(given.now + 60)
    assert later.startTime == first.startTime


@pytest.mark.parametrize(
    ("resources", "wanted"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m"}}, "Burstable"),
        ({"limits": {"cpu": "1"}}, "Burstable"),
    ],
)
def test_quality_of_service(given, resources, wanted):
    pod = given.pod(given.container(resources=core.ResourceRequirements(**resources)))
    assert statuses.qos_class(pod) == wanted


def test_the_patch_says_only_what_is_new(given):
    first = status(given, given.view(None, ()))
    pod = given.pod(status=first)
    documents = [codec.document(s) for s in (first, status(given, given.view(pod, None, [given.run()])))]
    assert statuses.patch(documents[0], documents[0]) == {}
    body = statuses.patch(*documents)
    assert body.keys() == {"phase", "podIP", "podIPs", "containerStatuses", "conditions"}
    assert {c["type"] for c in body["conditions"]} == {
        "PodReadyToStartContainers",
        "Ready",
        "ContainersReady",
    }
    back = statuses.patch(documents[1], documents[0])
    assert back["podIP"] is None
    moved = {**documents[1], "podIPs": [{"ip": "10.244.1.9"}]}
    assert statuses.patch(documents[1], moved)["podIPs"] == [{"ip": "10.244.1.9"}, {"$patch": "replace"}]


@pytest.mark.parametrize(("node", "first"), [("172.18.0.3", "10.244.1.5"), ("fd00:18::3", "fd00:244:0:1::5")])
def test_the_primary_address_is_of_the_node_s_primary_family(given, node, first):
    found = statuses.status(given.view(containers=[given.run()]), statuses.Place((node,)), given.now)
    assert found.podIP == first
    assert len(found.podIPs) == 2
