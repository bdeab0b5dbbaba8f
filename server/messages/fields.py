"""Every field of a messages request, in exactly one of three lists: honoured, harmless, refused. count_tokens takes
those of them that are about the prompt.

The lists hold data only; `docs/messages.md` shows them, and tests hold them against the types of Anthropic's SDK, the
schema and the document. null always means absent.
"""

from server.wire import Refused

# Field of the API -> what it does here.
HONOURED: dict[str, str] = {
    "model": "one of the names that `GET /v1/models` lists, or that `--model-alias` lets through; the answer bears it",
    "messages": "turns of the roles user, assistant and system; the last is not the assistant's",
    "max_tokens": "at least 1; what the context has no room for is not generated "
    "(`stop_reason`: `model_context_window_exceeded`)",
    "system": "a string or text blocks",
    "tools": "up to 512 tools with an `input_schema`; calls are held to it, `strict` or not; tools that Anthropic "
    "defines or runs are refused by name",
    "tool_choice": "`auto`, `any`, `tool` or `none`, with `disable_parallel_tool_use`; default: auto if there are "
    "tools",
    "thinking": "`disabled`, `adaptive` or `enabled`, with `display`; default: the model does not think if it can do "
    "without",
    "stop_sequences": "up to 64 strings of 1 to 1,024 characters; the answer ends before the first that it would "
    "contain",
    "stream": "server-sent events",
    "output_config": "`format`: a JSON schema that the text of the answer matches; `effort` is a hint that no model "
    "here has a use for",
    "diagnostics": "always answered `unavailable`: nothing is kept to compare with",
}

# Field of earlier versions of the API -> what it does here.
EXTENSIONS: dict[str, str] = {
    "temperature": "0 to 1; default: the checkpoint's, else 1",
    "top_p": "0 to 1, 0: the most likely token; default: the checkpoint's, else 1",
    "top_k": "only the k most likely tokens; 0: all; default: the checkpoint's, else all",
    "output_format": "the same as `output_config.format`",
}

# Field of the API -> why accepting it without effect breaks no promise.
HARMLESS: dict[str, str] = {
    "metadata": "a label for the provider's abuse detection; nothing is kept",
    "cache_control": "prefixes are found in the cache wherever prompts begin alike; here, and in every block and tool",
    "fallbacks": "what to ask if the model declines; models here do not decline",
}

# Field of the API -> why it is answered 400.
REFUSED: dict[str, Refused] = {
    "billing_policy": Refused("nobody is billed"),
    "compaction": Refused("conversations are not summarized here"),
    "container": Refused("there are no containers"),
    "context_management": Refused(
        "conversations are not edited here",
        ({}, {"edits": []}, {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}),
    ),
    "fallback_credit_token": Refused("there is no credit"),
    "inference_geo": Refused("the server is where it is", ("global",)),
    "mcp_servers": Refused("MCP servers are not called from here; declare their tools", ([],)),
    "service_tier": Refused("there is one tier", ("auto", "standard_only")),
    "speed": Refused("there is one speed", ("standard",)),
    "thread": Refused("conversations are not kept here"),
}
