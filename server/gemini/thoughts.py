"""Signatures of thoughts. Clients send them back with the calls that they came with; they hold the thought, so that the
model finds it again whether the client saw it or not."""

import base64
import binascii

_MARK = b"abruzzi:"


def sign(thought: str) -> str:
    """The signature of the part behind a thought."""
    return base64.b64encode(_MARK + thought.encode()).decode()


def reveal(signature: str) -> str | None:
    """The thought in a signature; None if it is another server's."""
    try:
        data = base64.b64decode(signature.replace("-", "+").replace("_", "/") + "=" * (-len(signature) % 4))
        return data.removeprefix(_MARK).decode() if data.startswith(_MARK) else None
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
