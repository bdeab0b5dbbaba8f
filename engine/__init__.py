"""The engine turns token ids into token ids. It knows no chat, no JSON API, no text.

This facade is all that `server` imports. It must not import torch (a test asserts it): the engine proper runs in a
process of its own, which `EngineClient` starts and talks to.
"""

from engine.checkpoint_json import read_json_object, read_optional_json_object
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
from engine.vocabulary import (
    SPLIT_PATTERN,
    HuggingFaceVocabulary,
    TiktokenVocabulary,
    parse_huggingface_vocabulary,
    read_huggingface_vocabulary,
    read_tiktoken_vocabulary,
)

__all__ = [
    "SPLIT_PATTERN",
    "ConfigError",
    "EngineClient",
    "EngineConfig",
    "EngineError",
    "EngineStats",
    "EngineStatus",
    "EngineUnavailable",
    "GenerateRequest",
    "Grammar",
    "HuggingFaceVocabulary",
    "Loading",
    "PlanLine",
    "Planned",
    "Ready",
    "RequestRefused",
    "SamplingParams",
    "StepFailed",
    "StepOutput",
    "StepReport",
    "TiktokenVocabulary",
    "TokenLogprobs",
    "parse_huggingface_vocabulary",
    "read_huggingface_vocabulary",
    "read_json_object",
    "read_optional_json_object",
    "read_tiktoken_vocabulary",
]
