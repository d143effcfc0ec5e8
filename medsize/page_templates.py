"""Templates of the pages that commands write."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["page_templates"]


def page_templates(package: str) -> Environment:
    """
    Return the templates of a package; values are escaped, and a missing one is an error.

    Args:
        package: its name, such as ``medsize.fit``.
    """
    return Environment(loader=PackageLoader(package, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True)
