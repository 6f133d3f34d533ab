"""What goes over the pipe: JSON behind its length. Nothing else is ever decoded, on either side.

Bytes that are not UTF-8 travel as surrogates, which JSON's escapes keep.
"""

import json
import struct
from typing import Any, Final

#: Bytes of a frame. A request may hold what was read for one Secret, and its templates.
MAX_FRAME: Final = 64 * 1024 * 1024

HEADER: Final = struct.Struct(">I")

#: What of a process's time and memory a rendering may take.
CPU_SECONDS: Final = 1.0
MEMORY_BYTES: Final = 64 * 1024 * 1024


def encode(message: Any) -> bytes:
    """The frame of a message."""
    body = json.dumps(message, separators=(",", ":")).encode("ascii")
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> Any:
    """The message of a frame's body. Raises ValueError."""
    return json.loads(body)
