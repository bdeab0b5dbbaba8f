"""Trains the demonstration model: python -m demo.train FOLDER

FOLDER keeps the tokenizer, the state (training goes on from it), log.jsonl and curve.svg.
Runs on two CPU cores; --device cuda for a GPU.
"""

import argparse
from pathlib import Path

import torch

from demo.training import model as model_module
from demo.training.start import first_model, prepare_tokenizer
from demo.training.team import Team
from demo.training.trainer import Trainer


def main() -> None:
    options = _options()
    options.folder.mkdir(parents=True, exist_ok=True)
    prepare_tokenizer(options.folder, options.start, options.tools)
    team = Team(first_model(options.folder, options.start).to(options.device), options.processes)
    team.start(work, options)
    work(team, 0, options)


def work(team: Team, rank: int, options: argparse.Namespace) -> None:
    """What each process of the team does."""
    torch.set_num_threads(options.threads)
    torch._dynamo.config.recompile_limit = 64  # one function serves many shapes
    for name in ("rms_norm", "swiglu", "rotate"):
        setattr(model_module, name, torch.compile(getattr(model_module, name), dynamic=True))
    Trainer(team, rank, options).train()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m demo.train", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the run lives; it goes on from the state found there")
    parser.add_argument("--from", type=Path, dest="start", help="checkpoint whose weights a new run starts from")
    parser.add_argument("--tokens", type=float, default=40e6, help="length of the training, in tokens")
    parser.add_argument("--decay", type=float, default=10e6, help="tokens at the end over which the rate falls")
    parser.add_argument("--batch", type=int, default=4096, help="tokens in a batch of one process")
    parser.add_argument("--longest", type=int, default=512, help="examples longer than this are left out")
    parser.add_argument("--rate", type=float, default=3e-3, help="learning rate")
    parser.add_argument("--asked", type=float, default=0.3, help="weight of the loss of the user's words")
    parser.add_argument("--tools", type=Path, help="folder with real tool declarations (see demo/README.md)")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu or cuda")
    parser.add_argument("--processes", type=int, default=2, help="that train together; on a GPU 1")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of each process")
    parser.add_argument("--loaders", type=int, default=0, help="processes that make batches for each; on a GPU 8")
    parser.add_argument("--log-every", type=int, default=20, help="steps")
    parser.add_argument("--check-every", type=int, default=200, help="steps")
    parser.add_argument("--save-every", type=int, default=25, help="steps")
    parser.add_argument("--pause", type=Path, default=Path("pause-training"), help="training waits while this exists")
    return parser.parse_args()


if __name__ == "__main__":
    main()
