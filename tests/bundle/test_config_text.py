"""Configs keep their comments when values are replaced."""

from __future__ import annotations

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from medsize.bundle.config_text import blocks, merged, overlaid
from tests.conftest import BUNDLE_2D


def test_what_is_not_replaced_keeps_its_comments() -> None:
    config = "a: 1  # one\nb:\n- x  # of b\n- y\n\n# about c\nc:\n  d: {e: 1}\n  f: >-\n    $@a\nlast: [1, 2]\n"
    assert merged(config, {"a": 2}) == config.replace("a: 1  #", "a: 2  #")
    assert merged(config, {"b": ["z"]}) == config.replace("b:\n- x  # of b\n- y\n", "b: [z]\n")
    assert merged(config, {"c": {"g": [1]}}) == config.replace("  d: {e: 1}\n  f: >-\n    $@a\n", "  g: [1]\n")


def test_an_overlay_replaces_keys_with_its_own_comments_and_adds_new_ones_at_the_end() -> None:
    config, overlay = "a: 1  # one\nb:\n- x\nc: 3\n", "# an overlay\nb: [y]  # of the overlay\nd: {e: 4}\n"
    assert overlaid(config, overlay) == "a: 1  # one\nb: [y]  # of the overlay\nc: 3\n\nd: {e: 4}\n"


STRINGS = st.text("ab: #-[]{}$@'\"ü", max_size=8)


@settings(max_examples=50)
@given(
    st.dictionaries(
        st.sampled_from(["spacing", "roi_size", "seed", "network_def", "check"]),
        st.one_of(
            st.text(st.characters(exclude_categories=["C", "Z"])),
            st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6),
            st.lists(STRINGS, max_size=3),
            st.dictionaries(st.text("abc", min_size=1), STRINGS, min_size=1, max_size=3),
        ),
    )
)
def test_merging_replaces_the_values_and_nothing_else(values: dict) -> None:
    config = (BUNDLE_2D / "configs" / "train.yaml").read_text()
    assert yaml.safe_load(merged(config, values)) == yaml.safe_load(config) | values


def test_a_block_reaches_to_the_next_key() -> None:
    config = "# first\na: {b: 1,  # one\n  c: 2}\nd:\n- e\n\n# last\nf: '#'\n"
    assert blocks(config) == {"a": "a: {b: 1,  # one\n  c: 2}\n", "d": "d:\n- e\n", "f": "f: '#'\n"}
