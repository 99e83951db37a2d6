"""Deployments: arithmetic by table, and whole rollouts played against pods that come and go at random."""

import random
from dataclasses import dataclass, field

import msgspec
import pytest

from netemu.api import apps
from netemu.controllers import hashes
from netemu.controllers.deployment import conditions, plan, rollout

# https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#max-unavailable: down; max-surge: up
FENCEPOSTS = [
    (10, "25%", "25%", (3, 2)),
    (3, "25%", "25%", (1, 0)),
    (1, "25%", "25%", (1, 0)),
    (10, 0, 0, (0, 1)),
    (2, "0%", "25%", (0, 1)),
    (10, 5, "100%", (5, 10)),
]


@pytest.mark.parametrize(("replicas", "surge", "unavailable", "expected"), FENCEPOSTS)
def test_fenceposts(make, replicas, surge, unavailable, expected):
    deployment = make.deployment(replicas, surge=surge, unavailable=unavailable)
    assert rollout.fenceposts(deployment) == expected


def test_the_first_replica_set_has_all_replicas_and_all_names(make):
    step = plan.plan(make.deployment(3), [])
    made = step.create
    digest = made.metadata.labels["pod-template-hash"]
    assert made.metadata.name == f"web-{digest}"
    assert set(digest) <= set("bcdfghjklmnpqrstvwxz2456789")
    assert made.spec.replicas == 3
    assert made.spec.selector.matchLabels == {"app": "web", "pod-template-hash": digest}
    assert made.spec.template.metadata.labels == {"app": "web", "pod-template-hash": digest}
    assert made.metadata.annotations == {
        "deployment.kubernetes.io/revision": "1",
        "deployment.kubernetes.io/desired-replicas": "3",
        "deployment.kubernetes.io/max-replicas": "4",
    }
    assert step.revision == "1"


def test_safe_encoding_is_upstreams():
    # rand.SafeEncodeString: the code of each digit modulo 27, e.g. "1": 49 - 27 = 22 -> "5"
    assert hashes.safe("1") == "5"
    assert hashes.safe("16") == "5b"  # "6" is 54, a multiple of 27
    assert hashes.fnv32a(b"") == 0x811C9DC5
    assert hashes.fnv32a(b"foobar") == 0xBF9CF968  # the reference vectors of FNV


def test_a_collision_makes_another_name(make):
    first = plan.plan(make.deployment(), []).create.metadata.name
    deployment = msgspec.structs.replace(make.deployment(), status=apps.DeploymentStatus(collisionCount=1))
    assert plan.plan(deployment, []).create.metadata.name != first


def test_an_old_template_made_current_again_gets_the_next_revision_and_a_history(make):
    revision, history = rollout.REVISION, rollout.HISTORY
    old = make.replica_set("web-1", 0, image="app:1", annotations={revision: "1"})
    new = make.replica_set("web-2", 3, image="app:2", annotations={revision: "2"})
    step = plan.plan(make.deployment(3, image="app:1"), [old, new])
    assert step.refresh[0].metadata.name == "web-1"
    assert step.refresh[0].metadata.annotations[revision] == "3"
    assert step.refresh[0].metadata.annotations[history] == "1"
    assert step.revision == "3"


def test_a_paused_deployment_starts_no_rollout_but_scales(make):
    current = {rollout.DESIRED: "3", rollout.MAX: "4", rollout.REVISION: "1"}
    running = make.replica_set("web-1", 3, annotations=current)
    assert plan.plan(make.deployment(3, image="app:2", paused=True), [running]).is_empty
    step = plan.plan(make.deployment(5, image="app:2", paused=True), [running])
    assert [(r.replica_set.metadata.name, r.replicas) for r in step.resize] == [("web-1", 5)]


def test_scaling_in_the_middle_of_a_rollout_is_shared_in_proportion(make):
    # The documentation's example: 10 replicas, surge 3, unavailable 2, stuck at 8 old + 5 new; scaled to 15.
    sizes = {rollout.DESIRED: "10", rollout.MAX: "13"}
    old = make.replica_set("web-1", 8, annotations={**sizes, rollout.REVISION: "1"})
    new = make.replica_set(
        "web-2",
        5,
        available=0,
        image="app:2",
        annotations={**sizes, rollout.REVISION: "2"},
        created="2026-01-01T00:01:00Z",
    )
    deployment = make.deployment(15, image="app:2", surge=3, unavailable=2)
    step = plan.plan(deployment, [old, new])
    assert {r.replica_set.metadata.name: r.replicas for r in step.resize} == {"web-1": 11, "web-2": 7}


def test_history_beyond_the_limit_goes_oldest_revision_first(make):
    olds = [
        make.replica_set(f"web-{n}", 0, image=f"app:{n}", annotations={rollout.REVISION: str(n)})
        for n in (1, 2, 3)
    ]
    current = {rollout.REVISION: "4", rollout.DESIRED: "2", rollout.MAX: "3"}
    new = make.replica_set("web-4", 2, image="app:4", annotations=current)
    step = plan.plan(make.deployment(2, image="app:4", revisionHistoryLimit=1), [*olds, new])
    assert [one.metadata.name for one in step.delete] == ["web-1", "web-2"]


def test_recreate_waits_until_the_last_old_pod_is_gone(make):
    deployment = make.deployment(3, image="app:2", kind="Recreate")
    old = make.replica_set("web-1", 3)
    assert [r.replicas for r in plan.plan(deployment, [old]).resize] == [0]
    stopped = make.replica_set("web-1", 0)
    leaving = make.pod("x", deleting=True)
    assert plan.plan(deployment, [stopped], [leaving]).is_empty
    assert plan.plan(deployment, [stopped], []).create.spec.replicas == 3


def test_a_deployment_that_is_being_deleted_does_nothing(make):
    deployment = make.change(make.deployment(3), deletionTimestamp=make.now)
    assert plan.plan(deployment, []).is_empty


# --- whole rollouts


@dataclass
class Cluster:
    """ReplicaSets with pods that become available, and break, by chance."""

    make: object
    deployment: apps.Deployment
    sets: dict = field(default_factory=dict)
    clock: int = 0

    def apply(self, step):
        if step.create is not None:
            self.clock += 1
            stamp = f"2026-01-01T00:{self.clock // 60:02}:{self.clock % 60:02}Z"
            made = self.make.change(
                step.create, uid=step.create.metadata.name, creationTimestamp=stamp, generation=1
            )
            self.sets[made.metadata.name] = made
        for one in step.refresh:
            self.sets[one.metadata.name] = one
        for resize in step.resize:
            one = self.sets[resize.replica_set.metadata.name]
            one = self.make.change(one, annotations={**one.metadata.annotations, **resize.annotations})
            spec = msgspec.structs.replace(one.spec, replicas=resize.replicas)
            self.sets[one.metadata.name] = msgspec.structs.replace(one, spec=spec)
        for one in step.delete:
            del self.sets[one.metadata.name]
        if step.revision:
            self.deployment = self.make.change(
                self.deployment,
                annotations={**self.deployment.metadata.annotations, rollout.REVISION: step.revision},
            )

    def pods_move(self, chance):
        """Each ReplicaSet's pods take a random step towards what is wanted."""
        for name, one in self.sets.items():
            replicas = one.spec.replicas
            available = min(one.status.availableReplicas, replicas)
            if chance is None:
                available = replicas
            else:
                available = min(replicas, max(0, available + chance.choice([-1, 0, 1, 2])))
            status = apps.ReplicaSetStatus(
                replicas=replicas, readyReplicas=available, availableReplicas=available, observedGeneration=1
            )
            self.sets[name] = msgspec.structs.replace(one, status=status)

    def settle(self):
        for _ in range(10):
            step = plan.plan(self.deployment, list(self.sets.values()))
            if step.is_empty:
                return
            self.apply(step)
        raise AssertionError("the plan does not settle")


@pytest.mark.parametrize("seed", range(40))
def test_from_any_state_a_rollout_ends_with_all_new_and_nothing_to_do(make, seed):
    chance = random.Random(seed)
    cluster = Cluster(make, make.deployment(chance.randrange(0, 12)))
    for _ in range(60):
        if chance.random() < 0.2:
            cluster.deployment = msgspec.structs.replace(
                make.deployment(
                    chance.randrange(0, 12),
                    image=f"app:{chance.randrange(4)}",
                    surge=chance.choice(["25%", 0, 1, 5, "100%"]),
                    unavailable=chance.choice(["25%", 0, 1, 3]),
                    paused=chance.random() < 0.1,
                ),
                metadata=cluster.deployment.metadata,
            )
        cluster.settle()
        cluster.pods_move(chance)
    cluster.deployment = msgspec.structs.replace(
        cluster.deployment, spec=msgspec.structs.replace(cluster.deployment.spec, paused=False)
    )
    for _ in range(60):
        cluster.settle()
        cluster.pods_move(None)
    seen = plan.view(cluster.deployment, cluster.sets.values())
    assert rollout.replicas(seen.new) == rollout.replicas(cluster.deployment)
    assert [rollout.replicas(one) for one in seen.old if rollout.replicas(one)] == []
    assert plan.plan(cluster.deployment, list(cluster.sets.values())).is_empty


@pytest.mark.parametrize(("surge", "unavailable"), [("25%", "25%"), (1, 0), (0, 1), (3, 2), ("100%", 0)])
@pytest.mark.parametrize("seed", range(5))
def test_a_rollout_never_leaves_its_bounds(make, surge, unavailable, seed):
    chance = random.Random(seed)
    cluster = Cluster(make, make.deployment(10, surge=surge, unavailable=unavailable))
    cluster.settle()
    cluster.pods_move(None)
    update = make.deployment(10, image="app:2", surge=surge, unavailable=unavailable)
    cluster.deployment = msgspec.structs.replace(update, metadata=cluster.deployment.metadata)
    most = 10 + rollout.fenceposts(update)[0]
    least = 10 - rollout.fenceposts(update)[1]
    for _ in range(200):
        before = {name: one.status.availableReplicas for name, one in cluster.sets.items()}
        cluster.settle()
        assert rollout.total(list(cluster.sets.values())) <= most
        # Whatever was available and is not scaled away stays: at worst the available ones of a set are
        # removed.
        kept = sum(min(before.get(name, 0), one.spec.replicas) for name, one in cluster.sets.items())
        assert kept >= least
        # new pods become available one by one, none breaks
        for name, one in cluster.sets.items():
            available = min(one.spec.replicas, before.get(name, 0) + chance.randrange(2))
            status = apps.ReplicaSetStatus(
                replicas=one.spec.replicas,
                availableReplicas=available,
                readyReplicas=available,
                observedGeneration=1,
            )
            cluster.sets[name] = msgspec.structs.replace(one, status=status)
    assert plan.view(cluster.deployment, cluster.sets.values()).new.status.availableReplicas == 10


# --- status


def moment(seconds=0):
    return conditions.Now(1767225600.0 + seconds, f"2026-01-01T00:{seconds // 60:02}:{seconds % 60:02}Z")


def by_type(status):
    return {one.type: (one.status, one.reason) for one in status.conditions}


def test_a_rollout_in_conditions(make):
    deployment = make.deployment(3)
    created = conditions.condition("Progressing", "True", conditions.NEW_CREATED, "", moment())
    empty = make.replica_set("web-1", 3, available=0, observed=0)
    status = conditions.status(deployment, empty, [empty], created, moment())
    assert by_type(status) == {
        "Progressing": ("True", "NewReplicaSetCreated"),
        "Available": ("False", "MinimumReplicasUnavailable"),
    }
    deployment = msgspec.structs.replace(deployment, status=status)
    half = make.replica_set("web-1", 3, available=1)
    status = conditions.status(deployment, half, [half], None, moment(5))
    assert by_type(status)["Progressing"] == ("True", "ReplicaSetUpdated")
    assert (status.replicas, status.readyReplicas, status.unavailableReplicas) == (3, 1, 2)
    deployment = msgspec.structs.replace(deployment, status=status)
    done = make.replica_set("web-1", 3)
    status = conditions.status(deployment, done, [done], None, moment(9))
    assert by_type(status) == {
        "Progressing": ("True", "NewReplicaSetAvailable"),
        "Available": ("True", "MinimumReplicasAvailable"),
    }
    progress = conditions.find(status.conditions, "Progressing")
    assert progress.message == 'ReplicaSet "web-1" has successfully progressed.'
    assert (progress.lastTransitionTime, progress.lastUpdateTime) == (moment(0).text, moment(9).text)
    deployment = msgspec.structs.replace(deployment, status=status)
    assert conditions.status(deployment, done, [done], None, moment(50)) == status
    assert conditions.deadline_in(deployment, status, moment(50)) is None


def test_a_rollout_that_takes_too_long(make):
    stuck = make.replica_set("web-1", 3, available=0)
    deployment = make.deployment(3, progressDeadlineSeconds=60)
    status = conditions.status(
        deployment,
        stuck,
        [stuck],
        conditions.condition("Progressing", "True", "ReplicaSetUpdated", "", moment()),
        moment(),
    )
    deployment = msgspec.structs.replace(deployment, status=status)
    assert conditions.deadline_in(deployment, status, moment(30)) == pytest.approx(31.0)
    late = conditions.status(deployment, stuck, [stuck], None, moment(61))
    assert by_type(late)["Progressing"] == ("False", "ProgressDeadlineExceeded")
    assert (
        conditions.find(late.conditions, "Progressing").message
        == 'ReplicaSet "web-1" has timed out progressing.'
    )


def test_a_failing_replica_set_shows(make):
    failing = make.replica_set("web-1", 3, available=0)
    failure = apps.ReplicaSetCondition(
        type="ReplicaFailure", status="True", reason="FailedCreate", message="no"
    )
    failing = msgspec.structs.replace(
        failing, status=msgspec.structs.replace(failing.status, conditions=(failure,))
    )
    status = conditions.status(make.deployment(3), failing, [failing], None, moment())
    assert by_type(status)["ReplicaFailure"] == ("True", "FailedCreate")
    healthy = make.replica_set("web-1", 3)
    deployment = msgspec.structs.replace(make.deployment(3), status=status)
    assert "ReplicaFailure" not in by_type(conditions.status(deployment, healthy, [healthy], None, moment()))


def test_paused_and_resumed(make):
    running = make.replica_set("web-1", 3)
    paused = make.deployment(3, paused=True)
    progress = conditions.pausing(paused, moment())
    assert (progress.status, progress.reason) == ("Unknown", "DeploymentPaused")
    status = conditions.status(paused, running, [running], progress, moment())
    resumed = msgspec.structs.replace(make.deployment(3), status=status)
    assert conditions.pausing(resumed, moment()).reason == "DeploymentResumed"
