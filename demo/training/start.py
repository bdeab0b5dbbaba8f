"""What a run starts from: its tokenizer and its first weights."""

from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import torch

from demo.tokenizer import write_tokenizer
from demo.training.circuits import initialise
from demo.training.conversation import all_text
from demo.training.export import TOKENIZER_FILES, read_folder
from demo.training.model import DemoModel
from demo.training.real_tools import real_texts
from demo.training.shape import SHAPE
from demo.training.source import examples
from demo.training.vocabulary import learn_ranks
from server.text.tiktoken_tokenizer import TiktokenTokenizer

TOKENIZER_EXAMPLES = 8000
REAL_WEIGHT = 3


def prepare_tokenizer(run: Path, start: Path | None, tools: Path | None) -> None:
    """Copies that of the checkpoint `start`, or learns one from examples, the real declarations in `tools`, and
    English."""
    if (run / "tiktoken.model").exists():
        return
    if start is not None:
        for name in TOKENIZER_FILES:
            (run / name).write_bytes((start / name).read_bytes())
        return
    texts = all_text(list(islice(examples(0, "train"), TOKENIZER_EXAMPLES)))
    texts += REAL_WEIGHT * real_texts(tools) + list(topics.values())
    write_tokenizer(run, learn_ranks(texts))


def first_model(run: Path, start: Path | None) -> DemoModel:
    """With the weights of the run so far, of the checkpoint `start`, or first ones."""
    model = DemoModel(SHAPE)
    if (run / "state.pt").exists():
        model.load_state_dict(torch.load(run / "state.pt", weights_only=True)["model"])
    elif start is not None:
        read_folder(model, start)
    else:
        tokenizer = TiktokenTokenizer.load(run)
        initialise(model, [tokenizer.token_bytes(token) for token in range(tokenizer.vocab_size)])
    return model
