"""Every error of the pipeline, named by what the caller does next."""

from typing import ClassVar


class PipelineError(Exception):
    """The pipeline can't go on."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (self.__doc__ or "").strip())


class ConfigurationError(PipelineError):
    """Stop the program: what it was given is wrong, and the message says what would be right."""

    exit_code = 2


class BadQuestion(ConfigurationError, ValueError):
    """Ask otherwise: a name, a time or a window is not what can be asked for, and the message says what would be."""


class DatabaseLost(PipelineError):
    """Stop the program: the database went away and did not come back; what was committed is kept."""


class DatabaseAway(ConfigurationError):
    """Wait for the database, or stop the program: no server answers where it should be."""


class RunRefused(PipelineError):
    """Stop this run: another one holds its place."""


class SchedulerRefused(RunRefused):
    """Stop this scheduler: another one is at work on the same database."""

    exit_code = 3


class SourceStopped(PipelineError):
    """Stop this source: its API refuses every call, and the message says the remedy."""


class CallFailed(PipelineError):
    """Skip this call and count it."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class BadPoint(PipelineError, ValueError):
    """Leave this point out and count it: what the API gave is no value at no time."""
