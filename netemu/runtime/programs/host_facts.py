"""agnhost's commands that print what the pod sees: DNS settings, /etc/hosts, its own arguments."""

import sys

from netemu.runtime.programs import sockets


def dns_suffix(_: list[str]) -> int:
    """The search list; the last line of its kind counts (resolv.conf(5))."""
    found: list[str] = []
    for keyword, words in sockets.nameservers():
        if keyword == "search":
            found = words
    print(",".join(found))
    return 0


def dns_server_list(_: list[str]) -> int:
    print(",".join(words[0] for keyword, words in sockets.nameservers() if keyword == "nameserver" and words))
    return 0


def etc_hosts(_: list[str]) -> int:
    with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
        print(file.read())
    return 0


def entrypoint_tester(arguments: list[str]) -> int:
    """As a Go program prints its os.Args."""
    print(f"[{' '.join([sys.argv[0], 'entrypoint-tester', *arguments])}]")
    return 0
