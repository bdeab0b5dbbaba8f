"""Commands that talk to a running server as any client does: chat and bench. They know no engine and no model."""
