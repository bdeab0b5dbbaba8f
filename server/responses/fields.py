"""Every field of a request for a response, in exactly one of three lists: honoured, harmless, refused.

The lists hold data only; `docs/responses.md` shows them, and tests hold them against OpenAI's specification, the
schema and the document. null always means absent.
"""

from server.wire import Refused

# Field of the specification -> what it does here.
HONOURED: dict[str, str] = {
    "model": "one of the names that `GET /v1/models` lists, or that `--model-alias` lets through",
    "input": "a string, or a list of messages (text only), function calls, their outputs, reasoning and references to "
    "stored items",
    "instructions": "a system message before everything else, of this response only",
    "previous_response_id": "a stored response, of which this one is the continuation; not with `conversation`",
    "conversation": "a conversation, by id or as `{id}`: its items come before the input, and it gets the input and "
    "the output once the response is complete",
    "store": "whether the response is kept; default: true, or false if the server stores nothing",
    "background": "true: answer at once, generate while nobody waits; needs `store`",
    "stream": "typed server-sent events",
    "stream_options": "`include_obfuscation` may only be false; only with `stream: true`",
    "max_output_tokens": "at least 1, thoughts included; default: the rest of the context",
    "temperature": "0 to 2; default: the checkpoint's, else 1",
    "top_p": "0 to 1, 0: the most likely token; default: the checkpoint's, else 1",
    "top_logprobs": "0 to 20 alternatives for each token; more than 0 needs `message.output_text.logprobs` in "
    "`include`",
    "include": "`message.output_text.logprobs` and `reasoning.encrypted_content`; the other values speak of items "
    "that no answer has here",
    "tools": "up to 512 functions; names are unique and have up to 64 letters, digits and characters of `-._:/`; "
    "calls are held to the schema, `strict` or not; other kinds of tools are refused",
    "tool_choice": '`"auto"`, `"none"`, `"required"`, a function, or `allowed_tools` of mode auto or required; '
    "default: auto",
    "parallel_tool_calls": "false: at most one call; default true: up to 64",
    "text": "`format`: `text`, `json_object` or `json_schema`, enforced whether `strict` or not; `verbosity` may only "
    "be medium",
    "reasoning": '`effort`: `"none"`: do not think, if the model can do without; `"medium"`: as it is used to; '
    "`summary`: `auto` or `detailed`: the thoughts themselves come as the summary",
    "metadata": "up to 16 labels, kept with the response",
}

# Extension that other open servers have too -> what it does here.
EXTENSIONS: dict[str, str] = {
    "seed": "a 64-bit integer, as in chat completions",
    "stop": "up to 4 strings of 1 to 1,024 characters; the text ends before the first that it would contain",
    "top_k": "only the k most likely tokens; 0 or -1: all; default: the checkpoint's, else all",
    "min_p": "0 to 1; only tokens at least this likely relative to the most likely; default: the checkpoint's, else 0",
    "frequency_penalty": "-2 to 2; default 0",
    "presence_penalty": "-2 to 2; default 0",
    "repetition_penalty": "0.01 to 10; over prompt and answer; default: the checkpoint's, else 1",
    "ignore_eos": "go on to `max_output_tokens` behind the model's end-of-sequence tokens",
    "chat_template_kwargs": "variables that the checkpoint's chat template uses; others are refused",
    "cache_salt": "up to 128 characters; only requests with the same salt share cached prefixes",
    "priority": "-1,000 to 1,000; lower goes first; default 0",
    "client_metadata": "labels that a coding agent sends about itself; nothing is kept",
}

# Field of the specification -> why accepting it without effect breaks no promise.
HARMLESS: dict[str, str] = {
    "user": "a label for the provider's abuse detection; it is given back",
    "safety_identifier": "a label for the provider's abuse detection; it is given back",
    "prompt_cache_key": "a routing hint; prefixes are found in the cache whatever the key; it is given back",
    "max_tool_calls": "bounds calls of tools that the provider runs; there are none; it is given back",
}

# Field of the specification -> why it is answered 400.
REFUSED: dict[str, Refused] = {
    "truncation": Refused("send fewer items where the context is too long", ("disabled",)),
    "prompt": Refused("there are no stored prompts; send instructions and input"),
    "moderation": Refused("there is no moderation model"),
    "context_management": Refused("contexts are not compacted here"),
    "service_tier": Refused("there is one tier", ("auto", "default")),
    "prompt_cache_retention": Refused("cached prefixes live as long as there is room", ("in_memory",)),
    "prompt_cache_options": Refused("cached prefixes live as long as there is room"),
}

# Of POST /v1/responses/input_tokens only.
COUNT_REFUSED: dict[str, Refused] = {
    "truncation": REFUSED["truncation"],
    "personality": Refused("there are no personalities; write instructions"),
}
