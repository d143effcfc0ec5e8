"""Codes for subjects and files."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

__all__ = ["path_codes", "pseudonym", "renamed", "subject_key"]


def pseudonym(identifier: str, key: bytes, length: int = 12) -> str:
    """
    Return the code of an identifier: the same for the same key, and irreversible without it.

    A plain hash would not hide record numbers, since there are few enough to try them all.

    Args:
        identifier: identifier to hide, such as a PatientID.
        key: secret key, from :func:`subject_key`.
        length: number of hexadecimal digits, at most 64.

    Returns:
        the first digits of HMAC-SHA256.
    """
    return hmac.new(key, identifier.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()[:length]


def subject_key(file: Path) -> bytes:
    """
    Read the secret key in a file, or make a random key that only its owner may read.

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


def path_codes(folder: Path, files: Iterable[Path], key: bytes) -> dict[str, str]:
    """
    Return codes for the paths in a folder, since these may name a patient.

    Args:
        folder: the folder.
        files: its files, at any depth.
        key: secret key, from :func:`subject_key`.

    Returns:
        codes by paths, from the root and from the folder, of the files and of the folders that they lie in.
    """
    files = list(files)
    codes: dict[str, str] = {str(folder): "cohort"}
    for path in (*files, *{file.parent for file in files} - {folder}):
        name = path.relative_to(folder).as_posix()
        codes[str(path)] = codes[name] = f"source {pseudonym(name, key, 8)}"
    return codes


def renamed(message: str, names: Mapping[str, str]) -> str:
    """Return a message with names replaced by those in ``names``; if two of them fit, the longer one is replaced."""
    if not names:
        return message
    pattern = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    return re.sub(pattern, lambda match: names[match[0]], message)
