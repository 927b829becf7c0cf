"""Signals that ask a run to end: SIGTERM, as Cloud TPU and Slurm send it before a machine is taken away, and Ctrl-C.

Python runs a handler only between two of its own instructions, so never while XLA compiles or computes. The number of
a signal is therefore read from a file descriptor (`signal.set_wakeup_fd`) by a thread of its own, at once:

    all steps done are saved   the process ends at once, with code 128 + number
    otherwise                  `Notice.number` is set; the loop saves after the dispatch under way, and leaves
"""

import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Iterator

from jaxpose.training import processes

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Notice:
    """What a run knows of a request to end; `number` is the signal's, 0 before one came."""

    def __init__(self) -> None:
        self.number = 0
        self._lock = threading.Lock()
        self._saved_step: int | None = None

    @contextlib.contextmanager
    def nothing_to_lose(self, step: int) -> Iterator[None]:
        """Context in which all that was done, `step` steps, is saved: a request to end is met at once.

        All processes of a run enter it together, so one that was asked before makes all leave.
        """
        if number := int(processes.largest(self.number)[0]):
            self.number = number
            raise self.leave(step)
        self._saved_step = step
        if self.number:  # since the others were asked
            self.receive(self.number)
        try:
            yield
        finally:
            with self._lock:  # the process is not ending in this moment
                self._saved_step = None

    def receive(self, number: int) -> None:
        """Note a signal; called in the thread that waits for them."""
        with self._lock:
            self.number = self.number or number
            if self._saved_step is not None:
                processes.exit_at_once(128 + self.number, self.said(self._saved_step))

    def leave(self, step: int) -> SystemExit:
        """What to raise once `step` is saved; prints so."""
        print(self.said(step), file=sys.stderr, flush=True)
        return SystemExit(128 + self.number)

    def said(self, step: int) -> str:
        """The line for the user."""
        return f"{signal.Signals(self.number).name}: the run is saved at step {step} and goes on from there"


@contextlib.contextmanager
def watched() -> Iterator[Notice]:
    """A notice that SIGTERM and Ctrl-C set, whatever the main thread does; a second Ctrl-C is a KeyboardInterrupt.

    Only the main thread may take signals: elsewhere the notice is never set.
    """
    notice = Notice()
    if threading.current_thread() is not threading.main_thread():
        yield notice
        return

    times: list[int] = []

    def handler(number: int, frame: object) -> None:
        times.append(number)
        if times.count(signal.SIGINT) > 1:
            raise KeyboardInterrupt

    read, write = socket.socketpair()
    write.setblocking(False)
    handlers = {number: signal.signal(number, handler) for number in _SIGNALS}
    wakeup = signal.set_wakeup_fd(write.fileno())

    def wait() -> None:
        while number := read.recv(1):
            if number[0] in _SIGNALS:
                notice.receive(number[0])

    thread = threading.Thread(target=wait, name="signals", daemon=True)
    thread.start()
    try:
        yield notice
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, before in handlers.items():
            signal.signal(number, before)
        write.close()
        thread.join()
        read.close()
