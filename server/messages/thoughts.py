"""Signatures of thinking blocks. Clients keep them and send them back; nothing is checked by them. Where thoughts are
not shown, the signature holds them, so that the model finds them again in the next turn."""

import base64
import binascii

from server.errors import InvalidRequest

SIGNATURE = "abruzzi"
_HIDDEN = SIGNATURE + ":"


def sign(thought: str, *, hidden: bool) -> str:
    """The signature of a block."""
    return _HIDDEN + base64.b64encode(thought.encode()).decode() if hidden else SIGNATURE


def reveal(thinking: str, signature: str, param: str) -> str:
    """The thought of a block that was sent back. Raises InvalidRequest if its signature was cut."""
    if thinking or not signature.startswith(_HIDDEN):
        return thinking
    try:
        return base64.b64decode(signature.removeprefix(_HIDDEN), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise InvalidRequest(f"{param} is not as this server wrote it.", param=param) from None
