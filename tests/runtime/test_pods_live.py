"""Pods as a kubelet makes them, in real namespaces: what a container sees, says, leaves and survives."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from netemu.base import errors
from netemu.runtime import local
from netemu.runtime.images import catalogue
from netemu.wire import cri

if TYPE_CHECKING:
    from conftest import Node

pytestmark = pytest.mark.root


def pod(node: Node, name: str = "web", **fields: object) -> cri.SandboxConfig:
    given: dict[str, object] = {"hostname": name, "log_directory": node.logs, **fields}
    return cri.SandboxConfig(name, "default", "uid-1", **given)  # type: ignore[arg-type]


def shell(text: str, **fields: object) -> cri.ContainerConfig:
    return cri.ContainerConfig("main", "busybox", command=("sh", "-c", text), **fields)  # type: ignore[arg-type]


async def start(runtime: local.LocalRuntime, sandbox: cri.Sandbox, config: cri.ContainerConfig) -> str:
    made = await runtime.create_container(sandbox.id, config)
    await runtime.start_container(made)
    return made


async def ended(runtime: local.LocalRuntime, container_id: str) -> cri.Container:
    async for container in runtime.events():
        if container.id == container_id and container.state == "EXITED":
            return container
    raise AssertionError("the events ended")


async def output(runtime: local.LocalRuntime, container_id: str, *command: str) -> str:
    result = await runtime.exec_sync(container_id, command, 10)
    assert result.code == 0, result
    return result.stdout.decode()


async def answers(runtime: local.LocalRuntime, container_id: str, *command: str) -> str:
    """As `output`, once the program it asks is listening."""
    while (await runtime.exec_sync(container_id, command, 10)).code:
        await asyncio.sleep(0)
    return await output(runtime, container_id, *command)


def said(node: Node, path: str) -> list[tuple[str, str, str]]:
    """Stream, tag and text of each record of a log."""
    lines = Path(node.path(f"{node.logs}/{path}")).read_text().splitlines()
    found = [
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z (stdout|stderr) (F|P) (.*)", line)
        for line in lines
    ]
    assert all(found), lines
    return [match.groups() for match in found if match]  # type: ignore[misc]


def test_a_container_runs_logs_and_ends(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        assert (sandbox.state, sandbox.ips) == ("READY", ("10.244.9.9", "fd00:244:9::9"))
        made = await start(
            runtime,
            sandbox,
            shell(
                'echo "out $GREETING"; printf "no newline" >&2; exit 3',
                env=(("GREETING", "hi"),),
                log_path="m/0.log",
            ),
        )
        container = await ended(runtime, made)
        assert (container.exit_code, container.reason) == (3, "Error")
        assert 0 < container.created_at <= container.started_at <= container.finished_at
        assert sorted(said(node, "m/0.log")) == [("stderr", "F", "no newline"), ("stdout", "F", "out hi")]

    node.run(story)


def test_a_container_sees_a_file_system_of_its_own(node: Node) -> None:
    script = r"""
        is() { test "$1" = "$2" || echo "$1 is not $2"; }
        can() { "$@" 2>/dev/null >/tmp/said || echo "cannot $*"; }
        cannot() { ! "$@" 2>/dev/null >/tmp/said || echo "can $*"; }
        is "$(hostname)" web
        is "$(cat /etc/hostname)" web
        can grep "^10.244.9.9.web$" /etc/hosts
        can grep "^fd00:244:9::9.web$" /etc/hosts
        is "$(cat /etc/resolv.conf)" "nameserver 10.96.0.10"
        cannot touch /usr/here
        cannot touch /etc/here
        can touch /tmp/a /run/b /var/run/c /root/d /var/log/e /here
        can test -e /run/c
        cannot test -e /run/netemu
        cannot test -s /etc/shadow
        is "$(cat /srv/file)" shown
        cannot test -e /srv/state/ca.key
        is "$(ls /home /mnt)" "/home:

/mnt:"
        can grep -q 00:00:00:00:00:00 /sys/class/net/lo/address
        cannot test -e /sys/class/net/eth0
        is "$(cat /proc/1/comm)" pause
        cannot sh -c 'echo 1 > /proc/sys/kernel/panic'
        cannot mount -t tmpfs none /mnt
        cannot mknod /tmp/disk b 8 0
        can sh -c 'echo x > /dev/null'
        is "$(head -c 2 /dev/zero | wc -c)" 2
        is "$PATH" /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/.netemu/bin
        is "$HOME" /root
        is "$HOSTNAME" web
        echo asked
    """

    async def story(runtime: local.LocalRuntime) -> None:
        hosts = "127.0.0.1\tlocalhost\n@addresses\tweb\n"
        config = pod(node, hosts=hosts, resolv_conf="nameserver 10.96.0.10\n")
        sandbox = await runtime.run_pod_sandbox(config)
        made = await start(runtime, sandbox, shell(script, log_path="0.log"))
        container = await ended(runtime, made)
        assert (container.exit_code, said(node, "0.log")) == (0, [("stdout", "F", "asked")])

    node.run(story)


def test_volumes_appear_wherever_they_are_asked_for(node: Node, tmp_path: Path) -> None:
    (tmp_path / "volume" / "sub").mkdir(parents=True)
    (tmp_path / "volume" / "sub" / "file").write_text("content\n")
    places = ("/data", "/etc/brand/new", "/usr/share/nginx/html", "/var/lib/x", "/run/secrets/y", "/bin-like")
    mounts = tuple(cri.Mount(str(tmp_path / "volume"), place) for place in places)
    one_file = cri.Mount(str(tmp_path / "volume" / "sub" / "file"), "/etc/brand/single.conf", readonly=True)
    tests = " && ".join(f"grep -q content {place}/sub/file" for place in places)
    script = f"""
        {tests} && grep -q content /etc/brand/single.conf && test -e /etc/passwd && test -e /usr/share/doc &&
        grep -q web /etc/hostname && touch /data/written || exit 1
        touch /etc/brand/single.conf && exit 2
        touch /etc/ro/x && exit 3
        exit 0"""

    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        read_only = cri.Mount(str(tmp_path / "volume"), "/etc/ro", readonly=True)
        config = shell(script, mounts=(*mounts, one_file, read_only), log_path="0.log")
        container = await ended(runtime, await start(runtime, sandbox, config))
        assert container.exit_code == 0, said(node, "0.log")
        assert (tmp_path / "volume" / "written").exists()

    node.run(story)


def test_a_volume_that_is_not_there_is_named(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        made = await runtime.create_container(
            sandbox.id, shell("true", mounts=(cri.Mount("/no/such", "/data"),))
        )
        with pytest.raises(local.StartFailed, match=r"/no/such: No such file or directory"):
            await runtime.start_container(made)
        assert (await runtime.container_status(made)).state == "EXITED"

    node.run(story)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("no-such-program",), 'exec: "no-such-program": executable file not found in $PATH'),
        (("/no/such/program",), 'exec: "/no/such/program": stat /no/such/program: no such file or directory'),
        (("/etc",), 'exec: "/etc": permission denied'),
    ],
)
def test_a_program_that_cannot_start_says_so(node: Node, command: tuple[str, ...], message: str) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        made = await runtime.create_container(
            sandbox.id, cri.ContainerConfig("main", "busybox", command=command)
        )
        with pytest.raises(local.StartFailed) as refusal:
            await runtime.start_container(made)
        assert refusal.value.message == message
        container = await ended(runtime, made)
        assert (container.exit_code, container.reason, container.message) == (128, "StartError", message)

    node.run(story)


def test_containers_of_a_pod_share_its_network_and_processes(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        server = await start(runtime, sandbox, cri.ContainerConfig("a", "agnhost", args=("netexec",)))
        other = await start(runtime, sandbox, shell("sleep 1000"))
        assert await answers(runtime, other, "/bin/sh", "-c", "curl -s 127.0.0.1:8080/hostname") == "web"
        names = await output(runtime, other, "sh", "-c", "cat /proc/[0-9]*/comm")
        assert {"pause", "agnhost", "sleep"} <= set(names.split()) | {"sleep"}
        assert server != other

    node.run(story)


def test_the_polite_signal_comes_first(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        polite = await start(
            runtime,
            sandbox,
            shell("trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done", log_path="p"),
        )
        stubborn = await start(
            runtime, sandbox, shell("trap '' TERM; echo ready; while :; do sleep 0.01; done", log_path="s")
        )
        for name in ("p", "s"):
            while not os.path.exists(node.path(f"{node.logs}/{name}")) or not said(node, name):
                await asyncio.sleep(0)
        await runtime.stop_container(polite, 30)
        assert (await runtime.container_status(polite)).exit_code == 7
        began = time.monotonic()
        await runtime.stop_container(stubborn, 0.2)
        assert time.monotonic() - began >= 0.2
        assert (await runtime.container_status(stubborn)).exit_code == 128 + signal.SIGKILL
        await runtime.stop_container(stubborn, 1)  # twice is fine
        await runtime.stop_container("never-there", 1)

    node.run(story)


def test_what_a_container_leaves_running_ends_with_it(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        other = await start(runtime, sandbox, shell("sleep 1001"))
        script = "setsid sleep 1002 & sh -c 'setsid sleep 1003 & sleep 1004' & sleep 0.1"
        await ended(runtime, await start(runtime, sandbox, shell(script)))
        while (left := sorted(node.processes().values())) != ["node", "pause", "shim", "sleep", "zygote"]:
            if left == ["node", "pause", "sh", "shim", "sleep", "zygote"]:
                break  # a shell that forks for its last command
            await asyncio.sleep(0.01)
        assert (await runtime.container_status(other)).state == "RUNNING"

    node.run(story)


def test_exec_tells_output_and_code_apart(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        made = await start(
            runtime, sandbox, shell("sleep 1000", env=(("MINE", "1"),), working_dir="/made/here")
        )
        result = await runtime.exec_sync(made, ("sh", "-c", "echo $MINE $PWD; echo err >&2; kill -9 $$"), 5)
        assert result == cri.ExecResult(b"1 /made/here\n", b"err\n", 137)
        with pytest.raises(local.TimedOut, match=r"command timed out after 0.1 s"):
            await runtime.exec_sync(made, ("sleep", "1000"), 0.1)
        with pytest.raises(local.StartFailed, match="executable file not found"):
            await runtime.exec_sync(made, ("no-such-program",), 1)
        big = await runtime.exec_sync(made, ("head", "-c", "3000000", "/dev/zero"), 10)
        assert (len(big.stdout), big.code) == (3000000, 0)
        background = await runtime.exec_sync(made, ("sh", "-c", "sleep 1000 & echo done"), 5)
        assert background.stdout == b"done\n", "who still holds the pipe is not waited for"
        with pytest.raises(local.NotFound):
            await runtime.exec_sync("never-there", ("true",), 1)

    node.run(story)


def test_built_in_programs_also_run_from_a_shell(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        made = await start(runtime, sandbox, cri.ContainerConfig("main", "agnhost"))
        direct = await runtime.exec_sync(made, ("/agnhost", "connect", "--timeout=1s", "127.0.0.1:9"), 5)
        by_shell = await runtime.exec_sync(made, ("sh", "-c", "/agnhost connect --timeout=1s 127.0.0.1:9"), 5)
        assert direct == by_shell == cri.ExecResult(b"", b"REFUSED\n", 1)

    node.run(story)


def test_images_are_found_by_name_or_refused_with_a_list(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        assert await runtime.pull_image("registry.k8s.io/e2e-test-images/agnhost:2.53") == "netemu://agnhost"
        with pytest.raises(catalogue.ImageNotFound, match=r'"redis:7" .* agnhost.* nginx'):
            await runtime.pull_image("redis:7")
        with pytest.raises(errors.Rejected, match="invalid reference format"):
            await runtime.pull_image("Not An Image")
        sandbox = await runtime.run_pod_sandbox(pod(node))
        with pytest.raises(catalogue.ImageNotFound):
            await runtime.create_container(sandbox.id, cri.ContainerConfig("main", "redis"))

    node.run(story)


def test_a_network_that_fails_leaves_nothing(node: Node) -> None:
    node.network.refuses = True

    async def story(runtime: local.LocalRuntime) -> None:
        with pytest.raises(OSError, match="no addresses left"):
            await runtime.run_pod_sandbox(pod(node))
        assert await runtime.list_pod_sandboxes() == ()

    node.run(story)
    assert sorted(node.processes().values()) == ["node", "shim", "zygote"]
    assert os.listdir(node.path("/run/netns")) == []
    assert os.listdir(node.path("/run/netemu/sandboxes")) == []


def test_sysctls_are_the_pods_own(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        before = Path("/proc/sys/net/core/somaxconn").read_text()
        sandbox = await runtime.run_pod_sandbox(
            pod(node, sysctls={"net.core.somaxconn": "77", "kernel.shmmni": "99"})
        )
        made = await start(runtime, sandbox, shell("sleep 1000"))
        seen = await output(
            runtime,
            made,
            "cat",
            "/proc/sys/net/core/somaxconn",
            "/proc/sys/kernel/shmmni",
            "/proc/sys/net/ipv4/ip_unprivileged_port_start",
        )
        assert seen.split() == ["77", "99", "0"]
        assert Path("/proc/sys/net/core/somaxconn").read_text() == before
        with pytest.raises(local.RuntimeFailed, match=r'"kernel.panic" is not namespaced'):
            await runtime.run_pod_sandbox(pod(node, "bad", sysctls={"kernel.panic": "1"}))
        with pytest.raises(local.RuntimeFailed, match=r"net.no.such=1: No such file"):
            await runtime.run_pod_sandbox(pod(node, "bad", sysctls={"net.no.such": "1"}))
        assert [box.config.name for box in await runtime.list_pod_sandboxes()] == ["web"]

    node.run(story)


def test_a_pod_on_the_nodes_network_is_there(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node, "ignored", host_network=True))
        assert (sandbox.state, sandbox.netns, sandbox.ips) == ("READY", "", ())
        made = await start(runtime, sandbox, shell("sleep 1000"))
        assert await output(runtime, made, "hostname") == "worker-1\n"
        assert (
            await output(runtime, made, "readlink", "/proc/self/ns/net")
            == os.readlink(f"/proc/{node.pid}/ns/net") + "\n"
        )

    node.run(story)
    assert node.network.attached == []


def test_no_descriptor_of_the_runtimes_is_left_open(node: Node) -> None:
    """A container that held one of the node's mount namespace, or the socket, could leave its own."""

    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        program = await start(runtime, sandbox, shell("exec sleep 1000"))
        await start(runtime, sandbox, cri.ContainerConfig("a", "agnhost", args=("netexec",)))
        privileged = cri.Security(privileged=True)
        await start(runtime, sandbox, shell("exec sleep 1000", security=privileged))
        seen = await output(runtime, program, "ls", "/proc/self/fd")
        assert seen.split() == ["0", "1", "2", "3"], "3 is the directory that ls reads"

    node.run(story)
    kinds = {"agnhost": ("anon_inode:[eventpoll]", "socket:"), "sleep": (), "pause": ()}
    names = [name for name in node.processes().values() if name in kinds]
    assert sorted(names) == ["agnhost", "pause", "sleep", "sleep"]
    for pid, name in node.processes().items():
        for fd in os.listdir(f"/proc/{pid}/fd") if name in kinds else ():
            if int(fd) > 2:
                assert os.readlink(f"/proc/{pid}/fd/{fd}").startswith(kinds[name]), (name, fd)


def test_capabilities_and_users_are_as_asked(node: Node) -> None:
    async def caps(
        runtime: local.LocalRuntime, sandbox: cri.Sandbox, security: cri.Security
    ) -> tuple[int, str]:
        made = await start(runtime, sandbox, shell("sleep 1000", security=security))
        text = await output(runtime, made, "sh", "-c", "grep CapEff /proc/self/status; id -u; id -g")
        mask, *who = text.removeprefix("CapEff:").split()
        return int(mask, 16), ":".join(who)

    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        usual, who = await caps(runtime, sandbox, cri.Security())
        net_admin, net_raw, sys_admin = 1 << 12, 1 << 13, 1 << 21  # capability.h
        assert (usual & net_raw, usual & net_admin, usual & sys_admin, who) == (net_raw, 0, 0, "0:0")
        more, _ = await caps(runtime, sandbox, cri.Security(add_capabilities=("NET_ADMIN",)))
        assert more == usual | net_admin
        none, _ = await caps(runtime, sandbox, cri.Security(drop_capabilities=("ALL",)))
        assert none == 0
        nobody = cri.Security(run_as_user=65534, run_as_group=65533)
        assert await caps(runtime, sandbox, nobody) == (0, "65534:65533")
        everything, _ = await caps(runtime, sandbox, cri.Security(privileged=True))
        assert everything & sys_admin

    node.run(story)


def test_a_read_only_root_is_one(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        config = shell(
            "touch /here 2>/dev/null || echo refused", security=cri.Security(readonly_root=True), log_path="0"
        )
        await ended(runtime, await start(runtime, sandbox, config))
        assert said(node, "0") == [("stdout", "F", "refused")]

    node.run(story)


def test_after_sigkill_of_the_shim_everything_goes_on(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        loop = shell("n=0; while :; do n=$((n+1)); echo line $n; sleep 0.005; done", log_path="loop")
        talker = await start(runtime, sandbox, loop)
        server = await start(
            runtime, sandbox, cri.ContainerConfig("a", "agnhost", args=("netexec",), log_path="a")
        )
        short = await start(runtime, sandbox, shell("read x; exit 5", stdin=True, log_path="short"))
        before = await runtime.container_status(talker)
        node.kill_shim()
        after = await runtime.container_status(talker)
        assert after == before, "the same process, still running"
        assert await answers(runtime, server, "/agnhost", "connect", "127.0.0.1:8080") == ""
        [box] = await runtime.list_pod_sandboxes()
        assert box == sandbox
        os.kill(_node_pid(node, before.pid), signal.SIGUSR1)
        container = await ended(runtime, talker)
        known = (138, "Error")  # where the kernel tells the exit code of somebody else's child (6.15)
        assert (container.exit_code, container.reason) in (known, (137, "ContainerStatusUnknown"))
        numbers = [int(text.removeprefix("line ")) for _, _, text in said(node, "loop")]
        assert numbers == sorted(set(numbers)), "no line twice"
        assert numbers[-1] - len(numbers) <= 2, (
            "hardly one lost: only what the old shim had read but not written"
        )
        await runtime.stop_container(short, 0)
        await runtime.stop_pod_sandbox(sandbox.id)
        await runtime.remove_pod_sandbox(sandbox.id)

    node.run(story)
    assert sorted(node.processes().values()) == ["node", "shim", "zygote"]
    assert os.listdir(node.path("/run/netns")) == []


def _node_pid(node: Node, pid: int) -> int:
    """What the test calls the process which the node calls `pid`."""
    for outer in node.processes():
        match = re.search(r"^NSpid:\s+(.*)$", Path(f"/proc/{outer}/status").read_text(), re.MULTILINE)
        assert match
        if match[1].split()[1] == str(pid):
            return outer
    raise AssertionError(f"no process {pid} in the node")


def test_what_died_while_no_shim_was_there_is_noticed(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        made = await start(runtime, sandbox, shell("read x", stdin=True))
        target = _node_pid(node, (await runtime.container_status(made)).pid)
        node.kill_shim(and_then=target)
        container = await ended(runtime, made)
        assert (container.exit_code, container.reason) == (137, "ContainerStatusUnknown")
        assert [box.state for box in await runtime.list_pod_sandboxes()] == ["READY"]

    node.run(story)


def test_the_death_of_pause_is_the_death_of_the_pod_and_is_told(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        sandbox = await runtime.run_pod_sandbox(pod(node))
        made = await start(runtime, sandbox, shell("sleep 1000"))
        os.kill(_node_pid(node, sandbox.pid), signal.SIGKILL)
        container = await ended(runtime, made)
        assert container.exit_code == 137
        died = await ended_sandbox(runtime, sandbox.id)
        assert died == "NOTREADY"
        with pytest.raises(local.RuntimeFailed, match="is not running"):
            await start(runtime, sandbox, shell("true"))
        await runtime.stop_pod_sandbox(sandbox.id)
        await runtime.remove_pod_sandbox(sandbox.id)
        await runtime.remove_pod_sandbox(sandbox.id)
        assert await runtime.list_pod_sandboxes() == ()
        assert await runtime.list_containers() == ()

    node.run(story)


async def ended_sandbox(runtime: local.LocalRuntime, name: str) -> str:
    while True:
        [state] = [box.state for box in await runtime.list_pod_sandboxes() if box.id == name]
        if state == "NOTREADY":
            return state
        await asyncio.sleep(0)


def test_a_hundred_pods_come_and_go(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        boxes = [await runtime.run_pod_sandbox(pod(node, f"p{number}")) for number in range(100)]
        assert len(set(os.listdir(node.path("/run/netns")))) == 100
        await asyncio.gather(*(runtime.stop_pod_sandbox(box.id) for box in boxes))
        await asyncio.gather(*(runtime.remove_pod_sandbox(box.id) for box in boxes))
        assert await runtime.list_pod_sandboxes() == ()

    node.run(story)
    assert sorted(node.processes().values()) == ["node", "shim", "zygote"]
    assert os.listdir(node.path("/run/netns")) == []


def test_the_socket_is_its_owners_only(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        await runtime.list_containers()

    node.run(story)
    mode = os.stat(node.path("/run/netemu/runtime.sock")).st_mode
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600


def test_nonsense_on_the_socket_harms_nobody(node: Node) -> None:
    async def story(runtime: local.LocalRuntime) -> None:
        await runtime.list_containers()
        for nonsense in (
            b"\xff\xff\xff\xff",
            b"\x00\x00\x00\x03abc",
            b"\x00\x00\x00\x02{}",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            with socket.socket(socket.AF_UNIX) as stranger:
                stranger.settimeout(10)
                stranger.connect(node.path("/run/netemu/runtime.sock"))
                stranger.sendall(nonsense)
                stranger.shutdown(socket.SHUT_WR)
                answer = b"".join(iter(lambda: stranger.recv(4096), b""))
                assert answer == b"" or json.loads(answer[4:])["type"] == "Failure"
        assert await runtime.list_containers() == ()

    node.run(story)
