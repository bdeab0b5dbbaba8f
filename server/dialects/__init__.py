"""One file a model family: how its prompts are written and its output is read."""
