"""Check of a config with overlays and overrides, before any of it is evaluated."""

from __future__ import annotations

import inspect
import pydoc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser, ConfigWorkflow, ReferenceResolver
from monai.bundle.properties import InferProperties, TrainProperties
from monai.utils import BundlePropertyConfig

from medsize.bundle.run.folder import SUMMARY
from medsize.suggest import did_you_mean

__all__ = ["config_items", "config_problems", "defined_ids"]

MONAI_KEYS = {"imports", "initialize", "run", "finalize", "save_execute_config"}
PROPERTIES = {entry[BundlePropertyConfig.ID] for entry in (*TrainProperties.values(), *InferProperties.values())}
"""Ids that MONAI's applications look up in a bundle."""
NO_CONFIGS = ("metadata.json", SUMMARY)


def config_problems(workflow: ConfigWorkflow) -> list[str]:
    """
    Find names in a workflow's config that lead nowhere.

    These are misspelled keys, references to missing keys, missing components (``_target_``), and arguments that a
    component does not take.

    MONAI accepts any override, makes a new key of a misspelled one, and keeps no record of overrides. But nothing
    refers to a misspelled key, and no file in the folder of the first config defines it. So misspelled keys are also
    found in overlays from other folders. A new key that only MONAI's macros (``%key``) use looks the same, since MONAI
    has put its copies in place by then. A name that begins with ``_`` is never reported.

    Args:
        workflow: workflow with a parsed config.

    Returns:
        one message per problem, with a suggestion.
    """
    # MONAI does the same, but only when it runs what comes after this check.
    folder = workflow.config_root_path
    sys.path.insert(1, str(folder.parent if folder.name == "configs" else folder))
    config = workflow.parser.config
    items = dict(config_items(config))
    references = {
        id: ReferenceResolver.match_refs_pattern(value).keys() for id, value in items.items() if isinstance(value, str)
    }
    needed = {*MONAI_KEYS, *PROPERTIES, workflow.init_id, workflow.run_id, workflow.final_id}
    needed.update(*references.values())
    unused = list(_unused(config, needed))
    defined = defined_ids(folder) if unused else set()
    problems = [f"there is no key '{_shown(id)}'{_hint(id, items)}" for id in unused if id not in defined]
    if workflow.run_id not in workflow.parser:
        problems.append(f"there is no key '{workflow.run_id}' to run. Leave out the run_id, and 'run' is run.")
    for id, referred in references.items():
        for reference in [reference for reference in referred if reference not in items]:
            hint = did_you_mean(_shown(reference), map(_shown, items))
            problems.append(f"'{_shown(id)}' refers to @{_shown(reference)}, which does not exist.{hint}")
    for id, value in items.items():
        if ConfigComponent.is_instantiable(value) and not ConfigComponent(value).is_disabled():
            problems += [f"{_shown(id)}: {problem}" for problem in _component_problems(value, workflow.parser.locator)]
    return problems


def config_items(config: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield everything in a config by its id."""
    for _, id, value in ReferenceResolver.iter_subconfigs(prefix, config):
        yield ReferenceResolver.normalize_id(id), value
        if isinstance(value, dict | list):
            yield from config_items(value, id)


def _unused(section: dict[str, Any], needed: set[str], prefix: str = "") -> Iterator[str]:
    """Yield the ids of keys without any reference to them, to a parent or to a child."""
    for key, id, value in ReferenceResolver.iter_subconfigs(prefix, section):
        if str(key).startswith("_") or id in needed:
            continue
        if not any(other.startswith(f"{id}{ReferenceResolver.sep}") for other in needed):
            yield id
        elif isinstance(value, dict) and not ConfigComponent.is_instantiable(value):
            yield from _unused(value, needed, id)


def defined_ids(folder: Path) -> set[str]:
    """Return the ids of all keys in the config files of a folder."""
    ids: set[str] = set()
    for file in folder.iterdir():
        if file.suffix in (".json", ".yaml", ".yml") and file.name not in NO_CONFIGS:
            try:
                content = ConfigParser.load_config_file(file)
            except (ValueError, yaml.YAMLError):  # it belongs to somebody else, and defines nothing
                continue
            if isinstance(content, dict):
                ids.update(id.removeprefix("+") for id, _ in config_items(content))
    return ids


def _hint(id: str, items: dict[str, Any]) -> str:
    *parents, name = ReferenceResolver.split_id(id)
    options: list[str] = [] if parents else list(inspect.signature(ConfigWorkflow).parameters)
    for other in items:
        *others, neighbour = ReferenceResolver.split_id(other)
        if others == parents and neighbour != name:
            options.append(neighbour)
    hint = did_you_mean(name, options)
    if hint:
        return f".{hint}"
    return ": nothing in the config uses it. Leave it out, or let its name begin with _ if it is a note of your own."


def _component_problems(config: dict[str, Any], locator: ComponentLocator) -> Iterator[str]:
    target = config["_target_"]
    if not isinstance(target, str) or target.startswith(("@", "$")):  # known only when it is evaluated
        return
    try:
        component = pydoc.locate(ConfigComponent(config, locator=locator).resolve_module_name())
    except pydoc.ErrorDuringImport as e:
        yield f"'{target}' cannot be imported: {e}."
        return
    if component is None:
        yield _not_found(target)
        return
    try:
        parameters = inspect.signature(component).parameters  # type: ignore[arg-type]
    except (TypeError, ValueError):  # what is built in need not say what it takes
        return
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in config:
        if name not in parameters and name not in ConfigComponent.non_arg_keys:
            yield f"{target} takes no argument '{name}'.{did_you_mean(name, parameters)}"


def _not_found(target: str) -> str:
    parent, _, name = target.rpartition(".")
    while parent and pydoc.locate(parent) is None:
        parent, _, name = parent.rpartition(".")
    if not parent and "." in target:
        return f"{target} does not exist: Python finds no module '{name}'."
    if parent:
        return f"{target} does not exist: {parent} has no '{name}'.{did_you_mean(name, dir(pydoc.locate(parent)))}"
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("monai.")]
    monai_names = {name for module in modules for name in dir(module)}
    return f"MONAI has no component '{target}'.{did_you_mean(target, monai_names)}"


def _shown(id: str) -> str:
    """Return an id as it is written on the command line."""
    return id.replace(ReferenceResolver.sep, "#")
