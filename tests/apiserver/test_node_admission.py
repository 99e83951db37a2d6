"""A node is born not ready: its taint is there before anybody could schedule to it."""

from typing import Any


def test_a_new_node_takes_no_pods_until_it_is_ready(world: Any) -> None:
    async def story(w: Any) -> None:
        mine = {"key": "dedicated", "value": "db", "effect": "NoExecute"}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "spec": {"taints": [mine]}}
        made = await w.ask("POST", "/api/v1/nodes", node)
        assert made.status == 201
        assert made.body["spec"]["taints"] == [
            mine,
            {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"},
        ]
        made.body["spec"]["taints"] = [mine]
        changed = await w.ask("PUT", "/api/v1/nodes/n", made.body)
        assert changed.body["spec"]["taints"] == [mine], "only at its birth"

    world(story)


def test_a_node_is_born_with_the_status_its_kubelet_gives(world: Any) -> None:
    async def story(w: Any) -> None:
        addresses = [{"type": "InternalIP", "address": "172.18.0.3"}]
        node = {"metadata": {"name": "n"}, "status": {"addresses": addresses}}
        assert (await w.make("/api/v1/nodes", node))["status"]["addresses"] == addresses
        pod = w.pod() | {"status": {"phase": "Running"}}
        assert (await w.make("/api/v1/namespaces/default/pods", pod))["status"]["phase"] == "Pending"

    world(story)
