"""Who holds which address, on disk, in the reference host-local's own layout, so that either can take over.

<dataDir>/<network>/<address>             "<container id>\\r\\n<interface>"
<dataDir>/<network>/last_reserved_ip.<n>  the address given last from range set n
<dataDir>/<network>/lock                  held (flock) for the length of a command
"""

import fcntl
import posix as os

from cni import keeping

DEFAULT_DIRECTORY = "/var/lib/cni/networks"


class Leases:
    """The open store of one network; a context manager that holds its lock (dropped at our death)."""

    def __init__(self, data_directory: str, network: str) -> None:
        self._directory = f"{data_directory}/{network}"
        self._lock = -1

    def __enter__(self) -> "Leases":
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        path = f"{self._directory}/lock"
        try:
            self._lock = os.open(path, flags, 0o600)
        except FileNotFoundError:
            keeping.make_directory(self._directory, 0o755)
            self._lock = os.open(path, flags, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._lock)

    def reserve(self, address: str, owner: str) -> bool:
        """Take an address; False when somebody has it.

        An empty file is a reservation that was never answered: its writer died between making and filling it,
        while it held the lock that we hold now. So it is free.
        """
        path = f"{self._directory}/{address}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            if os.fstat(fd).st_size:
                os.close(fd)
                return False
        try:
            os.write(fd, owner.encode())
        except OSError:
            os.unlink(path)  # to the reference plugin an empty file is a lease, too
            raise
        finally:
            os.close(fd)
        return True

    def announce(self, owner: str) -> bool:
        """Mark a holder that is about to reserve; False when it has leases already."""
        path = self._mark(owner)
        flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(path, flags, 0o600)
        except FileExistsError:
            return not self.held(owner)  # a mark alone is what a crash leaves
        except FileNotFoundError:
            keeping.make_directory(path.rpartition("/")[0], 0o700)
            fd = os.open(path, flags, 0o600)
        os.close(fd)
        return True

    def _mark(self, owner: str) -> str:
        return f"{self._directory}/.holders/{owner.replace(chr(13) + chr(10), '-')}"

    def release(self, owner: str, hints: "tuple[str, ...]" = ()) -> list[str]:
        """Free all addresses of an owner; returns them. When all `hints` are its own, there are no others."""
        freed = [address for address in hints if self.holder(address) == owner]
        if not hints or len(freed) < len(hints):
            freed = self.held(owner)
        for address in freed:
            os.unlink(f"{self._directory}/{address}")
        try:
            os.unlink(self._mark(owner))
        except FileNotFoundError:
            return freed
        return freed

    def held(self, owner: str) -> list[str]:
        """The addresses an owner has."""
        return [address for address, name in self.all() if name == owner]

    def all(self) -> list[tuple[str, str]]:
        """Every (address, owner)."""
        names = (
            name for name in os.listdir(self._directory) if name[0] in "0123456789abcdef" and _is_ip(name)
        )
        return [(name, self.holder(name)) for name in names]

    def last(self, range_set: int) -> str:
        """The address given last from a range set, or ""."""
        return self._text(f"last_reserved_ip.{range_set}").strip()

    def remember(self, range_set: int, address: str) -> None:
        """Only a hint for the next search: losing it in a crash costs time, never an address.

        Not O_TRUNC: ext4 takes that for a file that is replaced, and starts to write to its disk at once.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
        fd = os.open(f"{self._directory}/last_reserved_ip.{range_set}", flags, 0o600)
        length = os.write(fd, address.encode())
        if os.fstat(fd).st_size > length:
            os.ftruncate(fd, length)
        os.close(fd)

    def holder(self, address: str) -> str:
        """The owner of an address, or ""; needs no lock."""
        return self._text(address).strip()

    def _text(self, name: str) -> str:
        try:
            fd = os.open(f"{self._directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        text = os.read(fd, 4096).decode(errors="replace")
        os.close(fd)
        return text


def owner(container_id: str, ifname: str) -> str:
    """How a holder is written in a lease."""
    return f"{container_id}\r\n{ifname}"


def _is_ip(name: str) -> bool:
    return "." in name or ":" in name
