"""Check of a bundle without a run."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser, ConfigWorkflow, update_kwargs

from medsize.bundle.run.command import config_fault, config_file
from medsize.checks.config_check import config_items
from medsize.checks.findings import Finding, RunRefused, refuse_or_warn
from medsize.checks.workflow_check import CONFIG, workflow_findings
from medsize.suggest import did_you_mean, did_you_mean_path

__all__ = ["check_bundle"]

PATHS = ("dataset_dir", "data_list", "checkpoint")


def check_bundle(bundle: Path, configs: Sequence[str] = ("train.yaml",), /, **arguments: Any) -> None:
    """
    Check a bundle: load it like ``python -m monai.bundle run``, evaluate the config's item ``check``, but do not run.

    Of a config without that item, such as one for inference, the names, the metadata and the paths are checked.

    Args:
        bundle: folder of the bundle.
        configs: config files in the order in which they are merged: names in the bundle's folder ``configs``, or paths.
        arguments: arguments of ``monai.bundle run``: overrides, and ``args_file``, ``meta_file`` and the like.
            ``config_file`` replaces ``configs``.

    Raises:
        RunRefused: with all findings, when one would spoil a run. If all are warnings, they are printed to stderr.
    """
    arguments = update_kwargs(args=arguments.pop("args_file", None), **arguments)
    named = {key: arguments.pop(key) for key in inspect.signature(ConfigWorkflow).parameters if key in arguments}
    files = named.pop("config_file", None) or [str(config_file(bundle, name)) for name in configs]
    files = files.split(",") if isinstance(files, str) else files
    faults = {file: _config_fault(Path(file)) for file in files}
    if any(faults.values()):
        raise RunRefused([Finding(str(file), fault) for file, fault in faults.items() if fault])
    if "tracking" in named:
        named["save_execute_config"] = False  # a check writes no file
    try:
        workflow = ConfigWorkflow(files, **{"logging_file": False, **named, "init_id": "check"})
    except (KeyError, ValueError) as e:  # keys that lead nowhere
        raise RunRefused([Finding(", ".join(map(str, files)), f"it cannot be read. {_reason(e)}")]) from e
    findings = list(_override(workflow.parser, {"bundle_root": str(bundle), **arguments}))
    try:
        workflow.initialize()
        if "check" not in workflow.parser:
            findings += [*workflow_findings(workflow), *_missing_paths(workflow.parser)]
    except RunRefused as refused:
        findings += refused.findings
    except (RuntimeError, KeyError, ValueError) as e:
        findings += [*workflow_findings(workflow), Finding(CONFIG, f"it cannot be evaluated. {_reason(e)}")]
    refuse_or_warn(findings)


def _config_fault(file: Path) -> str:
    return config_fault(file) if file.is_file() else _missing(file, "file")


def _missing(path: Path, kind: str) -> str:
    return f"there is no such {kind}.{did_you_mean_path(path)}"


def _reason(error: Exception) -> str:
    """Return an error and its cause in one line."""
    return " ".join(f"{error} {error.__cause__ or ''}".split())


def _override(parser: ConfigParser, pairs: dict[str, Any]) -> Iterator[Finding]:
    for key, value in pairs.items():
        try:
            parser.update({key: value})
        except (KeyError, IndexError, ValueError):  # what it should be put into does not exist
            known = [id.replace("::", "#") for id, _ in config_items(parser.config)]
            yield Finding(CONFIG, f"there is no place for '{key}'.{did_you_mean(key, known)}")


def _missing_paths(parser: ConfigParser) -> Iterator[Finding]:
    for key in PATHS:
        if parser.get(key) is not None:
            path = Path(parser.get_parsed_content(key))
            if not path.exists():
                yield Finding(CONFIG, f"{key} is {path}: {_missing(path, 'file' if path.suffix else 'folder')}")
