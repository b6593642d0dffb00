"""The workstation's process: `python -m api.app_process --site FOLDER` serves one site.

It is loaded with the collector of garbage at rest. A program that loads makes hundreds of thousands of objects that stay, and looking
through them again and again takes a fifth of its start, in which nobody sees the print.

With `--tell` it is one of two (`api.web_supervisor`): it loads, says so, and serves when it is told to on standard input; it ends when
that closes.
"""

from __future__ import annotations

import argparse
import functools
import gc
import os
import socket
import sys
from pathlib import Path

from api.kept import end_with_parent
from audit.errors import DosewrightError

LOADED, SERVING = b"loaded\n", b"serving\n"
_LONGEST = 64


def main() -> int:
    """Serve one site until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one Dosewright workstation.")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-page", action="store_true", help="serve the interface without the workstation page")
    parser.add_argument("--listener", type=int, help="descriptor of the socket to serve on, which has its address")
    parser.add_argument("--tell", type=int, help="descriptor to say on that all is loaded, and that the site is served")
    options = parser.parse_args()
    gc.disable()
    from api.app import load, serve_site  # which enables it again

    page, tell, listener = not options.no_page, options.tell, None
    for descriptor in filter(None, (tell, options.listener)):
        os.set_inheritable(descriptor, False)  # a program started here must not keep them open
    if tell is not None:
        load(page=page)
        os.write(tell, LOADED)
        if not os.read(sys.stdin.fileno(), _LONGEST):
            return 0
        end_with_parent()
    if options.listener is not None:
        listener = socket.socket(fileno=options.listener)
    try:
        serve_site(options.site, options.port, page=page, listener=listener, up=functools.partial(_say, tell))
    except DosewrightError as error:
        sys.stderr.write(f"error {error.code}: {error}\n")
        return 2
    return 0


def _say(tell: int | None) -> None:
    if tell is not None:
        os.write(tell, SERVING)


if __name__ == "__main__":
    sys.exit(main())
