"""What the kubelet does next, as a table of situations; and a random walk that always comes to rest."""

import random

import pytest

from netemu.api import core
from netemu.base import clock
from netemu.kubelet import fake_runtime, plan, views

SIDECAR = {"restartPolicy": "Always"}


def actions(view, now):
    return plan.plan(view, now).actions


def test_a_new_pod_gets_a_sandbox_then_its_containers(given):
    pod = given.pod(given.container("a"), given.container("b"))
    assert actions(given.view(pod, ()), given.now) == (plan.RunSandbox(0),)
    found = actions(given.view(pod), given.now)
    assert [(a.name, a.attempt) for a in found] == [("a", 0), ("b", 0)]
    assert actions(given.view(pod, None, [given.run("a"), given.run("b")]), given.now) == ()


def test_init_containers_run_one_after_the_other(given):
    inits = (given.container("i1"), given.container("i2"))
    pod = given.pod(given.container("a"), initContainers=inits)
    names = []
    runs = []
    for name in ("i1", "i2"):
        (action,) = actions(given.view(pod, None, runs), given.now)
        names.append(action.name)
        assert actions(given.view(pod, None, [*runs, given.run(name)]), given.now) == ()  # still at it
        runs.append(given.run(name, state="EXITED"))
    (action,) = actions(given.view(pod, None, runs), given.now)
    assert [*names, action.name] == ["i1", "i2", "a"]


def test_a_sidecar_starts_before_and_stays_beside(given):
    pod = given.pod(
        given.container("a"),
        initContainers=(given.container("side", **SIDECAR), given.container("i")),
    )
    assert [a.name for a in actions(given.view(pod), given.now)] == ["side"]
    unstarted = given.view(
        pod, None, [given.run("side")], health={"side0": views.Health(started=False, ready=False)}
    )
    assert actions(unstarted, given.now) == ()
    assert [a.name for a in actions(given.view(pod, None, [given.run("side")]), given.now)] == ["i"]
    later = [given.run("side", state="EXITED"), given.run("i", state="EXITED"), given.run("a")]
    assert [a.name for a in actions(given.view(pod, None, later), given.now)] == ["side"]


def test_a_failed_init_container_is_tried_again_unless_the_policy_is_never(given):
    failed = [given.run("i", state="EXITED", code=1)]
    again = given.pod(initContainers=(given.container("i"),))
    assert actions(given.view(again, None, failed), given.now)[0][::2] == ("i", 1)
    never = given.pod(initContainers=(given.container("i"),), restartPolicy="Never")
    assert actions(given.view(never, None, failed), given.now) == (plan.StopSandbox("s1"),)


@pytest.mark.parametrize(
    ("policy", "code", "restarts"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_restart_policies(given, policy, code, restarts):
    view = given.view(given.pod(restartPolicy=policy), None, [given.run(state="EXITED", code=code)])
    found = actions(view, given.now)
    if restarts:
        assert found == (plan.StartContainer("c", "s1", 1, 10.0),)
    else:
        assert found == (plan.StopSandbox("s1"),)  # nothing will run here any more


def test_crash_loop_back_off_doubles_to_five_minutes_and_is_forgotten(given):
    waits, delay, attempt = [], 0.0, 0
    for _ in range(8):
        ended = given.run(state="EXITED", code=1, attempt=attempt, ended=given.now)
        view = given.view(None, None, [ended], delays={"c": delay})
        wake_at = plan.plan(view, given.now).wake_at
        waits.append(0.0 if wake_at is None else wake_at - given.now)
        (start,) = actions(view, wake_at or given.now)
        delay, attempt = start.delay, start.attempt
    assert waits == [0.0, 10.0, 20.0, 40.0, 80.0, 160.0, 300.0, 300.0]
    ran_well = given.run(state="EXITED", code=1, attempt=attempt, started=given.now, ended=given.now + 601)
    (start,) = actions(given.view(None, None, [ran_well], delays={"c": delay}), given.now + 601)
    assert start.delay == 10.0


def test_a_problem_is_waited_out(given):
    problems = {"c": views.Problem("ErrImagePull", "no such image", given.now + 10)}
    found = plan.plan(given.view(problems=problems), given.now)
    assert (found.actions, found.wake_at) == ((), given.now + 10)
    assert actions(given.view(problems=problems), given.now + 10)


def test_a_dead_sandbox_is_made_anew_with_the_next_number(given):
    dead = given.sandbox(state="NOTREADY")
    ended = given.run(state="EXITED", code=137)
    died = given.view(None, (dead,), [ended])  # nobody has given its addresses back yet
    assert actions(died, given.now) == (plan.StopSandbox("s1"), plan.RunSandbox(1))
    assert actions(died._replace(detached={"s1"}), given.now) == (plan.RunSandbox(1),)
    fresh = given.sandbox(2, attempt=1)
    (start,) = actions(given.view(None, (dead, fresh), [ended]), given.now)
    assert (start.sandbox_id, start.attempt) == ("s2", 1)


def test_what_ended_well_is_not_repeated_in_a_new_sandbox(given):
    pod = given.pod(given.container("a"), given.container("b"), restartPolicy="OnFailure")
    sandboxes = (given.sandbox(state="NOTREADY"), given.sandbox(2, attempt=1))
    runs = [given.run("a", state="EXITED"), given.run("b", state="EXITED", code=137)]
    assert [a.name for a in actions(given.view(pod, sandboxes, runs), given.now)] == ["b"]


def test_init_containers_run_again_in_a_new_sandbox(given):
    pod = given.pod(initContainers=(given.container("i"),))
    sandboxes = (given.sandbox(state="NOTREADY"), given.sandbox(2, attempt=1))
    runs = [given.run("i", state="EXITED"), given.run(state="EXITED", code=137)]
    assert [a.name for a in actions(given.view(pod, sandboxes, runs), given.now)] == ["i"]


def test_a_failed_liveness_probe_stops_the_container_once(given):
    probe = core.Probe(terminationGracePeriodSeconds=3)
    pod = given.pod(given.container(livenessProbe=probe), terminationGracePeriodSeconds=30)
    sick = {"c0": views.Health(alive=False)}
    (stop,) = actions(given.view(pod, None, [given.run()], health=sick), given.now)
    assert (stop.id, stop.grace) == ("c0", 3.0)
    assert stop.because == "Container c failed liveness probe, will be restarted"
    told = given.view(pod, None, [given.run()], health=sick, stopping={"c0": given.now + 3})
    assert actions(told, given.now) == ()


def test_a_changed_image_replaces_the_container(given):
    view = given.view(given.pod(given.container(image="nginx")), None, [given.run()])
    (stop,) = actions(view, given.now)
    assert "definition changed" in stop.because


def test_only_two_runs_of_a_container_are_kept(given):
    runs = [given.run(attempt=n, state="EXITED", code=1) for n in range(4)] + [given.run(attempt=4)]
    assert actions(given.view(None, None, runs), given.now) == tuple(
        plan.RemoveContainer(f"c{n}") for n in range(3)
    )


def test_a_dead_sandbox_stays_as_long_as_its_containers_are_remembered(given):
    """Else a pod whose sandboxes die quickly would forget how often it was restarted."""
    ids = {"s1", "s2"}
    sandboxes = (
        given.sandbox(state="NOTREADY"),
        given.sandbox(2, attempt=1, state="NOTREADY"),
        given.sandbox(3, attempt=2),
    )
    ended = given.run(state="EXITED", code=137)  # in s1; none was started in s2
    view = given.view(None, sandboxes, [ended], detached=ids)
    start, remove = actions(view, given.now)
    assert (start.attempt, start.sandbox_id, remove) == (1, "s3", plan.RemoveSandbox("s2"))


def test_an_active_deadline_ends_the_pod(given):
    started = core.PodStatus(startTime=clock.rfc3339(given.now))
    view = given.view(given.pod(activeDeadlineSeconds=60, status=started), None, [given.run()])
    assert plan.plan(view, given.now) == plan.Plan((), given.now + 60)
    (stop,) = actions(view, given.now + 60)
    assert stop.id == "c0"


def test_deletion_stops_containers_then_sidecars_backwards_then_the_sandbox(given):
    pod = given.pod(
        given.container("a"),
        given.container("b"),
        initContainers=(given.container("s1", **SIDECAR), given.container("s2", **SIDECAR)),
        about={"deletionTimestamp": clock.rfc3339(given.now), "deletionGracePeriodSeconds": 7},
    )
    alive = ["a", "b", "s1", "s2"]
    order = []
    while alive:
        view = given.view(pod, None, [given.run(name) for name in alive])
        stopped = plan.end(view, given.now).actions
        assert {a.grace for a in stopped} == {7.0}
        order.append([a.id[:-1] for a in stopped])
        alive = [name for name in alive if name not in order[-1]]
    assert order == [["a", "b"], ["s2"], ["s1"]]
    ended = [given.run("a", state="EXITED")]
    assert plan.end(given.view(pod, None, ended), given.now).actions == (plan.StopSandbox("s1"),)
    dead = (given.sandbox(state="NOTREADY"),)
    assert plan.end(given.view(pod, dead, ended), given.now).actions == (plan.StopSandbox("s1"),)
    stopped = given.view(pod, dead, ended, detached={"s1"})
    assert plan.end(stopped, given.now).actions == (plan.RemoveSandbox("s1"),)
    assert plan.end(given.view(pod, (), []), given.now).done


def test_a_shorter_grace_is_obeyed_at_once(given):
    pod = given.pod(about={"deletionTimestamp": clock.rfc3339(given.now), "deletionGracePeriodSeconds": 1})
    told = given.view(pod, None, [given.run()], stopping={"c0": given.now + 30})
    (stop,) = plan.end(told, given.now).actions
    assert (stop.grace, stop.hook) == (1.0, False)
    assert plan.end(told._replace(stopping={"c0": given.now + 1}), given.now).actions == ()


@pytest.mark.parametrize("seed", range(30))
def test_whatever_happens_the_pod_comes_to_rest_as_wished(given, seed):
    """Random deaths; after each, plan and apply until nothing is left to do: all runs, or all is gone."""
    import asyncio

    chance = random.Random(seed)
    asyncio.run(_walk(given, chance))


async def _walk(given, chance):
    time_of = clock.FakeClock(given.now)
    runtime = fake_runtime.FakeRuntime(time_of, images=("busybox",))
    inits = (given.container("side", **SIDECAR), given.container("i"))
    pod = given.pod(given.container("a"), given.container("b"), initContainers=inits[: chance.randrange(3)])
    delays, detached = {}, set()

    def view():
        return views.View(
            pod,
            tuple(runtime.sandboxes.values()),
            tuple(runtime.containers.values()),
            delays=delays,
            detached=detached,
        )

    async def settle(planner):
        nonlocal detached
        for _ in range(60):
            found = planner(view(), time_of.now())
            if not found.actions:
                if found.done or found.wake_at is None:
                    return found
                time_of.advance(found.wake_at - time_of.now())
            for action in found.actions:
                await _apply(runtime, action, given, delays)
                detached |= {action.id} if isinstance(action, plan.StopSandbox) else set()
            runtime.end("i", 0)
        raise AssertionError(f"never at rest: {found}")

    for _ in range(chance.randrange(1, 6)):
        await settle(plan.plan)
        assert {"a", "b"} <= set(runtime.running())
        if chance.random() < 0.4:
            runtime.kill_sandbox(chance.choice(list(runtime.sandboxes)))
        else:
            runtime.end(chance.choice(["a", "b", "side"]), chance.randrange(2))
        time_of.advance(chance.choice([0.0, 5.0, 700.0]))
    ending = pod.metadata.__class__(name="web", uid="u1", deletionTimestamp=clock.rfc3339(given.now))
    pod = core.Pod(metadata=ending, spec=pod.spec)
    assert (await settle(plan.end)).done
    assert (runtime.sandboxes, runtime.containers) == ({}, {})


async def _apply(runtime, action, given, delays):
    match action:
        case plan.RunSandbox(attempt):
            await runtime.run_pod_sandbox(given.sandbox(attempt=attempt).config)
        case plan.StartContainer(name, sandbox_id, attempt, delay):
            config = given.run(name, attempt=attempt).config
            await runtime.start_container(await runtime.create_container(sandbox_id, config))
            delays[name] = delay
        case plan.StopContainer():
            await runtime.stop_container(action.id, action.grace)
        case plan.StopSandbox(sandbox_id):
            await runtime.stop_pod_sandbox(sandbox_id)
        case plan.RemoveSandbox(sandbox_id):
            await runtime.remove_pod_sandbox(sandbox_id)
        case plan.RemoveContainer(container_id):
            await runtime.remove_container(container_id)


def test_an_ephemeral_container_runs_once_whatever_becomes_of_it(given):
    looking = (core.EphemeralContainer(name="look", image="busybox"),)
    pod = given.pod(given.container("a"), ephemeralContainers=looking)
    (start,) = actions(given.view(pod, None, [given.run("a")]), given.now)
    assert start[::2] == ("look", 0)
    for state in ("RUNNING", "EXITED"):
        runs = [given.run("a"), given.run("look", state=state, code=1)]
        assert actions(given.view(pod, None, runs), given.now) == ()
    starting = given.pod(
        given.container("a"), ephemeralContainers=looking, initContainers=(given.container("i"),)
    )
    assert [a.name for a in actions(given.view(starting, None, [given.run("i")]), given.now)] == ["look"]
