"""What the kernel makes its caller wait for although it has happened: the end of a link, or of a socket.

A deleted link is out of every list, its name and addresses free, after 2 ms; the request is answered when
the kernel has let go of its memory, which takes 20 more. So somebody else makes the request, and we return as
soon as the link is gone: a child where the process ends anyway, a thread in a runtime's.
"""

import _thread
import errno
import posix as os
import select

from cni import frame
from netemu.kernel import rtnl
from netemu.wire import rtnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from netemu.wire import cni

_LOOK = 0.0005  # seconds between looks at a link that is on its way out


def delete_links(call: "cni.Call", indices: "Sequence[int]") -> None:
    """Remove links of this thread's namespace; one that is gone already is fine. RtnlError if refused."""
    if not indices:
        return
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        code = 0
        try:
            with rtnl.Rtnl() as socket:
                socket.run([rtnetlink.del_link(index=index) for index in indices], ignore=(errno.ENODEV,))
        except OSError as problem:
            code = problem.errno or errno.EIO
        try:
            os.write(writing, bytes([code]))
        except BrokenPipeError:
            return  # nobody waited: the link was gone before

    try:
        _start(call, work, writing)
        with rtnl.Rtnl() as watch:
            while any(watch.by_index(index) is not None for index in indices):
                if select.select([reading], [], [], _LOOK)[0]:
                    outcome = os.read(reading, 1)
                    if outcome != b"\0":
                        raise rtnl.RtnlError(outcome[0] if outcome else errno.EINTR, "delete link")
    finally:
        os.close(reading)


def delete_container_link(call: "cni.Call") -> bool:
    """Remove the link `call.ifname` from the container; whether it was there. No namespace is fine."""
    with frame.NetnsIfAny(call.netns) as netns:
        if netns is None:
            return False
        with rtnl.Inside(netns):
            with rtnl.Rtnl() as inside:
                link = inside.link(call.ifname)
            if link is not None:
                delete_links(call, (link.index,))
    return link is not None


def release(call: "cni.Call", close: "Callable[[], None]") -> None:
    """Close a socket where nobody waits for it: the last one to have it open is who waits."""
    if not call.alone:
        _thread.start_new_thread(close, ())
        return
    reading, writing = os.pipe2(os.O_CLOEXEC)

    def work() -> None:
        os.close(writing)
        os.read(reading, 1)  # ends as soon as our parent has closed its own
        close()

    _fork(work)
    close()
    os.close(writing)
    os.close(reading)


def _start(call: "cni.Call", work: "Callable[[], None]", writing: int) -> None:
    """Run `work` in the caller's network namespace, and close `writing` after it."""
    if call.alone:
        _fork(work)
        os.close(writing)
        return

    def run() -> None:
        try:
            work()
        finally:
            os.close(writing)

    _thread.start_new_thread(run, ())


def _fork(work: "Callable[[], None]") -> None:
    if os.fork() == 0:
        try:
            for fd in (0, 1, 2):  # whoever reads our answer waits for its end
                os.close(fd)
            work()
        finally:
            os._exit(0)
