"""Whether a printer has confirmed a stop. Pure; memory is bounded.

Bytes that the operating system has taken may never be read: the printer hangs, or its cable is pulled. Only the printer itself
can say that it has stopped.
"""

from __future__ import annotations

from firmware_bridge.gcode_lines import Fatal, Reply, Restarted, Unknown, parse_reply
from firmware_bridge.read_back import PREFIX
from firmware_bridge.reply_reader import FLOW_CONTROL, ReplyReader

_MAX_REPLY = 1024


class StopReceipt:
    """What a printer says after the bytes `stop`, until it has confirmed them.

    A confirmation is: it has halted (Marlin's `kill()` and its host action, Klipper's state, RepRapFirmware's sentence), it has
    started anew, or it has carried out the last line of the stop, which a printer that is read back says.

    Concurrency: `receive` is called from one thread; `confirmed` only ever becomes true, and may be set and read from any.
    """

    def __init__(self, stop: bytes) -> None:
        self.confirmed = False
        self._last_line = PREFIX + stop.strip().rsplit(b"\n", 1)[-1]
        self._reader = ReplyReader(_MAX_REPLY)

    def receive(self, data: bytes) -> None:
        """Take bytes as they came; never raises."""
        for line in self._reader.feed(data):
            if isinstance(line, Unknown):
                continue
            plain = line.translate(None, FLOW_CONTROL)
            if plain == self._last_line or _says_stopped(parse_reply(plain)):
                self.confirmed = True


def _says_stopped(reply: Reply) -> bool:
    match reply:
        case Restarted() | Fatal("FB-111", _):
            return True
        case Fatal(_, text):
            return text.startswith("// Klipper state")
        case Unknown(text):
            return text.startswith("Emergency Stop!")
        case _:
            return False
