"""Block sizes that bound the kernels' workspaces. The memory plan reads them too, so nothing here imports torch."""

# Prefill attention works on this many queries and keys at a time.
PREFILL_QUERY_BLOCK = 256
PREFILL_KEY_BLOCK = 256
