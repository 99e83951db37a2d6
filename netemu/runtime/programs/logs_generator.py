"""agnhost logs-generator: a known number of recognisable lines in a known time."""

import random
import time

from netemu.runtime.programs import flags

VERBS, NAMESPACES = ("GET", "PUT", "POST"), ("kube-system", "default", "ns")


def main(arguments: list[str]) -> int:
    values, _ = flags.parse(
        arguments,
        {"log-lines-total": 0, "run-duration": flags.Duration(0)},
        {"t": "log-lines-total", "d": "run-duration"},
    )
    total, duration = values["log-lines-total"], values["run-duration"]
    if total <= 0:
        flags.fail(f"Invalid total number of lines: {total}")
    if duration <= 0:
        flags.fail(f"Invalid duration: {duration}")
    began = time.monotonic()
    for number in range(total):
        time.sleep(max(0.0, began + number * duration / total - time.monotonic()))
        print(_line(number), flush=True)
    return 0


def _line(number: int) -> str:
    word = "".join(random.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=random.randint(3, 5)))
    path = f"/api/v1/namespaces/{random.choice(NAMESPACES)}/pods/{word}"
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return f"{stamp} {number} {random.choice(VERBS)} {path} {random.randint(200, 599)}"
