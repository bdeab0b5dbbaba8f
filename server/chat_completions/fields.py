"""Every field of a chat-completions request, in exactly one of three lists: honoured, harmless, refused.

The lists hold data only; `docs/api.md` shows them, and tests hold them against OpenAI's specification, the schema
and the document. null always means absent.
"""

from server.wire import Refused

# Field of the specification -> what it does here.
HONOURED: dict[str, str] = {
    "messages": "text content (a string or text parts) of the roles system, developer, user, assistant, tool",
    "model": "one of the names that `GET /v1/models` lists",
    "max_tokens": "at least 1; default: the rest of the context",
    "max_completion_tokens": "the same as `max_tokens`; if both are given they must agree",
    "temperature": "0 to 2; default: the checkpoint's, else 1",
    "top_p": "0 to 1, 0: the most likely token; default: the checkpoint's, else 1",
    "frequency_penalty": "-2 to 2; default 0",
    "presence_penalty": "-2 to 2; default 0",
    "logit_bias": "up to 1,024 token ids that exist, each -100 to 100",
    "seed": "a 64-bit integer; the same seed gives the same answer whatever else is running, up to rounding "
    "(see below)",
    "stop": "up to 4 strings of 1 to 1,024 characters; the answer ends before the first that it would contain",
    "n": "1 to the server's `--max-n` (16)",
    "logprobs": "log-probabilities of the answer's tokens, under the model's own distribution",
    "top_logprobs": "0 to 20 alternatives for each token; needs `logprobs: true`",
    "tools": "up to 512 functions; names are unique and have up to 64 letters, digits and characters of `-._:/`; "
    "calls are held to the schema, `strict` or not; other kinds of tools are refused",
    "tool_choice": '`"auto"`, `"none"`, `"required"`, a named function, or `allowed_tools` of mode auto or required; '
    "default: auto if there are tools",
    "parallel_tool_calls": "false: at most one call; default true: up to 64",
    "response_format": "`text`, `json_object`, or `json_schema`, enforced whether `strict` or not",
    "reasoning_effort": '`"none"`: do not think, if the model can do without; `"medium"`: as it is used to; there are '
    "no other levels",
    "store": "true: the answer is kept for a while, with its messages and `metadata`, for its key only "
    "([storage.md](storage.md)); default false; refused by a server that runs with `--store none`",
    "metadata": "up to 16 labels of a stored answer: keys of up to 64 characters, values of up to 512; without "
    "`store: true` they change nothing",
    "stream": "server-sent events",
    "stream_options": "`include_usage`; only with `stream: true`; `include_obfuscation` may only be false",
}

# Extension that other open servers have too -> what it does here.
EXTENSIONS: dict[str, str] = {
    "thinking": '`{"type": "enabled"}` or `{"type": "disabled"}`, as Moonshot\'s API has it',
    "structured_outputs": "one of `json` (a schema), `regex`, `choice`, `grammar` (Lark), `json_object`: the answer "
    "matches it, as in vLLM",
    "guided_json": "the same as `structured_outputs.json`; a schema or its text",
    "guided_regex": "the same as `structured_outputs.regex`",
    "guided_choice": "the same as `structured_outputs.choice`",
    "guided_grammar": "the same as `structured_outputs.grammar`",
    "top_k": "only the k most likely tokens; 0 or -1: all; default: the checkpoint's, else all",
    "min_p": "0 to 1; only tokens at least this likely relative to the most likely; default: the checkpoint's, else 0",
    "repetition_penalty": "0.01 to 10; over prompt and answer; default: the checkpoint's, else 1",
    "min_tokens": "no end-of-sequence, stop token or stop string within that many tokens; default 0",
    "ignore_eos": "go on to `max_tokens` behind the model's end-of-sequence tokens",
    "stop_token_ids": "up to 64 more token ids that end the answer and are not part of it",
    "include_stop_str_in_output": "keep the stop string that ended the answer",
    "chat_template_kwargs": 'variables that the checkpoint\'s chat template uses, such as `{"thinking": false}`; '
    "others are refused; `thinking` and `enable_thinking` are true or false, and agree with the fields that say the "
    "same",
    "add_generation_prompt": "false: do not open an assistant turn; default true",
    "cache_salt": "up to 128 characters; only requests with the same salt share cached prefixes",
    "priority": "-1,000 to 1,000; lower goes first; default 0",
}

# Field of the specification -> why accepting it without effect breaks no promise.
HARMLESS: dict[str, str] = {
    "user": "a label for the provider's abuse detection; nothing is kept",
    "safety_identifier": "a label for the provider's abuse detection; nothing is kept",
    "prompt_cache_key": "a routing hint; prefixes are found in the cache whatever the key (to keep them apart: "
    "`cache_salt`)",
}

# Field of the specification -> why it is answered 400.
REFUSED: dict[str, Refused] = {
    "functions": Refused("deprecated by OpenAI; use `tools`"),
    "function_call": Refused("deprecated by OpenAI; use `tool_choice`", ("none",)),
    "verbosity": Refused("say in a message how long the answer is to be", ("medium",)),
    "modalities": Refused("answers are text", (["text"],)),
    "audio": Refused("answers are text"),
    "prediction": Refused("predicted outputs are not available"),
    "web_search_options": Refused("there is no web search"),
    "moderation": Refused("there is no moderation model"),
    "service_tier": Refused("there is one tier", ("auto", "default")),
    "prompt_cache_retention": Refused("cached prefixes live as long as there is room", ("in_memory",)),
    "prompt_cache_options": Refused("cached prefixes live as long as there is room"),
}
