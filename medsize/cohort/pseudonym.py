"""Names for subjects that do not tell who they are."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from pathlib import Path

__all__ = ["pseudonym", "subject_key"]


def pseudonym(identifier: str, key: bytes, length: int = 12) -> str:
    """
    A name for an identifier: the same for the same key, and not to be reversed without it.

    Record numbers are few enough to try them all, so a plain hash would not hide them.

    Args:
        identifier: what is not to be told, such as a PatientID.
        key: a secret, from :func:`subject_key`.
        length: hexadecimal digits, at most 64.

    Returns:
        the first digits of HMAC-SHA256.
    """
    return hmac.new(key, identifier.encode(), hashlib.sha256).hexdigest()[:length]


def subject_key(file: Path) -> bytes:
    """
    The secret key in a file. Where there is none, a random key is made that only its owner may read.

    Raises:
        ValueError: when the file holds less than 16 bytes.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(secrets.token_hex(32) + "\n")
    key = file.read_bytes().strip()
    if len(key) < 16:
        raise ValueError(
            f"{file}: the key has {len(key)} bytes, expected at least 16. Remove the file to have a new one made."
        )
    return key
