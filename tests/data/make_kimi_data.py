"""Makes tests/data/kimi_k2 and tests/data/tiny_kimi from a folder of published Kimi K2 files (see SOURCES.md).

    python tests/data/make_kimi_data.py ../shared/data/models

tiny_kimi is a checkpoint's text half in small: 512 ranks (the 256 bytes and 256 merges, learnt from the golden
conversations), and Kimi's control tokens at the same slots as in the real one.
"""

import base64
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import regex

from server.text.tiktoken_tokenizer import SPLIT_PATTERN

HERE = Path(__file__).parent
RANKS = 512
REAL_FIRST_CONTROL = 163584


def learn_ranks(text: str) -> list[bytes]:
    """Plain byte-pair encoding: merge the most frequent pair (the smaller one of equals) until there are enough."""
    words = Counter(regex.findall(SPLIT_PATTERN, text, regex.VERSION1))
    parts = {word: [bytes([byte]) for byte in word.encode()] for word in words}
    ranks = [bytes([byte]) for byte in range(256)]
    while len(ranks) < RANKS:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for word, count in words.items():
            for pair in zip(parts[word], parts[word][1:], strict=False):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        ranks.append(best[0] + best[1])
        parts = {word: merge(tokens, best) for word, tokens in parts.items()}
    return ranks


def merge(tokens: list[bytes], pair: tuple[bytes, bytes]) -> list[bytes]:
    merged: list[bytes] = []
    for token in tokens:
        if merged and (merged[-1], token) == pair:
            merged[-1] += token
        else:
            merged.append(token)
    return merged


def main(models: Path) -> None:
    real = models / "kimi-k2-instruct"
    inputs = json.loads((models / "golden_inputs.json").read_text(encoding="utf-8"))
    golden = {}
    for file in sorted((real / "golden").glob("*.json")):
        content = json.loads(file.read_text(encoding="utf-8"))
        shutil.copy(real / content["template"], HERE / "kimi_k2")
        kept = ("name", "variant", "add_generation_prompt", "template_kwargs", "rendered", "error")
        golden[content["template"]] = [{key: case[key] for key in kept if key in case} for case in content["cases"]]
    whole = {"inputs": inputs, "templates": golden}
    text = json.dumps(whole, ensure_ascii=False, indent=1)
    (HERE / "kimi_k2" / "golden.json").write_text(text + "\n", encoding="utf-8")
    shutil.copy(real / "LICENSE", HERE / "kimi_k2")

    tiny = HERE / "tiny_kimi"
    lines = [
        f"{base64.b64encode(token).decode()} {rank}\n"
        for rank, token in enumerate(learn_ranks(json.dumps(inputs, ensure_ascii=False)))
    ]
    (tiny / "tiktoken.model").write_text("".join(lines))
    config = json.loads((real / "tokenizer_config.json").read_text(encoding="utf-8"))
    config["added_tokens_decoder"] = {
        str(int(token_id) - REAL_FIRST_CONTROL + RANKS): entry
        for token_id, entry in config["added_tokens_decoder"].items()
    }
    del config["auto_map"]
    (tiny / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    shutil.copy(real / "chat_template.jinja", tiny)
    shutil.copy(real / "LICENSE", tiny)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
