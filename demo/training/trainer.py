"""One training run: its steps, its state, and where both are kept."""

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
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from demo.training.batches import Batch, Encoder, batches, inputs, make_batch
from demo.training.circuits import protect
from demo.training.curve import draw
from demo.training.model import DemoModel, Mixture
from demo.training.muon import Muon
from demo.training.progress import exactness
from demo.training.source import Mixing, examples
from demo.training.team import Team

HELD_OUT = 300
BALANCE_STEP = 0.001
WARM_UP = 40  # steps
# Learning rates of kinds of parameters, relative to the run's.
FACTORS = {"embedding": 0.1, "head": 1.0, "other": 0.3, "look back": 0.1, "scores": 0.3, "matrix": 1.0}
ADAM = ("embedding", "head", "other")


class Stream(IterableDataset[Batch]):
    """Endless batches; every process and every loader of it has its own."""

    def __init__(self, options: argparse.Namespace, seed: int) -> None:
        self.options, self.seed = options, seed

    def __iter__(self) -> Iterator[Batch]:
        info = get_worker_info()
        seed = self.seed + (info.id * 1_000_003 if info is not None else 0)
        encoder = Encoder(self.options.folder)
        source = map(encoder.encode, examples(seed, "train", mixing=Mixing(tools=self.options.tools)))
        return batches(source, self.options.batch, self.options.longest, seed)


class Trainer:
    """One process' part of a run."""

    def __init__(self, team: Team, rank: int, options: argparse.Namespace) -> None:
        self.team, self.rank, self.options = team, rank, options
        assert isinstance(team.model, DemoModel)
        self.model = team.model
        team.join(rank)
        named = dict(self.model.named_parameters())
        self.owned = {name: named[name] for name in team.share(rank)}
        self.optimizers = _optimizers(self.owned, self.model.shape.num_hidden_layers - 1, options.rate)
        self.tokens = self.steps = 0
        self._load()
        self.held_out = list(_held_out(options)) if rank == 0 else []

    def train(self) -> None:
        """Until the wanted number of tokens."""
        began, seen, losses = time.time(), self.tokens, []
        stream = Stream(self.options, 1 + self.tokens + 7919 * self.rank)
        for batch in DataLoader(stream, batch_size=None, num_workers=self.options.loaders, collate_fn=_same):
            if self.tokens >= self.options.tokens:
                break
            losses.append(self.step(batch))
            if self.steps % self.options.log_every == 0:
                speed = (self.tokens - seen) / (time.time() - began)
                self._log(loss=sum(losses) / len(losses), speed=round(speed), rate=self.rate())
                began, seen, losses = time.time(), self.tokens, []
            if self.steps % self.options.save_every == 0:
                self._save()
            if self.steps % self.options.check_every == 0:
                self._log(exact=exactness(self.model, self.held_out))
            while self.options.pause.exists():
                time.sleep(2)
                began = time.time()
        self._save()
        self._log(exact=exactness(self.model, self.held_out))

    def step(self, batch: Batch) -> float:
        """One update of this process' share. Returns the mean loss of a learnt token of its batch. The user's words are
        learnt a little, too: which words go with which tools is seen in them as much as in the calls."""
        device = self.options.device
        hidden_PD = self.model(*(one.to(device) for one in inputs(batch)))
        learnt_PD, asked_PD = hidden_PD.tensor_split([batch.learnt])
        learnt_P, asked_P = batch.targets_P.to(device).tensor_split([batch.learnt])
        loss = self.model.loss(learnt_PD, learnt_P)
        asked = self.model.loss(asked_PD, asked_P) if len(asked_P) else torch.zeros(())
        (loss + self.options.asked * asked).backward()
        tokens = self.team.total(self.rank, 0, batch.tokens_BS.numel())
        self.team.average(list(self.owned.values()))
        gradients = [one.grad for one in self.owned.values() if one.grad is not None]
        squares = float(torch.stack([gradient.square().sum() for gradient in gradients]).sum())
        norm = self.team.total(self.rank, 1, squares) ** 0.5
        for gradient in gradients:
            gradient.mul_(min(1.0, 1 / (norm + 1e-6)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.rate() * group["factor"]
            optimizer.step()
        if self.rank == 0:
            for module in self.model.modules():
                if isinstance(module, Mixture):
                    module.balance(BALANCE_STEP)
        self.team.together()
        self.team.forget_gradients()
        protect(self.model)
        self.tokens += int(tokens)
        self.steps += 1
        return loss.item()

    def rate(self) -> float:
        """Warm-up, a constant rate, and a linear decay over the last part."""
        left = (self.options.tokens - self.tokens) / self.options.decay
        share = min(1.0, (self.steps + 1) / WARM_UP, max(left, 0.02))
        return float(self.options.rate * share)

    def _save(self) -> None:
        """Each process its optimizers; the first one the weights, too, and the picture."""
        names = {id(parameter): name for name, parameter in self.owned.items()}
        states = {names[id(one)]: state for optimizer in self.optimizers for one, state in optimizer.state.items()}
        _save(self.options.folder / f"optimizer-{self.rank}.pt", states)
        if self.rank == 0:
            counts = {"tokens": self.tokens, "steps": self.steps}
            _save(self.options.folder / "state.pt", {"model": self.model.state_dict(), **counts})
            draw(self.options.folder / "log.jsonl", self.options.folder / "curve.svg")

    def _load(self) -> None:
        """The state of the optimizers and the counts; the weights are loaded before the team starts."""
        path = self.options.folder / "state.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        self.tokens, self.steps = state["tokens"], state["steps"]
        for file in self.options.folder.glob("optimizer-*.pt"):
            for name, values in torch.load(file, weights_only=True, map_location=self.options.device).items():
                for optimizer in self.optimizers:
                    if name in self.owned and any(
                        self.owned[name] is one for group in optimizer.param_groups for one in group["params"]
                    ):
                        optimizer.state[self.owned[name]] = values

    def _log(self, **values: Any) -> None:
        if self.rank > 0:
            return
        line = {"time": time.strftime("%H:%M:%S"), "step": self.steps, "tokens": self.tokens, **values}
        text = json.dumps({key: _rounded(value) for key, value in line.items()})
        print(text, flush=True)
        with (self.options.folder / "log.jsonl").open("a") as file:
            file.write(text + "\n")


def _held_out(options: argparse.Namespace) -> Iterator[Batch]:
    encoder = Encoder(options.folder)
    encoded = map(encoder.encode, islice(examples(1, "held_out", most_turns=1), HELD_OUT))
    ordered = sorted(encoded, key=lambda one: len(one.tokens))
    for first in range(0, HELD_OUT, 40):
        yield make_batch(ordered[first : first + 40])


def _optimizers(owned: dict[str, nn.Parameter], last: int, rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices; AdamW for embeddings, routers and norms. What the circuits built in rest on learns
    slowly: full steps wash it out before it has been of use."""
    groups: dict[str, list[nn.Parameter]] = {name: [] for name in FACTORS}
    for name, parameter in owned.items():
        groups[_group(name, parameter, last)].append(parameter)
    made = {name: {"params": groups[name], "factor": FACTORS[name]} for name in FACTORS if groups[name]}
    adam = [group for name, group in made.items() if name in ADAM]
    muon = [group for name, group in made.items() if name not in ADAM]
    optimizers: list[torch.optim.Optimizer] = []
    if adam:
        optimizers.append(torch.optim.AdamW(adam, lr=rate, betas=(0.9, 0.97), weight_decay=0.0, fused=True))
    if muon:
        optimizers.append(Muon(muon, rate, momentum=0.95, weight_decay=0.01))
    return optimizers


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


def _save(path: Path, state: dict[str, Any]) -> None:
    torch.save(state, path.with_suffix(".tmp"))
    os.replace(path.with_suffix(".tmp"), path)


def _same(batch: Any) -> Any:
    """A batch as the stream made it."""
    return batch


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value
