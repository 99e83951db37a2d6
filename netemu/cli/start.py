"""Where the program `netemu` begins: until the command line is there, Control-C just ends it.

Imports nothing else before that is so: click and its company take tens of milliseconds, in which an interrupt
would show as Python's traceback.
"""

import signal
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit with its code. An ignored SIGINT (nohup) stays ignored."""
    heard = signal.getsignal(signal.SIGINT)
    if heard is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from netemu.cli import main as commandline

    signal.signal(signal.SIGINT, heard)
    commandline.main()
