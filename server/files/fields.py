"""Every field of an upload. The lists hold data only; docs/batches.md shows them."""

# Field of the specification -> what it does here.
HONOURED: dict[str, str] = {
    "file": "the contents, up to the server's `--max-file-bytes` (100MiB)",
    "purpose": "`batch`; the others of OpenAI's are refused",
    "expires_after": "`expires_after[anchor]` is `created_at`, `expires_after[seconds]` 3,600 to 2,592,000; default: "
    "the server's `--store-days` (30)",
}
PURPOSES: dict[str, str] = {
    "batch": "requests for `/v1/batches`",
    "batch_output": "what a batch made; only the server makes such files",
}
# Purpose -> why it is answered 400.
REFUSED_PURPOSES: dict[str, str] = {
    "assistants": "there is no assistants API",
    "evals": "there is no evals API",
    "fine-tune": "models are not trained here",
    "user_data": "requests take text, not files",
    "vision": "requests take text, not images",
    "batch_output": "only a batch makes such files",
}
EXPIRY = range(3600, 2_592_001)  # seconds that may be asked for


def purpose_text() -> str:
    return " or ".join(f"'{name}'" for name in PURPOSES if name not in REFUSED_PURPOSES)
