"""The kernels in Triton, for NVIDIA GPUs. Nothing here is imported where Triton is not installed."""
