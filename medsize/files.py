"""Files that are written whole or not at all, and again when their sources have changed; and locks of folders."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

__all__ = ["OutputError", "alone_in", "atomic_write", "bare_name", "encodable", "is_newer", "keep_inputs", "locked"]

LOCK = ".lock"
"""Name of the lock's file in a folder that one process writes to."""


class OutputError(OSError):
    """
    Error of an output that cannot be written: no other one will be, either.

    Args:
        path: the output.
        reason: reason why.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: it cannot be written: {reason}. Is the disk full, and may you write there?")


@contextmanager
def atomic_write(path: Path, many_writers: bool = False) -> Iterator[Path]:
    """
    Write a file under a temporary name beside it, and rename it when it is complete.

    Args:
        path: the file; its folder is created if missing.
        many_writers: let several processes write it at once, each under its own temporary name. The partial file of a
            killed process then stays. Defaults to False.

    Yields:
        the temporary name, with the same ending.

    Raises:
        OutputError: naming the file, when it cannot be written. Then nothing is left of it.
    """
    partial = path.with_name(f".partial_{uuid4().hex if many_writers else ''}{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
    except BaseException as e:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(e, OSError) and not isinstance(e, OutputError):
            raise OutputError(path, e.strerror or str(e)) from e
        if isinstance(e, RuntimeError) and "inline_container" in str(e):  # torch's file writer
            raise OutputError(path, str(e).partition("] ")[2] or str(e)) from e
        raise


def keep_inputs(output: Path, inputs: Iterable[Path]) -> None:
    """
    Refuse to write a file over one that was read.

    Args:
        output: file to write.
        inputs: files that are read; they may be missing.

    Raises:
        ValueError: when it is one of them.
    """
    if output.exists() and any(file.exists() and file.samefile(output) for file in inputs):
        raise ValueError(
            f"{output}: found an input as the output, expected another file. It would be lost: name a new one."
        )


def bare_name(image: str | Path) -> str:
    """Return the name of an image file without its folder and the ending of NIfTI."""
    return Path(image).name.removesuffix(".gz").removesuffix(".nii")


def is_newer(file: Path, source: Path) -> bool:
    """Return whether a file exists, and was written after its source."""
    return file.is_file() and file.stat().st_mtime_ns >= source.stat().st_mtime_ns


@contextmanager
def encodable(path: Path) -> Iterator[Path]:
    """
    Yield a path to the same file whose name is UTF-8, for libraries that take no other.

    Names of old file systems may have other bytes. A link to the file's folder then stands for it; a file whose own
    name is not UTF-8 has a link of its own.
    """
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with tempfile.TemporaryDirectory() as folder:
            link = Path(folder, "folder")
            link.symlink_to(path.parent.absolute(), target_is_directory=True)
            try:
                path.name.encode()
            except UnicodeEncodeError:
                link = Path(folder, f"file{''.join(path.suffixes[-2:])}")
                link.symlink_to(path.absolute())
                yield link
            else:
                yield link / path.name
    else:
        yield path


@contextmanager
def locked(folder: Path, name: str, waits: Callable[[], None] = lambda: None) -> Iterator[int]:
    """
    Wait for the lock ``name`` in a folder, and hold it; the system releases it when the process dies.

    Args:
        folder: the folder, created if missing.
        name: name of the lock's file.
        waits: function that is called if another process holds it.

    Yields:
        the descriptor of the lock's file: a program that inherits it holds the lock, too, until it ends.
    """
    import fcntl

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waits()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """
    Hold a folder that is written to; a new one in which nothing was written is removed.

    Args:
        folder: the folder, created if missing.

    Raises:
        ValueError: when another process holds it.
    """

    def refuse() -> None:
        raise ValueError(f"{folder}: another process writes to it. Wait for its end, or name another folder.")

    is_new = not folder.exists()
    with locked(folder, LOCK, refuse):
        try:
            yield
        finally:
            (folder / LOCK).unlink(missing_ok=True)
            if is_new:
                with suppress(OSError):  # it holds something
                    folder.rmdir()
