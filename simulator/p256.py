"""ECDSA over P-256 with SHA-256 (FIPS 186-5), as SendGrid signs its events: the standard library has no elliptic
curves. Keys come from a name and nonces from key and message, so that a run repeats itself: fit for a stand-in only."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass

PRIME = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
BASE = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)
# SubjectPublicKeyInfo of an uncompressed P-256 point, up to the point (RFC 5480).
SPKI_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\x04"
Point = tuple[int, int] | None


@dataclass(frozen=True)
class Signer:
    """A key pair."""

    private: int

    @classmethod
    def named(cls, name: str) -> Signer:
        return cls(_number(name.encode()))

    def public_key(self) -> str:
        """Base64 of the DER of the public key, as SendGrid shows it."""
        point = _times(self.private, BASE)
        if point is None:
            raise ValueError("no key")
        return base64.b64encode(SPKI_PREFIX + b"".join(part.to_bytes(32, "big") for part in point)).decode()

    def sign(self, data: bytes) -> str:
        """Base64 of the DER of (r, s)."""
        digest = int.from_bytes(hashlib.sha256(data).digest(), "big")
        nonce = _number(self.private.to_bytes(32, "big") + data)
        point = _times(nonce, BASE)
        if point is None:
            raise ValueError("no nonce")
        first = point[0] % ORDER
        second = pow(nonce, -1, ORDER) * (digest + first * self.private) % ORDER
        numbers = _integer(first) + _integer(second)
        return base64.b64encode(bytes([0x30, len(numbers)]) + numbers).decode()


def _number(seed: bytes) -> int:
    return int.from_bytes(hashlib.sha256(seed).digest(), "big") % (ORDER - 1) + 1


def _integer(value: int) -> bytes:
    """DER: a leading zero keeps it positive."""
    packed = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([0x02, len(packed)]) + packed


def _times(factor: int, point: Point) -> Point:
    found: Point = None
    while factor:
        if factor & 1:
            found = _plus(found, point)
        point = _plus(point, point)
        factor >>= 1
    return found


def _plus(one: Point, two: Point) -> Point:
    if one is None or two is None:
        return one or two
    if one[0] == two[0] and (one[1] + two[1]) % PRIME == 0:
        return None
    if one == two:
        slope = (3 * one[0] * one[0] - 3) * pow(2 * one[1], -1, PRIME)
    else:
        slope = (two[1] - one[1]) * pow(two[0] - one[0], -1, PRIME)
    across = (slope * slope - one[0] - two[0]) % PRIME
    return across, (slope * (one[0] - across) - one[1]) % PRIME
