"""The demonstration model: what is served when no model is named. Importing this package does not import torch.

It is a small checkpoint of Kimi K2's architecture, trained by demo.train; demo/README.md says what it can do.
"""

from demo.default import DEFAULT_NAME, default_checkpoint, has_random_weights

__all__ = ["DEFAULT_NAME", "default_checkpoint", "has_random_weights"]
