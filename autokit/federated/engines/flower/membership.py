"""Who may join: whoever knows the training's secret, which itself is never sent."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

LEAST_BYTES = 16
_PURPOSE = b"autokit federated join: "


def make_secret(path: Path) -> None:
    """Write a new secret, as text, that only this user may read.

    Raises
    ------
    FileExistsError
        There is such a file already.
    """
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")


def read_secret(path: str | os.PathLike) -> bytes:
    """The secret in a file; white space around it does not count.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or what it holds is too short to be secret.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"the secret {path} is not there; check the path.")
    secret = Path(path).read_bytes().strip()
    if len(secret) < LEAST_BYTES:
        raise ValueError(
            f"the secret {path} has {len(secret)} bytes, and can be guessed; give at least "
            f"{LEAST_BYTES}, such as `autokit federated certificate` makes."
        )
    return secret


def challenge() -> bytes:
    """What a node is asked, once."""
    return secrets.token_bytes(32)


def proof(secret: bytes, asked: bytes) -> bytes:
    """The answer to a challenge, of which the secret cannot be told (HMAC-SHA256)."""
    return hmac.digest(secret, _PURPOSE + asked, "sha256")


def is_proof(secret: bytes, asked: bytes, answer: bytes) -> bool:
    """Whether an answer is of one that knows the secret."""
    return hmac.compare_digest(proof(secret, asked), answer)
