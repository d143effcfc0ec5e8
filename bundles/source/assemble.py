"""
Assembly of the bundles from shared files and the keys that distinguish each bundle.

    python -m bundles.source.assemble           # make bundles: write them
    python -m bundles.source.assemble --check   # make check: end with an error where a bundle differs from its source

See README.md beside this file.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from medsize.bundle.config_text import ORIGIN, blocks
from medsize.files import atomic_write

__all__ = ["assembled", "differences"]

SOURCE = Path(__file__).parent
BUNDLES = SOURCE.parent
COMMENTED = (".yaml", ".conf", ".py")
"""Endings of files that get a comment with their source."""
COPIED = {
    "transforms": ("crop_to_roi", "fit_to_window", "soft_dice_confidence", "voxel_size"),
    "networks": ("efficientnet_lite", "lean_unet"),
}
"""Modules of medsize that inference needs without medsize, in the bundle's scripts, by their folders."""
OWN_IMPORT = re.compile(rf"^from medsize\.(?:{'|'.join(COPIED)})\.", re.MULTILINE)
PLACE = re.compile(r"^( *)(\w+): !bundle(  #[^\n]*)?\n", re.MULTILINE)


def assembled(name: str, source: Path = SOURCE) -> dict[str, str]:
    """
    Return the text of every file that a bundle has from its source, by path in the bundle.

    Args:
        name: name of the bundle.
        source: folder with ``shared/`` and the bundles' own YAML files.

    Raises:
        ValueError: when the bundle's own file lacks a key, or has one that no shared file asks for.
    """
    own = source / f"{name}.yaml"
    lines, values = blocks(own.read_text()), yaml.safe_load(own.read_text())
    unused = set(values)

    def used(key: str, file: Path) -> str:
        if key not in values:
            raise ValueError(
                f"{own}: found no '{key}', expected it for {file}. State it; without a value it is left out."
            )
        unused.discard(key)
        return key

    def filled(text: str, file: Path) -> str:
        def block(place: re.Match[str]) -> str:
            indent, key, comment = place[1], used(place[2], file), place[3]
            if values[key] is None:
                return ""
            first, *others = lines[key].splitlines()
            first = first.split("  #")[0] + comment if comment else first
            return "".join(f"{indent}{line}\n" for line in (first, *others))

        return PLACE.sub(block, text)

    def filled_json(content: Any, file: Path, key: str = "") -> Any:
        if isinstance(content, dict):
            return {key: filled_json(value, file, key) for key, value in content.items()}
        return values[used(key, file)] if content == "!bundle" else content

    files = {"LICENSE": (BUNDLES.parent / "LICENSE").read_text()}
    for file in sorted(path for path in (source / "shared").rglob("*.*") if path.suffix != ".pyc"):
        path, text = file.relative_to(source / "shared").as_posix(), file.read_text()
        if file.suffix == ".json":
            text = json.dumps(filled_json(json.loads(text), file), indent=4) + "\n"
        elif file.suffix in COMMENTED:
            also = f" and bundles/source/{own.name}" if PLACE.search(text) else ""
            text = f"{ORIGIN} from bundles/source/shared/{path}{also}.\n{filled(text, file)}"
        files[path] = text
    for room, module in ((room, module) for room, modules in COPIED.items() for module in modules):
        origin = f"medsize/{room}/{module}.py"
        text = OWN_IMPORT.sub("from scripts.", (BUNDLES.parent / origin).read_text())
        files[f"scripts/{module}.py"] = f"{ORIGIN} from {origin}.\n{text}"
    if unused:
        raise ValueError(f"{own}: found {', '.join(sorted(unused))}, which no file in shared/ asks for. Remove it.")
    return files


def differences(name: str, bundle: Path) -> Iterator[str]:
    """
    Yield a message for each file of a bundle that differs from its source.

    Args:
        name: name of the bundle.
        bundle: its folder.
    """
    files = assembled(name)
    for path, text in files.items():
        found = (bundle / path).read_text() if (bundle / path).is_file() else ""
        if found != text:
            changes = difflib.unified_diff(text.splitlines(), found.splitlines(), n=0, lineterm="")
            shown = [f"  {line}" for line in changes if not line.startswith(("---", "+++"))]
            message = (
                f"{bundle / path}: found other text than its source gives. Change bundles/source; run make bundles."
            )
            yield "\n".join([message, *shown])
    for file in bundle.rglob("*.*"):
        path = file.relative_to(bundle).as_posix()
        if file.suffix in COMMENTED and path not in files and file.read_text().startswith(ORIGIN):
            yield f"{file}: found no source of it, expected shared/{path} in bundles/source. Remove the file."


def _main() -> None:
    parser = argparse.ArgumentParser(description="Assemble the bundles from bundles/source.")
    parser.add_argument("--check", action="store_true", help="write nothing, and fail where a bundle differs")
    only_check = parser.parse_args().check
    for name in sorted(file.stem for file in SOURCE.glob("*.yaml")):
        if not only_check:
            for path, text in assembled(name).items():
                with atomic_write(BUNDLES / name / path) as file:
                    file.write_text(text)
        if problems := list(differences(name, BUNDLES / name)):
            sys.exit("\n".join(problems))


if __name__ == "__main__":
    _main()
