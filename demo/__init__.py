"""The demonstration model: what is served when no model is named. Importing this package does not import torch.

It is a small checkpoint of Kimi K2's architecture with random weights, made at the first start on each machine.
"""

from demo.default import DEFAULT_NAME, CheckpointNotMade, default_checkpoint, has_random_weights

__all__ = ["DEFAULT_NAME", "CheckpointNotMade", "default_checkpoint", "has_random_weights"]
