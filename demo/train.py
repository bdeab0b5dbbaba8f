"""Trains the demonstration model: python -m demo.train FOLDER

FOLDER keeps the tokenizer, the state (training goes on from it), log.jsonl and curve.svg.
Runs on two CPU cores.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from demo.tokenizer import write_tokenizer
from demo.training import model as model_module
from demo.training.batches import Batch, Encoder, batches, make_batch
from demo.training.chance import Part
from demo.training.circuits import initialise, protect
from demo.training.conversation import all_text
from demo.training.curve import draw
from demo.training.model import DemoModel, Mixture
from demo.training.muon import Muon
from demo.training.progress import exactness
from demo.training.shape import SHAPE
from demo.training.source import examples
from demo.training.vocabulary import learn_ranks

TOKENIZER_EXAMPLES = 20000
HELD_OUT = 400
BALANCE_STEP = 0.001
# Learning rates of kinds of parameters, relative to the run's.
FACTORS = {"embedding": 0.1, "head": 1.0, "other": 0.3, "look back": 0.1, "scores": 0.3, "matrix": 1.0}


def main() -> None:
    options = _options()
    torch.set_num_threads(options.threads)
    torch._dynamo.config.recompile_limit = 64  # one function serves many shapes
    for name in ("rms_norm", "swiglu", "rotate"):
        setattr(model_module, name, torch.compile(getattr(model_module, name), dynamic=True))
    run = Run(options)
    run.train()


class Run:
    """One training run: its state, and where it is kept."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folder: Path = options.folder
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "tiktoken.model").exists():
            ranks = learn_ranks(all_text(list(islice(examples(0, "train"), TOKENIZER_EXAMPLES))))
            write_tokenizer(self.folder, ranks)
        self.encoder = Encoder(self.folder)
        self.model = DemoModel(SHAPE)
        size = self.encoder.tokenizer.vocab_size
        initialise(self.model, [self.encoder.tokenizer.token_bytes(token) for token in range(size)])
        self.optimizers = _optimizers(self.model, options.rate)
        self.tokens = self.steps = 0
        self.load()
        self.held_out = list(self._held_out())

    def train(self) -> None:
        """Until the wanted number of tokens."""
        began, seen, losses = time.time(), self.tokens, []
        for batch in self._batches("train", 1 + self.tokens):
            if self.tokens >= self.options.tokens:
                break
            losses.append(self.step(batch))
            if self.steps % self.options.log_every == 0:
                speed = (self.tokens - seen) / (time.time() - began)
                self.log(loss=sum(losses) / len(losses), speed=round(speed), rate=self.rate())
                began, seen, losses = time.time(), self.tokens, []
            if self.steps % self.options.check_every == 0:
                self.log(exact=exactness(self.model, self.held_out))
                self.save()
                began = time.time()
            while self.options.pause.exists():
                time.sleep(2)
                began = time.time()
        self.log(exact=exactness(self.model, self.held_out))
        self.save()

    def step(self, batch: Batch) -> float:
        """One update. Returns the mean loss of a learnt token."""
        hidden_PD = self.model(batch.tokens_BS).flatten(0, 1).index_select(0, batch.from_P)
        loss = functional.cross_entropy(self.model.logits(hidden_PD).float(), batch.targets_P)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate() * group.get("factor", 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        protect(self.model)
        for module in self.model.modules():
            if isinstance(module, Mixture):
                module.balance(BALANCE_STEP)
        self.tokens += batch.tokens_BS.numel()
        self.steps += 1
        return loss.item()

    def rate(self) -> float:
        """Warm-up, a constant rate, and a linear decay over the last part."""
        left = 1 - self.tokens / self.options.tokens
        share = min(1.0, (self.steps + 1) / 40, max(left / self.options.decay, 0.02))
        return float(self.options.rate * share)

    def log(self, **values: Any) -> None:
        line = {"time": time.strftime("%H:%M:%S"), "step": self.steps, "tokens": self.tokens, **values}
        text = json.dumps({key: _rounded(value) for key, value in line.items()})
        print(text, flush=True)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(text + "\n")

    def save(self) -> None:
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "tokens": self.tokens,
            "steps": self.steps,
        }
        torch.save(state, self.folder / "state.tmp")
        os.replace(self.folder / "state.tmp", self.folder / "state.pt")
        draw(self.folder / "log.jsonl", self.folder / "curve.svg")

    def load(self) -> None:
        path = self.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            factors = [group.get("factor", 1.0) for group in optimizer.param_groups]
            optimizer.load_state_dict(saved)
            for group, factor in zip(optimizer.param_groups, factors, strict=True):
                group["factor"] = factor  # as the code has it now
        self.tokens, self.steps = state["tokens"], state["steps"]

    def _batches(self, part: Part, seed: int) -> Iterator[Batch]:
        source = map(self.encoder.encode, examples(seed, part))
        return batches(source, self.options.batch, self.options.longest, seed)

    def _held_out(self) -> Iterator[Batch]:
        encoded = map(self.encoder.encode, islice(examples(1, "held_out", most_turns=1), HELD_OUT))
        ordered = sorted(encoded, key=lambda one: len(one.tokens))
        for first in range(0, HELD_OUT, 40):
            yield make_batch(ordered[first : first + 40])


def _optimizers(model: DemoModel, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for embeddings, routers and norms. What the circuits built in rest on learns
    slowly: full steps wash it out before it has been of use."""
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in FACTORS}
    for name, parameter in model.named_parameters():
        groups[_group(name, parameter, model.shape.num_hidden_layers - 1)].append(parameter)
    made = {name: {"params": groups[name], "factor": factor} for name, factor in FACTORS.items()}
    adam = torch.optim.AdamW(
        [made["embedding"], made["head"], made["other"]], lr=rate, betas=(0.9, 0.97), weight_decay=0.0, fused=True
    )
    return [Muon([made["look back"], made["scores"], made["matrix"]], rate, momentum=0.95, weight_decay=0.01), adam]


def _group(name: str, parameter: nn.Parameter, last: int) -> str:
    if name in ("embedding", "head"):
        return name
    if parameter.dim() == 1 or "router" in name:
        return "other"
    if "attention" in name and name.startswith("layers.0."):
        return "look back"
    if name.endswith((".q_a", ".q_b", ".kv_a", ".kv_b")) and not name.startswith(f"layers.{last}."):
        return "scores"
    return "matrix"


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the run lives; it goes on from the state found there")
    parser.add_argument("--tokens", type=float, default=40e6, help="length of the training, in tokens")
    parser.add_argument("--batch", type=int, default=8192, help="tokens in a batch")
    parser.add_argument("--longest", type=int, default=512, help="examples longer than this are left out")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate")
    parser.add_argument("--decay", type=float, default=0.4, help="part of the training over which the rate falls")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--log-every", type=int, default=20, help="steps")
    parser.add_argument("--check-every", type=int, default=100, help="steps")
    parser.add_argument("--pause", type=Path, default=Path("pause-training"), help="training waits while this exists")
    return parser.parse_args()


if __name__ == "__main__":
    main()
