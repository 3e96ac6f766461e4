"""What the service manager is told, where one has started us: the protocol of systemd's sd_notify(3)."""

import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger(__name__)


class Notify:
    """Sends states to the service manager; does nothing where there is none."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Takes the address out of the environment, so that no child, such as a database server, speaks for us."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        self.watchdog = int(microseconds) / 1_000_000 if ours and microseconds.isdecimal() else None
        self._failed = False

    def ready(self) -> None:
        """The service has come up."""
        self._send("READY=1")

    def extend(self, seconds: float) -> None:
        """It comes up later: put off the end of the start by so long from now."""
        self._send(f"EXTEND_TIMEOUT_USEC={seconds * 1_000_000:.0f}")

    def alive(self) -> None:
        """Put off the restart for which the watchdog waits (`watchdog` seconds; None where there is none)."""
        self._send("WATCHDOG=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
                datagrams.settimeout(1)
                datagrams.sendto(state.encode(), self._address)
        except OSError as error:  # it restarts us if it misses this, so there is nothing else to do
            if not self._failed:
                log.warning("the service manager is not to be reached: %s", error)
            self._failed = True
