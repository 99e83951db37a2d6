"""The entrypoint scripts of images: do nothing of their own, then become the command."""

import importlib
import os
import sys

# The commands that are functions here, wherever PATH would lead.
OWN = {"nginx": "nginx", "nginx-debug": "nginx"}


def main(argv: list[str]) -> int:
    """`argv[1:]` is the command. curl's script puts `curl` before a command that is only options."""
    command = argv[1:] or ["sh"]
    if command[0].startswith("-") or "://" in command[0]:
        command = ["curl", *command]
    name = os.path.basename(command[0])
    if name in OWN:
        module = importlib.import_module(f"netemu.runtime.programs.{OWN[name]}")
        return int(module.main(command))
    try:
        os.execvp(command[0], command)
    except OSError as problem:
        print(f"{argv[0]}: exec: {command[0]}: {problem.strerror}", file=sys.stderr)
        return 127 if isinstance(problem, FileNotFoundError) else 126
