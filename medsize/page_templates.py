"""Templates of the pages that commands write."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from medsize.units import size_text

__all__ = ["page_templates"]


def page_templates(package: str) -> Environment:
    """
    Return the templates of a package; values are escaped, and a missing one is an error.

    The filter ``size`` is :func:`medsize.units.size_text`.

    Args:
        package: its name, such as ``medsize.fit``.
    """
    loader = PackageLoader(package, ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["size"] = size_text
    return environment
