"""Converts a checkpoint of checkpoints.py for llama.cpp: python gguf.py LLAMA_CPP FOLDER --outfile FILE

LLAMA_CPP's own converter does the work. It recognises tokenizers by a hash of what they do, and has never seen ours,
which splits text as GPT-2's does: that is what it is told. Runs by itself, in an environment that has what the
converter needs; all further options are the converter's.
"""

import runpy
import sys
from pathlib import Path


def main() -> None:
    source = Path(sys.argv[1]).resolve()
    sys.path[:0] = [str(source), str(source / "gguf-py")]
    from conversion import base  # type: ignore[import-not-found]

    base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    sys.argv = ["convert_hf_to_gguf.py", *sys.argv[2:]]
    runpy.run_path(str(source / "convert_hf_to_gguf.py"), run_name="__main__")


if __name__ == "__main__":
    main()
