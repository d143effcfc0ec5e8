"""Settings that a config leaves to the proposal for the cohort."""

from __future__ import annotations

import json
from typing import Any

from monai.bundle import ConfigParser, ReferenceResolver

__all__ = ["proposed_settings", "refers_to"]

PROPOSAL = "proposal"
"""Key of the :class:`medsize.data.Proposal` in a bundle's train.yaml."""
TRAINING_ITEMS = "training_items"
"""Key of the scans to train on."""


def proposed_settings(parser: ConfigParser) -> list[str]:
    """
    Return a line for each setting that is proposed, not given, and used: its key, its value, and the reason.

    Args:
        parser: a bundle's config, with overlays and overrides.
    """
    references = {key: _references(value, key) for key, value in parser.config.items()}
    used = set().union(*references.values())
    asking = [key for key, found in references.items() if PROPOSAL in found and key in used]
    # What also depends on the training scans is no proposal, and an evaluation may have none.
    asking = [key for key in asking if not refers_to(parser, key, TRAINING_ITEMS)]
    values = {key: parser.get_parsed_content(key) for key in asking}
    if not values:
        return []
    reasons = parser.get_parsed_content(PROPOSAL).reasons
    lines = [f"  {key}: {json.dumps(values[key])}  # {reasons[key]}" for key in asking if key in reasons]
    return ["proposed for this cohort; set a key to change it:", *lines] if lines else []


def refers_to(parser: ConfigParser, id: str, key: str) -> bool:
    """
    Return whether a part of a config depends on a top-level key, by any number of references.

    Args:
        parser: the config.
        id: id of the part.
        key: the key.
    """
    waiting, seen = [id], set()
    while waiting:
        current = waiting.pop()
        if current == key:
            return True
        if current not in seen and current in parser:
            seen.add(current)
            waiting += _references(parser[current], current)
    return False


def _references(value: Any, id: str) -> set[str]:
    """Return the ids that a part of a config refers to; its own parts are left out."""
    found = ReferenceResolver.find_refs_in_config(value, id)
    return {other for other in found if not other.startswith(f"{id}{ReferenceResolver.sep}")}
