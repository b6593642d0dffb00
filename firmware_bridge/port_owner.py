"""The thread that owns a port: reads and delivers at once, writes what was queued, and lets a stop pass everything.

An ordinary write goes straight to the port when nothing waits before it, else into a bounded queue that the owner's
thread empties whenever the port takes bytes. Neither ever blocks the reader. `emergency_write` takes no lock that an
ordinary write holds.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from audit.clock import SystemClock
from firmware_bridge.errors import LinkLost, LocalProtocolError, WriteQueueFull
from firmware_bridge.stop_receipt import StopReceipt
from firmware_bridge.transport import Transport

_EMERGENCY_TRIES = 20
_EMERGENCY_PAUSE = 0.00005
_LAST_WORDS = 512


@dataclass(frozen=True, slots=True)
class PortBytes:
    """Bytes of a port as they came; `at_us` is process time."""

    port: str
    data: bytes
    at_us: int


@dataclass(frozen=True, slots=True)
class PortLost:
    """The port is gone. Given once; nothing follows it."""

    port: str
    reason: str
    at_us: int


PortInput = PortBytes | PortLost
WireHook = Callable[[str, str, int, bytes], None]
"""Called with direction (`<` from the device, `>` to it, `!` out of band), port, process time in µs, bytes; must neither wait nor raise."""


class PortOwner:
    """Owns one transport.

    Lifetime: the thread starts with the object and ends at `close` or when the port is lost; the transport is closed
    then. `close` is due in both cases, from another thread, and may be repeated.
    Concurrency: `deliver` runs on the owner's thread and must not block. `write`, `emergency_write` and the counters may
    be used from any thread. After an emergency write the queue is dropped and ordinary writes are refused.
    """

    def __init__(
        self,
        name: str,
        transport: Transport,
        deliver: Callable[[PortInput], None],
        *,
        clock: Callable[[], int] | None = None,
        wire: WireHook | None = None,
        queue_limit: int = 65_536,
    ) -> None:
        self.name = name
        self.bytes_read = 0
        self._transport, self._deliver = transport, deliver
        self._clock = clock or SystemClock().now
        self._wire, self._queue_limit = wire, queue_limit
        self._lock = threading.Lock()
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self._ordinary = 0
        self._urgent: deque[bytes] = deque()
        self._urgent_bytes = 0
        self._discarded = 0
        self._receipt: StopReceipt | None = None
        self._heard = b""
        self._stopped = self._closing = self._lost = False
        self._wake_out, self._wake_in = os.pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._thread = threading.Thread(target=self._run, name=f"port {name}", daemon=True)
        self._thread.start()

    @property
    def bytes_queued(self) -> int:
        """Bytes accepted for the device since the port was opened, less those that a stop threw away."""
        return self._ordinary + self._urgent_bytes - self._discarded

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def stopped(self) -> bool:
        """Whether an emergency write has closed the port to ordinary ones."""
        return self._stopped

    @property
    def stop_waits(self) -> bool:
        """Whether an emergency write has not been confirmed by the device: taken by the port is not yet read."""
        return self._receipt is not None and not self._receipt.confirmed

    def write(self, data: bytes) -> None:
        """Queue bytes for the device without blocking. Raises LinkLost, WriteQueueFull, or LocalProtocolError after an emergency write."""
        if not data:
            return
        with self._lock:
            if self._stopped:
                raise LocalProtocolError(f"Port {self.name} was stopped; nothing more is written to it.")
            if self._lost or self._closing:
                raise LinkLost(f"Port {self.name} is closed.", remedy="Reconnect the device; a new run starts from preflight.")
            if self._waiting + len(data) > self._queue_limit:
                raise WriteQueueFull(f"Port {self.name}: {self._waiting} bytes are waiting.", remedy="The device has stopped reading.")
            at = self._clock()
            taken = 0 if self._queue else self._put(data)
            self._ordinary += len(data)
            if taken < len(data):
                self._queue.append(data[taken:])
                self._waiting += len(data) - taken
                self._wake()
        if self._wire is not None:
            self._wire(">", self.name, at, data)

    def emergency_write(self, data: bytes) -> None:
        """Write at once, past the queue and past what the operating system holds back. Takes no lock, never raises, blocks ≤ a few ms."""
        self._stopped = True
        heard, receipt = self._heard, StopReceipt(data)
        self._receipt = receipt
        if self._lost or self._closing:
            return
        self._urgent_bytes += len(data)
        left = data
        with suppress(LinkLost, OSError):
            for attempt in range(_EMERGENCY_TRIES):
                left = left[self._transport.write(left) :]
                if not left:
                    break
                if attempt == 1:
                    # Full: the device does not read. What waits there is motion that must not happen.
                    self._discarded += self._transport.discard_output()
                time.sleep(_EMERGENCY_PAUSE)
        if left:
            self._urgent.append(left)
        self._wake()
        if self._wire is not None:
            self._wire("!", self.name, self._clock(), data)
        # A printer that had halted by itself says nothing more: what it said last is its answer.
        before = StopReceipt(data)
        before.receive(heard[-_LAST_WORDS:])
        if before.confirmed:
            receipt.confirmed = True

    def close(self) -> None:
        """End the thread and close the port; what is queued is not sent."""
        self._closing = True
        self._wake()
        if threading.current_thread() is self._thread:
            return
        self._thread.join()
        # Here and not on the thread: a late wake must not reach a descriptor that has been given to another file.
        wake, self._wake_in = self._wake_in, -1
        if wake >= 0:
            os.close(wake)
            os.close(self._wake_out)

    # ---- the thread

    def _wake(self) -> None:
        with suppress(OSError):
            os.write(self._wake_in, b"w")

    def _put(self, data: bytes) -> int:
        with suppress(LinkLost):
            return self._transport.write(data)
        return 0  # the reader finds the loss and reports it

    def _run(self) -> None:
        poller = select.poll()
        poller.register(self._wake_out, select.POLLIN)
        reason = ""
        try:
            while not self._closing:
                wanted = select.POLLIN | (select.POLLOUT if self._queue or self._urgent else 0)
                poller.register(self._transport.fileno(), wanted)
                for descriptor, happened in poller.poll():
                    if descriptor == self._wake_out:
                        os.read(self._wake_out, 4096)
                    else:
                        self._serve(happened)
                if self._stopped:
                    self._drop_queue()
        except LinkLost as problem:
            reason = problem.message
        finally:
            self._end(reason)

    def _serve(self, happened: int) -> None:
        if happened & (select.POLLIN | select.POLLHUP | select.POLLERR | select.POLLNVAL):
            data = self._transport.read()
            if data:
                self.bytes_read += len(data)
                self._heard = data
                if self._receipt is not None:
                    self._receipt.receive(data)
                at = self._clock()
                # First: what is delivered may end the run, and with it the log.
                if self._wire is not None:
                    self._wire("<", self.name, at, data)
                self._deliver(PortBytes(self.name, data, at))
            elif not happened & select.POLLIN:
                raise LinkLost(f"Port {self.name} hung up.")
        if happened & select.POLLOUT:
            self._flush()

    def _flush(self) -> None:
        while self._urgent:
            left = self._urgent[0]
            taken = self._transport.write(left)
            if taken < len(left):
                self._urgent[0] = left[taken:]
                return
            self._urgent.popleft()
        with self._lock:
            while self._queue and not self._stopped:
                left = self._queue[0]
                taken = self._transport.write(left)
                self._waiting -= taken
                if taken < len(left):
                    self._queue[0] = left[taken:]
                    return
                self._queue.popleft()

    def _drop_queue(self) -> None:
        with self._lock:
            self._discarded += self._waiting
            self._queue.clear()
            self._waiting = 0

    def _end(self, reason: str) -> None:
        with self._lock:
            self._lost = True
            self._transport.close()
        if not self._closing:
            self._deliver(PortLost(self.name, reason or f"Port {self.name}: the reader ended.", self._clock()))
