"""Run a module as a child that never outlives its parent: `python -m api.kept MODULE ARGUMENTS…`.

Standard input is a pipe from the parent. When it closes, which the operating system does even where the parent is
killed, the module is asked to end (SIGTERM), and ended if it does not.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading
import time

_ASK_S = 5.0


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_ASK_S)
    os._exit(1)


def end_with_parent() -> None:
    """Have this process end when its standard input closes."""
    threading.Thread(target=_watch, name="parent-watch", daemon=True).start()


def main() -> None:
    """Run the module named by the first argument as the main module, with the arguments that follow."""
    end_with_parent()
    module = sys.argv[1]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
