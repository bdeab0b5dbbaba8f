"""The engine's errors, all of them.

    EngineError
    ├── ConfigError            the engine cannot start as asked: a flag or a value is wrong
    │   ├── CheckpointError    a checkpoint folder is not what it says it is
    │   └── DoesNotFit         the memory plan exceeds the machine
    ├── RequestRefused         this request can never run here; others are unaffected
    ├── RequestCancelled       somebody else than its reader cancelled this request
    ├── StepFailed             the model could not compute a step of this request (out of memory, NaN)
    ├── DeviceMemoryExhausted  a step found no memory on the device
    ├── DeviceBroken           the device computes nothing any more in this process
    └── EngineUnavailable      the engine process is loading, dead or stuck

ConfigError's text is shown to the operator as one line, RequestRefused's to the client.
"""


class EngineError(Exception):
    """Base of everything the engine raises on purpose."""


class ConfigError(EngineError):
    """The engine cannot start as configured; the text names the value and the way out."""


class CheckpointError(ConfigError):
    """The checkpoint folder lacks something, or holds something that does not belong."""


class DoesNotFit(ConfigError):
    """The memory plan needs more than the machine has; the text names the flag to change."""


class RequestRefused(EngineError):
    """A request that can never run on this engine. `code` is an API error code such as
    `context_length_exceeded`."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class RequestCancelled(EngineError):
    """The request was cancelled by its id; whoever reads its outputs is told so."""


class StepFailed(EngineError):
    """A step with this request in it could not be computed. The engine goes on with the others."""


class DeviceMemoryExhausted(EngineError):
    """A step found no memory on the device. It can be run again without its largest request."""


class DeviceBroken(EngineError):
    """The device reports an error that stays: only a new process can use it again."""


class EngineUnavailable(EngineError):
    """No engine to answer now. `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after
