"""How the trained demonstration model is made: its data, its tokenizer, its first weights, its training and export.

Nothing here is needed to serve it. Importing this package does not import torch.
"""
