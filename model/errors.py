"""Every error of the pipeline, named by what the caller does next. A docstring is the message by default."""

from typing import ClassVar


class PipelineError(Exception):
    """The pipeline can't continue."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigurationError(PipelineError):
    """Stop the program: its input is wrong; the message says what would be right."""

    exit_code = 2


class KeyMissing(ConfigurationError):
    """Leave the source out, or stop the program: it needs a key that is not set; the message says where to write it."""


class BadQuestion(ConfigurationError, ValueError):
    """Ask something else: a name, a time or a window is wrong; the message says what would be right."""


class DatabaseLost(PipelineError):
    """Stop the program: the connection to the database was lost; everything committed so far is kept."""


class DatabaseAway(ConfigurationError):
    """Wait for the database or stop the program: no server answers at its address."""

    exit_code = 4


class RunRefused(PipelineError):
    """Stop this run: another process is making the same run."""


class SchedulerRefused(RunRefused):
    """Stop this scheduler: another one works on the same database."""

    exit_code = 3


class SourceStopped(PipelineError):
    """Stop this source: its API refuses every call; the message says what to do."""


class CallFailed(PipelineError):
    """Skip this call and count it."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class TryFailed(CallFailed):
    """Retry this call: the reason may be temporary."""


class NotDelivered(PipelineError):
    """Send it again later: a webhook did not take a message; the error says why, without the URL."""


class BadPoint(PipelineError, ValueError):
    """Leave this point out and count it: it is not a finite value with a UTC time."""
