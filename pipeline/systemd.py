"""Messages to the service manager that started this process: the protocol of systemd's sd_notify(3)."""

import logging
import os
import socket
from collections.abc import MutableMapping

log = logging.getLogger(__name__)


class Notify:
    """Sends states to the service manager; does nothing without one.

    `watchdog` is the time in seconds after which the manager restarts a silent service; None without a watchdog.
    """

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        """Remove the address from the environment, so that no child process, such as a server, sends states."""
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        microseconds = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID") in (None, str(os.getpid()))
        self.watchdog = int(microseconds) / 1_000_000 if ours and microseconds.isdecimal() else None
        self._failed = False

    def send(self, state: str) -> None:
        """Send a state as the protocol names it, such as READY=1."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
                datagrams.settimeout(1)
                datagrams.sendto(state.encode(), self._address)
        except OSError as error:  # the manager restarts a silent service, so a warning is enough
            if not self._failed:
                log.warning("the service manager cannot be reached: %s", error)
            self._failed = True
