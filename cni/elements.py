"""What a container has in the packet filter: elements of sets and maps, each with a comment: whose it is.

Tables, chains and rules are a skeleton: the same for every container, made once on a host by nft(8), and
never removed. So a packet meets as many rules with 250 containers as with one. Knows no table in particular.
"""

import errno

from cni import parting, programs
from netemu.kernel import nfnl
from netemu.wire import cni, nfnetlink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Place = tuple[str, str]  # "family table", set
    Taken = Callable[[nfnetlink.Element, str], cni.Failure | None]

_PATH = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
_LOST = (errno.ENOENT, errno.EEXIST)  # somebody was there between our look and our change


def mark(configuration: "cni.Document", container_id: str, ifname: str) -> str:
    """The comment on all that belongs to an attachment. nft takes 127 bytes."""
    return f"{configuration['name'][:40]} {container_id[:64]} {ifname}"


def stale(configuration: "cni.Document") -> "Callable[[str], bool]":
    """For GC: whether a comment is of this network, but of no attachment that is still valid."""
    network = mark(configuration, "", "").split(" ", 1)[0] + " "
    valid = {mark(configuration, *attachment) for attachment in cni.valid_attachments(configuration)}
    return lambda comment: comment.startswith(network) and comment not in valid


def put(
    call: cni.Call,
    skeleton: str,
    wanted: "Sequence[nfnetlink.Element]",
    *,
    shared: "Sequence[nfnetlink.Element]" = (),
    taken: "Taken | None" = None,
) -> None:
    """Add an attachment's elements (all have its comment), and those that any number may share: all or none.

    `skeleton` is the document that makes their sets. A key that another holds is taken over, unless `taken`
    makes a failure of it, given our element and the other's comment.
    """
    socket, dirty = nfnl.Nfnl(), False
    try:
        clashes: list[nfnetlink.Element] = []
        for attempt in range(4):
            messages = nfnetlink.add_elements(shared) + nfnetlink.delete_elements(clashes)
            codes = socket.transact(messages + nfnetlink.add_elements(wanted, exclusive=True))
            dirty = dirty or bool(clashes)
            if not any(codes):
                return
            own = codes[len(messages) :]
            if errno.ENOENT in codes and not clashes:
                nft(skeleton)
            elif errno.EEXIST in own or errno.ENOENT in codes:
                clashes = [each for each in wanted if _held(socket, each, taken)]
            if attempt == 3 or not set(codes) - {0} <= set(_LOST):
                code = next(filter(None, codes))
                raise nfnl.NfnlError(code, f"elements of {wanted[0].table}")
    finally:
        _close(call, socket, slow=dirty)


def _held(socket: nfnl.Nfnl, wanted: nfnetlink.Element, taken: "Taken | None") -> bool:
    """Whether the key is there; if another's, and that is not to be, a failure."""
    for found in _answers(socket, nfnetlink.get_element(wanted), (wanted.table, wanted.set)):
        failure = taken(wanted, found.comment) if taken and found.comment != wanted.comment else None
        if failure:
            raise failure
        return True
    return False


def take(
    call: cni.Call, places: "Sequence[Place]", belongs: "Callable[[str], bool]"
) -> list[nfnetlink.Element]:
    """Remove the elements whose comment `belongs` likes; which they were. No such set is fine."""
    socket, found = nfnl.Nfnl(), []
    try:
        for _ in range(4):
            found = [each for each in _all(socket, places) if belongs(each.comment)]
            codes = socket.transact(nfnetlink.delete_elements(found))
            if not any(codes):
                return found
        raise nfnl.NfnlError(next(filter(None, codes)), "delete elements")
    finally:
        _close(call, socket, slow=bool(found))


def held(places: "Sequence[Place]", comment: str) -> list[nfnetlink.Element]:
    """What an attachment has."""
    socket = nfnl.Nfnl()
    try:
        return [each for each in _all(socket, places) if each.comment == comment]
    finally:
        socket.close()


def _all(socket: nfnl.Nfnl, places: "Sequence[Place]") -> "Iterable[nfnetlink.Element]":
    for place in places:
        yield from _answers(socket, nfnetlink.dump_elements(*place), place)


def _answers(socket: nfnl.Nfnl, request: bytes, place: "Place") -> "Iterable[nfnetlink.Element]":
    try:
        for body in socket.ask(request):
            yield from nfnetlink.elements(*place, body)
    except OSError as problem:
        if problem.errno != errno.ENOENT:
            raise


def _close(call: cni.Call, socket: nfnl.Nfnl, *, slow: bool) -> None:
    if slow:
        parting.release(call, socket.close)
    else:
        socket.close()


def nft(document: str) -> None:
    """One transaction by the program nft. UNSUPPORTED_FIELD when there is none."""
    path = programs.find("nft", _PATH)
    if not path:
        raise cni.Failure(cni.UNSUPPORTED_FIELD, "this needs the program nft (package nftables)")
    code, output = programs.run(path, ["-f", "-"], {"LC_ALL": "C"}, document.encode(), errors=True)
    if code:
        text = output.decode(errors="replace").strip()
        raise cni.Failure(cni.IO_FAILURE, "nft refused the rules", text)
