"""What is done to single values and single keys on their way into the Secret. Pure.

Errors are without the entry they are about, which the caller adds, and quote no value.
"""

import base64
import binascii
import re
from typing import Final

from syncret.api.data import Conversion, Decoding, Handling
from syncret.errors import DecodingFailed, NullByte

_UNUSABLE: Final = re.compile(r"[^-._a-zA-Z0-9]")

#: Line breaks are no part of Base64: "base64" wraps its output, and Go's decoder skips them.
_LINE_BREAKS: Final = bytes.maketrans(b"", b""), b"\r\n"


def handle(value: bytes, handling: Handling) -> bytes:
    """The value decoded, and refused if it holds what the policy refuses.

    Raises DecodingFailed or NullByte.
    """
    decoded = decode(value, handling.decoding)
    if handling.refuse_null_bytes and b"\0" in decoded:
        raise NullByte("holds a null byte, which nullBytePolicy Fail refuses")
    return decoded


def decode(value: bytes, decoding: Decoding) -> bytes:
    """Raises DecodingFailed.

    Auto decodes what is Base64 or Base64URL with its padding, and leaves anything else as it is.
    """
    match decoding:
        case "None":
            return value
        case "Auto":
            for padded in (_standard, _url_safe):
                found = padded(value)
                if found is not None:
                    return found
            return value
        case "Base64":
            found = _standard(value)
        case "Base64URL":  # usually written without padding, as in JSON web tokens
            text = value.translate(*_LINE_BREAKS)
            found = _url_safe(text if b"=" in text else text + b"=" * (-len(text) % 4))
    if found is None:
        raise DecodingFailed(f"is not {decoding}")
    return found


def usable_key(key: str, conversion: Conversion) -> str:
    """The key with each character that a Secret's key cannot have replaced.

    Default: by an underscore. Unicode: by the number of the character, as ``_U002f_``.
    """
    if conversion == "Unicode":
        return _UNUSABLE.sub(lambda match: f"_U{ord(match[0]):04x}_", key)
    return _UNUSABLE.sub("_", key)


def _standard(value: bytes) -> bytes | None:
    try:
        return base64.b64decode(value.translate(*_LINE_BREAKS), validate=True)
    except binascii.Error:
        return None


def _url_safe(value: bytes) -> bytes | None:
    text = value.translate(*_LINE_BREAKS)
    if b"+" in text or b"/" in text:
        return None
    return _standard(text.translate(bytes.maketrans(b"-_", b"+/")))
