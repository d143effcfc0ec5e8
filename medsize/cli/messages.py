"""Messages of the commands, and errors as messages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from medsize.errors import ProblemsError
from medsize.files import OutputError

__all__ = ["echo", "refusals"]

EXTRAS = {"pydicom": "dicom", "highdicom": "dicom"}
"""Packages that some scans need, and the extra that installs them."""


@contextmanager
def refusals(last_line: str | None = None) -> Iterator[None]:
    """
    Turn an error into a message without a traceback, and the failure of a subprocess into its exit code.

    Args:
        last_line: last line after a list of problems. Default: report the list as an error of the arguments.
    """
    try:
        yield
    except (ValueError, ConnectionError) as e:
        if last_line is not None and isinstance(e, ProblemsError):
            raise SystemExit(f"{e}\n{last_line}") from e
        raise typer.BadParameter(str(e)) from e
    except OutputError as e:
        raise typer.BadParameter(str(e)) from e
    except OSError as e:
        if e.filename is None:
            raise
        raise typer.BadParameter(f"{e.filename}: {e.strerror}. Is it the right path, and may you write there?") from e
    except ModuleNotFoundError as e:
        if e.name not in EXTRAS:
            raise
        raise SystemExit(f"{e.name} is missing: pip install 'medsize[{EXTRAS[e.name]}]'") from e
    except subprocess.CalledProcessError as e:  # its program has said why
        raise typer.Exit(e.returncode) from e


def echo(message: str, err: bool = False) -> None:
    """Print a message; bytes of names of files that are no text are shown as codes."""
    typer.echo(message.encode(errors="backslashreplace").decode(), err=err)
