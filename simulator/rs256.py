"""Google's signature on Pub/Sub pushes: OIDC tokens signed with RS256 by one fixed test key, and the key set to check
them with. The standard library has no RSA; PKCS#1 v1.5 (RFC 8017, 8.2.1) over `pow` is enough for a stand-in."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from simulator.mime import encode_base64url

KEY_ID = "simulator-key-1"
EXPONENT = 65537
MODULUS = int(
    "b0571c4478c38a2d55f43ec02a52ba82e1390c22f58c7d50c75094a03af52c8bc65d5c8f488bb25588fbd29564d6d3e3e13e"
    "e08e46a4a167b456a8f12563722b0cb60c2bdbc294bd4b20d3c851dc36d880a9cd7f2c7e8fb76d4d4815756222974f61b23e"
    "ca6768e2d35c4903ad299337345f8ffdf0f6bb35b4963459c46de4dfbe460eb882f24742e2a775ff1cff088ca92ecd41e39c"
    "3842da7d1d138225d18642d566e5ea551d0277253b45e4c71999282ccb70d3d9a9cb2d0515dd2190edc5575ebd5371ab2183"
    "1d7077616dd63ce42a2d769547d604e8ad88bb7d7c84b042fbac45da4a0999d3f4c5ae45553932d4ed36d3f390c31b8336c3"
    "afb4833869b9",
    16,
)
PRIVATE = int(
    "561246d16312aa9cc35222d8e02f9e2ae8ecd3f032635efd7133f33f9c5774654b2ee1d16c2b07a239691519e76cf662c9dc"
    "4b7616a41fc6431f7379b4f2abd4b8711952c502de5fe0ce46a105d7d38b6c8db528a85aa422777edbbae19f435c109a928a"
    "9477d219b8e9d817abcb59b87ddf5124b59b70b85f8b5b451f9c3634720410642f4903574c68c46dc57b056326f00ae9e621"
    "cef1446ebdd3736605541103574323a3c453959160dab49c8a9e6172fadbf0a009fd0caf2b8da8b553d2146b09ffa08ce2a7"
    "7c678b9b89e4b0facb9c187da93d27750fb9e4a8f047ea347ed75920b8feab5cace9597a394fd34fa66031fdbd52f42c5a90"
    "4f058276a78b",
    16,
)
SIZE = 256
# DigestInfo of SHA-256 (RFC 8017, 9.2, note 1).
SHA256_PREFIX = bytes.fromhex("3031300d060960864801650304020105000420")


def sign(data: bytes) -> bytes:
    digest = SHA256_PREFIX + hashlib.sha256(data).digest()
    padded = b"\x00\x01" + b"\xff" * (SIZE - len(digest) - 3) + b"\x00" + digest
    return pow(int.from_bytes(padded, "big"), PRIVATE, MODULUS).to_bytes(SIZE, "big")


def token(claims: dict[str, Any]) -> str:
    """A JSON web token with these claims."""
    header = {"alg": "RS256", "kid": KEY_ID, "typ": "JWT"}
    parts = [encode_base64url(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims)]
    signed = ".".join(parts)
    return f"{signed}.{encode_base64url(sign(signed.encode()))}"


def key_set() -> dict[str, Any]:
    """What https://www.googleapis.com/oauth2/v3/certs answers (RFC 7517)."""
    numbers = {"n": MODULUS.to_bytes(SIZE, "big"), "e": EXPONENT.to_bytes(3, "big")}
    key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": KEY_ID}
    return {"keys": [key | {name: encode_base64url(value) for name, value in numbers.items()}]}
