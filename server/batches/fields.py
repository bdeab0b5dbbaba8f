"""Every field of a request to /v1/batches and of a line of its file. The lists hold data only; docs/batches.md shows
them."""

# Field of the specification -> what it does here.
HONOURED: dict[str, str] = {
    "input_file_id": "a file of the purpose `batch`; it may be deleted while the batch runs",
    "endpoint": "one of the endpoints below; every line's `url` is the same",
    "completion_window": "`24h`: what is not done by then is not done",
    "metadata": "up to 16 pairs; keys of up to 64 characters, values of up to 512",
    "output_expires_after": "`anchor` is `created_at`, `seconds` 3,600 to 2,592,000: how long the output and error "
    "files live; default: the server's `--store-days` (30)",
}
# Member of a line -> what it is.
LINE: dict[str, str] = {
    "custom_id": "1 to 512 characters, once in a file: finds the line's answer",
    "method": "`POST`",
    "url": "the batch's `endpoint`",
    "body": "the request, as the endpoint takes it; `stream: true` and `background: true` are refused",
}
# Path, with {model} where a model's name stands in it. Those that a server has can be a batch's endpoint.
ENDPOINTS = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1beta/models/{model}:generateContent",
)
MAX_LINES = 50_000
MAX_CUSTOM_ID = 512
