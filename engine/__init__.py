"""The engine turns token ids into token ids. It knows no chat, no JSON API, no text.

This facade is all that `server` imports. It must not import torch (a test asserts it): the engine proper runs in a
process of its own, which `EngineClient` starts and talks to.
"""

from engine.capacity import Capacity, Hardware, Speed, changes_that_fit, plan_capacity, speed
from engine.checkpoint_json import is_present, read_json_object, read_optional_json_object
from engine.client import EngineClient, EngineStatus
from engine.config import EngineConfig
from engine.errors import ConfigError, EngineError, EngineUnavailable, RequestCancelled, RequestRefused, StepFailed
from engine.kernels.formats import Formats, quantized
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
from engine.models.config import ModelConfig
from engine.models.published import model_config, published_names
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
    "Capacity",
    "ConfigError",
    "EngineClient",
    "EngineConfig",
    "EngineError",
    "EngineStats",
    "EngineStatus",
    "EngineUnavailable",
    "Formats",
    "GenerateRequest",
    "Grammar",
    "Hardware",
    "HuggingFaceVocabulary",
    "Loading",
    "ModelConfig",
    "PlanLine",
    "Planned",
    "Ready",
    "RequestCancelled",
    "RequestRefused",
    "SamplingParams",
    "Speed",
    "StepFailed",
    "StepOutput",
    "StepReport",
    "TiktokenVocabulary",
    "TokenLogprobs",
    "changes_that_fit",
    "is_present",
    "model_config",
    "parse_huggingface_vocabulary",
    "plan_capacity",
    "published_names",
    "quantized",
    "read_huggingface_vocabulary",
    "read_json_object",
    "read_optional_json_object",
    "read_tiktoken_vocabulary",
    "speed",
]
