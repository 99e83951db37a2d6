"""agnhost, Kubernetes' test image: its subcommands by name. Each is a function of another module.

Behaviour after test/images/agnhost of kubernetes/kubernetes: flags, endpoints, outputs and exit codes.
"""

import importlib
import sys

COMMANDS = {
    "connect": "connect:main",
    "dns-server-list": "host_facts:dns_server_list",
    "dns-suffix": "host_facts:dns_suffix",
    "entrypoint-tester": "host_facts:entrypoint_tester",
    "etc-hosts": "host_facts:etc_hosts",
    "liveness": "small_servers:liveness",
    "logs-generator": "logs_generator:main",
    "netexec": "netexec:main",
    "no-snat-test": "small_servers:no_snat_test",
    "no-snat-test-proxy": "small_servers:no_snat_test_proxy",
    "pause": "pause:agnhost",
    "port-forward-tester": "small_servers:port_forward_tester",
    "porter": "porter:main",
    "serve-hostname": "serve_hostname:main",
    "tcp-reset": "small_servers:tcp_reset",
    "test-webserver": "small_servers:test_webserver",
}
VERSION = "2.53"
_HERE = "netemu.runtime.programs"


def main(argv: list[str]) -> int:
    """The subcommand argv[1]; without one its help."""
    name = argv[1] if len(argv) > 1 else "help"
    if name in ("help", "--help", "-h"):
        print("Usage:\n  agnhost [command]\n\nAvailable Commands:")
        print("\n".join(f"  {command}" for command in COMMANDS))
        return 0
    if name in ("--version", "version"):
        print(f"agnhost version {VERSION}")
        return 0
    if name not in COMMANDS:
        print(f'Error: unknown command "{name}" for "app"', file=sys.stderr)
        print(f"Available: {', '.join(COMMANDS)}", file=sys.stderr)
        return 1
    module, _, function = COMMANDS[name].partition(":")
    run = getattr(importlib.import_module(f"{_HERE}.{module}"), function)
    return int(run(argv[2:]) or 0)
