"""Pictures within a page, so that it opens offline."""

from __future__ import annotations

import base64

__all__ = ["data_url"]


def data_url(content: bytes, kind: str) -> str:
    """
    What an ``img`` takes in place of a file's address.

    Args:
        content: of the file.
        kind: its media type, such as ``image/png``.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
