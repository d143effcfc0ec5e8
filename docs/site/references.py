"""An extension of griffe, which reads the docstrings for mkdocstrings: Sphinx's roles become links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|mod|meth|data|attr|exc|obj):`(~?)([\w.]+)`")


class SphinxRoles(griffe.Extension):
    """Write each role as a link, which stays plain code where the reference has no entry of that name."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:
        for owner in documented(pkg):
            assert owner.docstring is not None
            owner.docstring.value = ROLE.sub(partial(link, owner=owner), owner.docstring.value)


def documented(owner: griffe.Object) -> Iterator[griffe.Object]:
    """Yield an object and all within it that have a docstring."""
    if owner.docstring:
        yield owner
    for member in owner.members.values():
        if isinstance(member, griffe.Object):
            yield from documented(member)


def link(role: re.Match[str], owner: griffe.Object) -> str:
    """Return a role of an object's docstring as a link to what it names there."""
    short, name = role.groups()
    try:
        target = name if name.startswith("medsize.") else owner.resolve(name)
    except griffe.NameResolutionError:
        target = name
    shown = name.rpartition(".")[2] if short else name
    return f'<autoref identifier="{target}" optional><code>{shown}</code></autoref>'
