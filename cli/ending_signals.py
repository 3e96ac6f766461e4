"""The signals with which other programs end this process in good order; a person presses Ctrl-C."""

import signal


def ending_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGHUP, which a closed terminal sends; without SIGHUP in a process that nohup has started."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGHUP]
