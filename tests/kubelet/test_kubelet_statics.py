"""Static pods: files of the node that run whatever the API says, and what stands for them there."""

import asyncio

import pytest

from netemu.api import core, wellknown
from netemu.base import errors
from netemu.client import errors as api_errors
from netemu.kubelet import statics

TEXT = """
kind: Pod
apiVersion: v1
metadata: {name: proxy, namespace: kube-system, labels: {app: proxy}}
spec:
  containers: [{name: c, image: nginx}]
"""


def test_a_file_is_a_pod_of_this_node():
    pod = statics.parse(TEXT.encode(), "proxy.yaml", "n1", 0.0)
    assert (pod.metadata.name, pod.metadata.namespace) == ("proxy-n1", "kube-system")
    assert pod.spec.nodeName == "n1"
    assert core.Toleration(operator="Exists", effect="NoExecute") in pod.spec.tolerations
    assert pod.metadata.annotations["kubernetes.io/config.hash"] == pod.metadata.uid
    assert pod.metadata.annotations["kubernetes.io/config.source"] == "file"
    again = statics.parse(TEXT.encode(), "proxy.yaml", "n1", 9.0)
    assert again.metadata.uid == pod.metadata.uid  # an agent that starts again knows it again
    changed = statics.parse(TEXT.replace("nginx", "busybox").encode(), "proxy.yaml", "n1", 0.0)
    assert changed.metadata.uid != pod.metadata.uid


@pytest.mark.parametrize(
    "text", ["{", "kind: Service", "[]", "kind: Pod", "kind: Pod\nspec: {containers: 5}"]
)
def test_a_file_that_is_no_pod_is_left_out_with_the_reason(text):
    with pytest.raises(errors.Rejected, match=r"^x\.yaml: "):
        statics.parse(text.encode(), "x.yaml", "n1", 0.0)


def test_a_static_pod_runs_and_has_a_mirror_that_nobody_can_stop_it_by(cluster, tmp_path):
    place = tmp_path / "manifests"
    place.mkdir()
    (place / "proxy.yaml").write_text(TEXT)
    (place / "broken.yaml").write_text("{")

    async def story():
        async with cluster() as c:
            first = await c.eventually(lambda: mirrored(c))
            assert first.metadata.annotations[wellknown.MIRROR_POD]
            assert first.metadata.ownerReferences[0].kind == "Node"
            assert first.status.podIP
            (sandbox,) = c.runtime.sandboxes
            await c.client.delete(core.Pod, "proxy-n1", "kube-system")
            second = await c.eventually(lambda: mirrored(c, other_than=first.metadata.uid))
            assert second.status.podIP == first.status.podIP
            assert list(c.runtime.sandboxes) == [sandbox]  # nothing happened to what runs
            await c.restart()
            await c.eventually(lambda: mirrored(c))
            assert list(c.runtime.sandboxes) == [sandbox]
            (place / "proxy.yaml").write_text(TEXT.replace("nginx", "busybox"))
            third = await c.eventually(lambda: mirrored(c, other_than=second.metadata.uid))
            assert third.spec.containers[0].image == "busybox"
            (place / "proxy.yaml").unlink()
            await c.eventually(lambda: not c.runtime.sandboxes)
            await c.eventually(lambda: gone(c))

    async def mirrored(c, other_than=""):
        try:
            found = await c.client.get(core.Pod, "proxy-n1", "kube-system")
        except api_errors.NotFound:
            return None
        ready = any(x.type == "Ready" and x.status == "True" for x in found.status.conditions)
        return found if ready and found.metadata.uid != other_than else None

    async def gone(c):
        return not (await c.client.list(core.Pod, "kube-system")).items

    asyncio.run(asyncio.wait_for(story(), 60))
