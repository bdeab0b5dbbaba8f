"""Run by test_memory_plan.py in a process of its own: how much memory the largest steps take beyond weights and KV.

Prints, in bytes, the growth of the peak during a full prefill step and a full decode step, and the bytes of weights.
"""

import json
import sys
from pathlib import Path

import torch

from engine.kernels.formats import PLAIN, quantized
from engine.layers.weight import Forms
from engine.messages import SamplingParams
from engine.models.batch import DECODE_WORKSPACE_TOKENS, DecodeGroup, ForwardBatch, PrefillChunk
from engine.models.causal import CausalModel
from engine.models.config import ModelConfig
from engine.models.registry import build_model
from engine.runner.kv_store import KVStore
from engine.runner.prompt_scorer import PromptScorer
from engine.runner.sampler import Sampler
from engine.scheduling.plan import NewRow, PlannedRequest, PromptScoring, StepPlan
from tests.support.configs import small_config, small_family

BLOCK = 16


def status(key: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def prefill(count: int, context: int) -> ForwardBatch:
    positions = torch.arange(context - count, context)
    chunk = PrefillChunk(0, count, context - count, torch.arange(-(-context // BLOCK)))
    return ForwardBatch(positions % 100, positions, positions, (), (chunk,), torch.arange(count)[-64:])


def decode(rows: int, context: int) -> ForwardBatch:
    blocks = context // BLOCK
    table = torch.arange(rows * blocks).view(rows, blocks)
    lens = torch.full((rows,), context)
    group = DecodeGroup(torch.arange(rows), table, lens)
    return ForwardBatch(torch.arange(rows), lens - 1, table[:, -1] * BLOCK, (group,), (), torch.arange(rows))


def sample(logits: torch.Tensor) -> None:
    """Draws with everything that takes memory."""
    rows, vocabulary = logits.shape
    sampler = Sampler(rows, vocabulary, logits.device)
    params = SamplingParams(max_tokens=1, top_p=0.95, frequency_penalty=0.5, repetition_penalty=1.1, logprobs=20)
    for row in range(rows):
        sampler.add_row(NewRow(row, params, (1, 2, 3), 1))
    sampler.sample(logits, range(rows))


def score(model: CausalModel, batch: ForwardBatch, kv: KVStore, rows: int) -> None:
    """A step of one prompt whose log-probabilities are all wanted."""
    count = len(batch.token_ids_T)
    planned = PlannedRequest(0, 0, range(count), (), False, PromptScoring(0, [1] * count, 20))
    PromptScorer(model.logits, rows).score(StepPlan([planned], [], [], count), model.hidden(batch, kv))


def measure(config: ModelConfig, tokens: int, rows: int, forms: Forms) -> dict[str, int]:
    dtype = forms.dtype
    torch.set_num_threads(1)
    model = build_model(config, forms)
    for parameter in model.parameters():
        if parameter.is_floating_point():
            parameter.data.uniform_(-0.05, 0.05)
        else:
            parameter.data.zero_()
    context = min(DECODE_WORKSPACE_TOKENS // rows, config.max_position_embeddings)
    kv = KVStore(config, rows * context // BLOCK, BLOCK, dtype, torch.device("cpu"))
    for index in range(config.num_hidden_layers):
        kv.layer(index).uniform_(-1, 1)
    with torch.inference_mode():
        model(prefill(4, 4), kv)  # the libraries' own memory, once
        model(decode(2, BLOCK), kv)
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = status("VmRSS")
        score(model, prefill(tokens, context), kv, rows)
        after_prefill = status("VmHWM") - before
        logits = model(decode(rows, context), kv)
        sample(logits.fill_(1.0))  # flat: no filter ends within the first candidates
        growth = status("VmHWM") - before
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return {"prefill": after_prefill, "growth": growth, "weights": weights, "kv": kv.bytes}


if __name__ == "__main__":
    what, tokens, rows, how = json.loads(sys.argv[1])
    if isinstance(what, dict):  # changes of Kimi's config, and a dtype
        config, forms = small_config(**what), Forms(getattr(torch, how), PLAIN)
    else:  # a family, and what it is quantised to
        config = small_config() if what == "kimi" else small_family(what)
        forms = Forms(torch.bfloat16, PLAIN if how is None else quantized(how))
    print(json.dumps(measure(config, tokens, rows, forms)))
