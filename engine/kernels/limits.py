"""Sizes that bound the kernels' workspaces. The memory plan reads them too, so nothing here imports torch."""

# Prefill attention works on this many queries and keys at a time.
PREFILL_QUERY_BLOCK = 256
PREFILL_KEY_BLOCK = 256
# The Triton backend, which expands as many latents at a time: 84 MB for Kimi K2's heads in bf16.
PREFILL_KEY_BLOCK_TRITON = 2048
# What FlashInfer is given for the parts of contexts that it merges, as its documentation advises.
FLASHINFER_WORKSPACE = 128 << 20
# Packed matrices are unpacked this many values at a time.
UNPACKED_VALUES = 1 << 20
# What unpacking takes at its widest, for each value: int32 and fp32 copies beside the result.
UNPACKING_BYTES = 28
