"""Every field of a completions request, in exactly one of three lists: honoured, harmless, refused; and the extensions.

Data only; `docs/completions.md` shows them, and tests hold them against OpenAI's specification, the schema and the
document. null always means absent.
"""

from server.wire import Refused

# Field of the specification -> what it does here.
HONOURED: dict[str, str] = {
    "model": "one of the names that `GET /v1/models` lists",
    "prompt": "a string, a list of strings, a list of token ids or a list of lists of token ids; the name of a control "
    "token in a string is that token",
    "max_tokens": "at least 0; default: 16, or what room the context has if that is less; 0: nothing is generated",
    "echo": "the text begins with the prompt's; with `logprobs` those of the prompt's tokens come too",
    "logprobs": "0 to 5: the log-probability of each token, and that many of the most likely at its place",
    "temperature": "0 to 2; default: the checkpoint's, else 1",
    "top_p": "0 to 1, 0: the most likely token; default: the checkpoint's, else 1",
    "frequency_penalty": "-2 to 2; default 0",
    "presence_penalty": "-2 to 2; default 0",
    "logit_bias": "up to 1,024 token ids that exist, each -100 to 100",
    "seed": "a 64-bit integer; as for chat",
    "stop": "up to 16 strings of 1 to 1,024 characters; the text ends before the first that it would contain",
    "n": "1 to the server's `--max-n` (16): so many answers to each prompt; answer `prompt * n + i` is one to that "
    "prompt",
    "stream": "server-sent events",
    "stream_options": "`include_usage`; only with `stream: true`; `include_obfuscation` may only be false",
}

# Extension that other open servers have too -> what it does here.
EXTENSIONS: dict[str, str] = {
    "add_special_tokens": "false: a string gets no token that the checkpoint's tokenizer puts before it (a beginning "
    "of sequence) or behind it; default true",
    "top_k": "only the k most likely tokens; 0 or -1: all; default: the checkpoint's, else all",
    "min_p": "0 to 1; only tokens at least this likely relative to the most likely; default: the checkpoint's, else 0",
    "repetition_penalty": "0.01 to 10; over prompt and answer; default: the checkpoint's, else 1",
    "min_tokens": "no end-of-sequence, stop token or stop string within that many tokens; default 0",
    "ignore_eos": "go on to `max_tokens` behind the model's end-of-sequence tokens",
    "stop_token_ids": "up to 64 more token ids that end the answer and are not part of it",
    "include_stop_str_in_output": "keep the stop string that ended the answer",
    "cache_salt": "up to 128 characters; only requests with the same salt share cached prefixes",
    "priority": "-1,000 to 1,000; lower goes first; default 0",
}

# Field of the specification -> why accepting it without effect breaks no promise.
HARMLESS: dict[str, str] = {
    "user": "a label for the provider's abuse detection; nothing is kept",
}

# Field of the specification -> why it is answered 400.
REFUSED: dict[str, Refused] = {
    "suffix": Refused("this server completes text at its end, not in its middle", ("",)),
    "best_of": Refused("ask for n answers and choose by their logprobs", (1,)),
}
