"""nslookup as bind and busybox print it, for hosts without one."""

import ipaddress
import sys

from netemu.runtime.programs import dns_client


def main(argv: list[str]) -> int:
    """nslookup [-type=KIND] [-port=N] [-timeout=S] NAME [SERVER]; 1 when there is no answer."""
    kinds, port, timeout, words = ["A", "AAAA"], 53, 5.0, []
    for word in argv[1:]:
        option, _, value = word.partition("=")
        if option in ("-type", "-query", "-querytype", "-q"):
            kinds = [value.upper()]
        elif option == "-port":
            port = int(value)
        elif option == "-timeout":
            timeout = float(value)
        elif not option.startswith("-"):
            words.append(word)
    if not words or any(kind not in dns_client.TYPES for kind in kinds):
        print("Usage: nslookup [-type=QUERY_TYPE] HOST [DNS_SERVER]", file=sys.stderr)
        return 1
    by = dns_client.settings()
    server = words[1] if len(words) > 1 else by.servers[0]
    print(f"Server:\t\t{server}\nAddress:\t{server}#{port}\n")
    try:
        names: tuple[str, ...] = (dns_client.reverse(words[0]),)
        kinds = ["PTR"]
    except ValueError:
        names = dns_client.candidates(words[0], by)
    try:
        return _look_up(server, port, names, kinds, timeout)
    except OSError:
        print(";; connection timed out; no servers could be reached\n")
        return 1


def _look_up(server: str, port: int, names: tuple[str, ...], kinds: list[str], timeout: float) -> int:
    code = "NXDOMAIN"
    for name in names:
        answers = [dns_client.ask(server, port, name, kind, timeout=timeout) for kind in kinds]
        records = dict.fromkeys(record for answer in answers for record in answer.records)
        if records:
            for record in records:
                print(_line(record))
            print()
            return 0
        code = answers[0].code
        if code == "NOERROR":
            print(f"*** Can't find {name}: No answer\n")
            return 1
    print(f"** server can't find {names[-1]}: {code}\n")
    return 1


def _line(record: dns_client.Record) -> str:
    if record.type in ("A", "AAAA"):
        return f"Name:\t{record.name}\nAddress: {ipaddress.ip_address(record.text)}"
    word = {"PTR": "name", "SRV": "service", "CNAME": "canonical name", "TXT": "text", "MX": "mail exchanger"}
    dot = "" if record.type == "TXT" else "."
    return f"{record.name}\t{word.get(record.type, record.type)} = {record.text}{dot}"
