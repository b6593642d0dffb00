"""Stream a file of G-code with Printrun's printcore; figures as JSON. Runs in the peer's environment. Arguments: port, file."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from printrun import gcoder
from printrun.printcore import printcore


def main(port: str, file: str) -> int:
    online, ended = threading.Event(), threading.Event()
    core = printcore()
    core.onlinecb = online.set
    core.endcb = ended.set
    core.loud = False
    core.connect(port, 250000)
    if not online.wait(30):
        raise RuntimeError("printcore does not come online")
    job = gcoder.LightGCode(Path(file).read_text().splitlines())
    began, cpu = time.perf_counter(), time.process_time()
    core.startprint(job)
    if not ended.wait(300):
        raise RuntimeError("printcore does not finish")
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    core.disconnect()
    sys.stdout.write(json.dumps({"seconds": seconds, "cpu_s": used, "window": 1}) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], sys.argv[2]))
