"""The workstation's process: `python -m api.app_process --site FOLDER` serves one site.

It is loaded with the collector of garbage at rest. A program that loads makes hundreds of thousands of objects that stay, and looking
through them again and again takes a fifth of its start, in which nobody sees the print.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from audit.errors import DosewrightError


def main() -> int:
    """Serve one site until told to stop."""
    parser = argparse.ArgumentParser(description="Serve one Dosewright workstation.")
    parser.add_argument("--site", type=Path, required=True)
    parser.add_argument("--port", type=int)
    parser.add_argument("--no-page", action="store_true", help="serve the interface without the workstation page")
    options = parser.parse_args()
    gc.disable()
    from api.app import serve_site  # which enables it again

    try:
        serve_site(options.site, options.port, page=not options.no_page)
    except DosewrightError as error:
        sys.stderr.write(f"error {error.code}: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
