"""Text to token ids and back: tokenizers, the incremental detokenizer, stop strings, chat templates."""
