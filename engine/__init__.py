"""The engine turns token ids into token ids. It knows no chat, no JSON API, no text.

This facade is all that `server` imports. It must not import torch (a test asserts it): the engine proper runs in a
process of its own, which `EngineClient` starts and talks to.
"""

from engine.client import EngineClient, EngineStatus
from engine.config import EngineConfig
from engine.errors import ConfigError, EngineError, EngineUnavailable, RequestRefused, StepFailed
from engine.messages import (
    EngineStats,
    GenerateRequest,
    Grammar,
    Loading,
    PlanLine,
    Planned,
    Ready,
    SamplingParams,
    StepOutput,
    StepReport,
    TokenLogprobs,
)

__all__ = [
    "ConfigError",
    "EngineClient",
    "EngineConfig",
    "EngineError",
    "EngineStats",
    "EngineStatus",
    "EngineUnavailable",
    "GenerateRequest",
    "Grammar",
    "Loading",
    "PlanLine",
    "Planned",
    "Ready",
    "RequestRefused",
    "SamplingParams",
    "StepFailed",
    "StepOutput",
    "StepReport",
    "TokenLogprobs",
]
