"""Every kind there is: made, read in every form, watched, changed and deleted; and kinds of two forms."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from netemu.api import core, extensions, kinds

_FILE = Path(__file__).parents[1] / "api" / "test_api_validation.py"
_TABLE = (("accept", "application/json;as=Table;v=v1;g=meta.k8s.io"),)


@pytest.fixture(scope="module")
def good() -> dict[type, dict[str, Any]]:
    """A good object of every kind, from the tests of validation."""
    spec = importlib.util.spec_from_file_location("good_objects", _FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[type, dict[str, Any]] = module.GOOD
    return found


def test_every_kind_lives(world: Any, good: dict[type, dict[str, Any]]) -> None:
    async def story(w: Any) -> None:
        await w.make("/api/v1/namespaces", {"metadata": {"name": "ns"}})
        await w.make("/api/v1/namespaces/ns/serviceaccounts", {"metadata": {"name": "default"}})
        for kind in kinds.ALL:
            if "create" not in kind.verbs:
                continue
            base = kind.path("ns") if kind.namespaced else kind.path()
            made = await w.ask("POST", base, good[kind.type])
            if kind.type is core.Namespace or made.status == 409:
                continue
            assert made.status == 201, (kind.qualified, made.body)
            assert (made.body["kind"], made.body["apiVersion"]) == (kind.kind, kind.api_version)
            name = made.body["metadata"]["name"]
            again = await w.ask("PUT", f"{base}/{name}", made.body)
            assert again.status == 200, (kind.qualified, again.body)
            assert again.body == made.body, kind.qualified
            table = await w.ask("GET", base, headers=_TABLE)
            row = next(row for row in table.body["rows"] if row["object"]["metadata"]["name"] == name)
            assert len(row["cells"]) == len(table.body["columnDefinitions"])
            labelled = await w.ask("PATCH", f"{base}/{name}", {"metadata": {"labels": {"seen": "yes"}}})
            assert labelled.status == 200
            assert labelled.body["metadata"].get("generation") == made.body["metadata"].get("generation")
            listed = await w.ask("GET", f"{base}?labelSelector=seen")
            assert [one["metadata"]["name"] for one in listed.body["items"]] == [name]
            gone = await w.ask("DELETE", f"{base}/{name}")
            assert gone.status == 200, (kind.qualified, gone.body)
            while (left := await w.ask("GET", f"{base}/{name}")).status != 404:
                # Its objects go first.
                assert kind.type is extensions.CustomResourceDefinition, kind.qualified
                assert "deletionTimestamp" in left.body["metadata"]
                await asyncio.sleep(0)

    world(story)


def test_events_are_one_store_in_two_forms(world: Any) -> None:
    new = "/apis/events.k8s.io/v1/namespaces/default/events"
    old = "/api/v1/namespaces/default/events"
    event = {
        "metadata": {"name": "a"},
        "eventTime": "2026-01-02T03:04:05.000006Z",
        "note": "pulled",
        "reason": "Pulled",
        "type": "Normal",
        "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
        "reportingController": "kubelet",
        "reportingInstance": "worker-1",
        "action": "Pulling",
    }

    async def story(w: Any) -> None:
        made = await w.make(new, event)
        assert made["kind"] == "Event"
        assert made["note"] == "pulled"
        seen = (await w.ask("GET", f"{old}/a")).body
        assert seen["apiVersion"] == "v1"
        assert (seen["message"], seen["involvedObject"]["name"]) == ("pulled", "web")
        assert seen["reportingComponent"] == "kubelet"
        assert seen["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
        series = {"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}}
        patched = await w.ask("PATCH", f"{new}/a", series)
        assert patched.body["series"]["count"] == 2
        picked = await w.ask("GET", f"{new}?fieldSelector=regarding.name=web")
        assert len(picked.body["items"]) == 1
        await w.make(old, {"metadata": {"name": "b"}, "message": "old", "count": 3,
                           "involvedObject": {"namespace": "default"}})  # fmt: skip
        listed = (await w.ask("GET", new)).body
        assert [one.get("note") for one in listed["items"]] == ["pulled", "old"]
        assert listed["items"][1]["deprecatedCount"] == 3
        table = await w.ask("GET", new, headers=_TABLE)
        assert [row["cells"][6] for row in table.body["rows"]] == ["pulled", "old"]
        gone = await w.ask("DELETE", f"{new}/a")
        assert gone.status == 200
        assert (await w.ask("GET", f"{old}/a")).status == 404

    world(story)


def test_autoscalers_of_the_first_form_are_those_of_the_second(world: Any) -> None:
    first = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
    second = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"

    async def story(w: Any) -> None:
        target = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
        spec = {"scaleTargetRef": target, "maxReplicas": 5, "targetCPUUtilizationPercentage": 70}
        await w.make(first, {"metadata": {"name": "web"}, "spec": spec})
        newer = (await w.ask("GET", f"{second}/web")).body
        assert newer["spec"]["metrics"] == [
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            }
        ]
        newer["spec"]["behavior"] = {"scaleUp": {"stabilizationWindowSeconds": 5}}
        assert (await w.ask("PUT", f"{second}/web", newer)).status == 200
        older = (await w.ask("GET", f"{first}/web")).body
        assert older["spec"]["targetCPUUtilizationPercentage"] == 70
        note = older["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/behavior"]
        assert '"stabilizationWindowSeconds":5' in note
        assert (await w.ask("PUT", f"{first}/web", older)).status == 200
        assert (await w.ask("GET", f"{second}/web")).body["spec"] == newer["spec"] | {
            "behavior": {"scaleUp": {"stabilizationWindowSeconds": 5, "selectPolicy": "Max"}}
        }

    world(story)


def test_a_job_selects_its_own_pods(world: Any, good: dict[type, dict[str, Any]]) -> None:
    from netemu.api import batch

    async def story(w: Any) -> None:
        job = good[batch.Job] | {"metadata": {"name": "once"}}
        made = await w.make("/apis/batch/v1/namespaces/default/jobs", job)
        uid = made["metadata"]["uid"]
        assert made["spec"]["selector"]["matchLabels"] == {"batch.kubernetes.io/controller-uid": uid}
        labels = made["spec"]["template"]["metadata"]["labels"]
        assert (labels["batch.kubernetes.io/job-name"], labels["job-name"]) == ("once", "once")

    world(story)


def test_applying_twice_changes_nothing(world: Any, good: dict[type, dict[str, Any]]) -> None:
    apply = (("content-type", "application/apply-patch+yaml"),)

    async def story(w: Any) -> None:
        await w.make("/api/v1/namespaces", {"metadata": {"name": "ns"}})
        await w.make("/api/v1/namespaces/ns/serviceaccounts", {"metadata": {"name": "default"}})
        for kind in kinds.ALL:
            if "create" not in kind.verbs or kind.type is core.Namespace:
                continue
            wanted = {"kind": kind.kind, "apiVersion": kind.api_version, **good[kind.type]}
            base = kind.path("ns") if kind.namespaced else kind.path()
            at = f"{base}/{wanted['metadata']['name']}"
            if (await w.ask("GET", at)).status == 200:
                continue
            first = await w.ask("PATCH", f"{at}?fieldManager=one", wanted, headers=apply)
            assert first.status == 201, (kind.qualified, first.body)
            second = await w.ask("PATCH", f"{at}?fieldManager=one", wanted, headers=apply)
            assert (second.status, second.body) == (200, first.body), kind.qualified
            bare = {key: wanted[key] for key in ("kind", "apiVersion", "metadata")}
            shared = await w.ask("PATCH", f"{at}?fieldManager=two", bare, headers=apply)
            assert shared.status == 200, (kind.qualified, shared.body)
            own = [e["manager"] for e in first.body["metadata"].get("managedFields", ())]
            assert own in (["one"], []), kind.qualified

    world(story)
