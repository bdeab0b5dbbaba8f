"""What packing a model's matrices, or its KV cache, does to its answers: both models read the same text, and their
next-token distributions are compared.

Run as a program: JSON on standard input ({"model": folder, "quantize": "int4" or null, "kv_cache_dtype": "auto" or
"fp8", "token_ids": [...], "window": 512}), JSON on standard output. One model is in memory at a time.
Shapes: T tokens of a window, V vocabulary.
"""

import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engine.errors import ConfigError
from engine.kernels.formats import Formats, KVFormat, Quantized, quantized
from engine.kernels.packed import FP8
from engine.layers.weight import Forms
from engine.models.batch import ForwardBatch, PrefillChunk
from engine.models.configs.read import load_model_config
from engine.runner.kv_store import KVStore
from engine.weights.loader import load_model

BLOCK = 16


@dataclass(frozen=True, slots=True)
class QuantizationError:
    """`divergence`: mean Kullback-Leibler divergence of the packed model's next-token distribution from the original's,
    in nats; `worst` its largest. `agreement`: share of places where both find the same token most likely. Perplexities
    are of the text itself. `tokens`: places compared."""

    tokens: int
    divergence: float
    worst: float
    agreement: float
    perplexity: float
    packed_perplexity: float


def quantization_error(
    folder: Path, quantize: Quantized | None, token_ids: Sequence[int], window: int, kv: KVFormat = "auto"
) -> QuantizationError:
    """Reads `token_ids` in windows, each on its own. `quantize` None leaves the matrices as they are. Raises
    ConfigError for checkpoints that cannot be loaded and texts shorter than two tokens."""
    if len(token_ids) < 2:
        raise ConfigError(f"the text has {len(token_ids)} tokens; two are needed to predict one")
    config = load_model_config(folder)
    if max(token_ids) >= config.vocab_size:
        raise ConfigError(f"the text has token {max(token_ids)}, but {folder} has {config.vocab_size} tokens")
    windows = [list(token_ids[first : first + window]) for first in range(0, len(token_ids), window)]
    windows = [one for one in windows if len(one) > 1]
    original = list(_log_probabilities(folder, config.formats, windows))
    formats = config.formats if quantize is None else quantized(quantize)
    packed = _log_probabilities(folder, replace(formats, kv=kv), windows)
    places, total, worst, agreed, loss, packed_loss = 0, 0.0, 0.0, 0, 0.0, 0.0
    for tokens, before_TV, after_TV in zip(windows, original, packed, strict=True):
        targets = torch.tensor(tokens[1:])
        divergence_T = functional.kl_div(after_TV, before_TV, reduction="none", log_target=True).sum(-1)
        places += len(targets)
        total += divergence_T.sum().item()
        worst = max(worst, divergence_T.max().item())
        agreed += int((before_TV.argmax(-1) == after_TV.argmax(-1)).sum())
        loss -= before_TV.gather(1, targets[:, None]).sum().item()
        packed_loss -= after_TV.gather(1, targets[:, None]).sum().item()
    return QuantizationError(
        places, total / places, worst, agreed / places, math.exp(loss / places), math.exp(packed_loss / places)
    )


def _log_probabilities(folder: Path, formats: Formats, windows: Sequence[Sequence[int]]) -> Iterator[Tensor]:
    """Of each window's next tokens, but for the last place: float32 [T - 1, V]."""
    config, cpu = load_model_config(folder), torch.device("cpu")
    dtype: torch.dtype = getattr(torch, "bfloat16" if config.dtype == "float16" else config.dtype)
    model = load_model(folder, config, Forms(dtype, formats), cpu, lambda done: None).model
    blocks = -(-max(map(len, windows)) // BLOCK)
    kv = KVStore(config, blocks, BLOCK, FP8 if formats.kv == "fp8" else dtype, cpu)
    for tokens in windows:
        positions = torch.arange(len(tokens))
        chunk = PrefillChunk(0, len(tokens), 0, torch.arange(blocks))
        batch = ForwardBatch(torch.tensor(tokens), positions, positions, (), (chunk,), positions[:-1])
        with torch.inference_mode():
            found_TV = model(batch, kv).log_softmax(-1)
        yield found_TV


def main() -> None:
    """See the module."""
    asked = json.load(sys.stdin)
    try:
        found = quantization_error(
            Path(asked["model"]), asked["quantize"], asked["token_ids"], asked["window"], asked["kv_cache_dtype"]
        )
    except ConfigError as error:
        json.dump({"error": str(error)}, sys.stdout)
        return
    json.dump(asdict(found), sys.stdout)


if __name__ == "__main__":
    main()
