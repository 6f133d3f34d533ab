"""CRC-32C (Castagnoli), the checksum that Secret Manager keeps of every payload.

In Python, because a value is small: 0.1 ms for each KiB, 6 ms for the largest. The polynomial is
not that of zlib.
"""

from typing import Final

_POLYNOMIAL: Final = 0x82F63B78


def _row(value: int) -> int:
    for _ in range(8):
        value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
    return value


_TABLE: Final = tuple(_row(value) for value in range(256))


def crc32c(data: bytes) -> int:
    """The checksum of the bytes."""
    table = _TABLE
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF
