"""Errors of pydantic models, as messages: what was found, and what was expected."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from medsize.suggest import closest_or_all

__all__ = ["found_and_expected"]

EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "True or False",
    "string": "a text",
    "path": "a path",
    "list": "a list",
    "tuple": "a list",
    "dict": "keys with values",
    "model": "keys with values",
}
"""Words for types, by the beginning of pydantic's names of errors."""
BOUNDS = {
    "ge": "{:g} or more",
    "gt": "more than {:g}",
    "le": "{:g} or less",
    "lt": "less than {:g}",
    "min_length": "{} or more entries",
    "max_length": "{} or fewer entries",
}


def found_and_expected(error: Any, where: str | None = None, known: Iterable[str] = ()) -> str:
    """
    Return an error of a model as a sentence, such as ``seed is 'one', expected a whole number.``

    Args:
        error: one of the ``errors()`` of a ``pydantic.ValidationError``.
        where: name of the faulty value. Default: its keys, with points between them.
        known: keys that there are, to suggest one in place of an unknown key.
    """
    is_whole = where is None and not error["loc"]
    where = ".".join(map(str, error["loc"])) if where is None else where
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        known = list(known)
        hint = closest_or_all(where.rpartition(".")[-1], known) if known else " Delete it."
        return f"there is no key '{where}'.{hint}"
    if kind == "missing":
        return f"found no key '{where}'. Add it."
    if kind == "json_invalid":
        return f"it is not JSON: {context['error']}."
    shown = f"'{found}'" if isinstance(found, str) else repr(found)  # as it was entered, backslashes too
    value = f"found {shown:.80}" if is_whole else f"{where} is {shown:.80}".lstrip()
    if kind == "value_error":  # of one of the project's own checks, which says all
        about = where if isinstance(found, dict | BaseModel) else value
        return f"{about}: {context['error']}".removeprefix(": ").removesuffix(".") + "."
    bounds = [words.format(context[key]) for key, words in BOUNDS.items() if key in context]
    message = error["msg"].removeprefix("Input should be ")
    expected = bounds[0] if bounds else EXPECTED.get(kind.partition("_")[0], f"{message[0].lower()}{message[1:]}")
    return f"{value}, expected {expected}."
