"""README.md and the pages can be followed: links, commands, keys, names and files."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import pydoc
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml

import medsize
from medsize.cli import app
from tests.conftest import PROJECT

README = PROJECT / "README.md"
DOCS = sorted((PROJECT / "docs").rglob("*.md"))
BUNDLES = PROJECT / "bundles"
BUNDLE_DOCS = sorted(BUNDLES.glob("*/docs/*.md"))
PAGES = [README, *DOCS, *BUNDLE_DOCS, PROJECT / "CHANGELOG.md"]
GUIDES = [README, *DOCS, *(page for page in BUNDLE_DOCS if page.name == "README.md")]
"""Pages that name commands and modules as they are now."""
GENERATED = {"benchmarks.md", "scale.md"}
CONSOLE = "console"
"""Language of a block that shows what a command answers, and so may hold a mistake."""
FOLDERS = ("benchmarks", "bundles", "data_prep", "docs", "medsize", "tests")
NOT_OF_A_CONFIG = {"args_file", "bundle_root", "config_file", "meta_file", "run_id"}
"""Options of ``monai.bundle run`` itself."""
MAX_LINES = 170
MAX_WORDS = 25
QUESTION_WORDS = ("How ", "That ", "What ", "When ", "Where ", "Whether ", "Which ", "Who ", "Whom ", "Whose ", "Why ")


def ids(page: Path) -> str:
    return page.relative_to(PROJECT).as_posix()


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str
    text: str


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return [Block(*parts) for parts in found]


@cache
def prose_of(page: Path) -> str:
    """Return a page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def code_of(page: Path) -> list[str]:
    """Return the pieces of code within the prose."""
    return re.findall(r"`([^`\n]+)`", prose_of(page))


@cache
def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub names them."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", prose_of(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        anchors.add(next(a for n in range(99) if (a := f"{slug}-{n}" if n else slug) not in anchors))
    return anchors


def commands_of(page: Path, languages: tuple[str, ...]) -> Iterator[list[str]]:
    """Yield the commands in fenced blocks, split into words, without what stands before ``medsize`` or ``python``."""
    for block in blocks_of(page):
        if block.language not in languages:
            continue
        for line in block.text.replace("\\\n", " ").split("\n"):
            if block.language == CONSOLE and not line.startswith("$ "):
                continue
            words = shlex.split(line.removeprefix("$ "), comments=True)
            starts = [n for n, word in enumerate(words) if word in ("medsize", "python", "torchrun", "make")]
            if starts:
                yield words[starts[0] :]


def options_in(words: list[str]) -> list[str]:
    """Return the options among the words of a command, without values."""
    return [word.split("=")[0] for word in words if re.match(r"-{1,2}[a-zA-Z]", word)]


def options_of(command: Any) -> set[str]:
    """Return all that a command takes as an option."""
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}


@cache
def commands() -> dict[str, Any]:
    """Return the commands of medsize by name."""
    return dict(typer.main.get_group(app).commands)


@cache
def keys_of(bundle: str) -> set[str]:
    """Return the top-level keys of all configs of a bundle."""
    configs = sorted((BUNDLES / bundle / "configs").glob("*.yaml"))
    return {key.split("#")[0].lstrip("+~") for config in configs for key in yaml.safe_load(config.read_text())}


def keys_in(words: list[str], bundle: str | None) -> list[str]:
    """Return the overrides of a config that no config of the bundle (of any bundle) has."""
    known = keys_of(bundle) if bundle else keys_of("size_seg_2d") | keys_of("size_seg_3d")
    names = [option.removeprefix("--") for option in options_in(words)]
    return [name for name in names if name.split("#")[0] not in known | NOT_OF_A_CONFIG]


def bundle_in(words: list[str]) -> str | None:
    """Return the bundle of ours that a command names."""
    found = re.search(r"size_seg_[23]d", " ".join(words))
    return found[0] if found else None


def missing_configs(words: list[str]) -> list[str]:
    """Return configs that a command takes from a bundle, and that no bundle has."""
    named = re.findall(r"configs/(\w+\.(?:yaml|json))", " ".join(words))
    named += [words[n + 1] for n, word in enumerate(words[:-1]) if word in ("--overlay", "--config")]
    bundle = bundle_in(words) or "*"
    return [name for name in named if "/" not in name and not list(BUNDLES.glob(f"{bundle}/configs/{name}"))]


def module_command(module: str) -> Any:
    """Return the command line of a module that typer runs; ``None`` for another one."""
    loaded = importlib.import_module(module)
    if "typer.run(main)" not in inspect.getsource(loaded):
        return None
    script = typer.Typer(add_completion=False)
    script.command()(loaded.main)
    return typer.main.get_command(script)


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"\w+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors_of(file)):
            broken.append(target)
    assert not broken


def pages_in(navigation: Any) -> Iterator[str]:
    """Yield the pages in a navigation of mkdocs, from the start."""
    if isinstance(navigation, str):
        yield navigation
    else:
        for entry in navigation.values() if isinstance(navigation, dict) else navigation:
            yield from pages_in(entry)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    pages = list(pages_in(yaml.safe_load((PROJECT / "mkdocs.yml").read_text())["nav"]))
    assert {page.relative_to(PROJECT).as_posix() for page in (README, *DOCS)} <= set(pages)
    assert len(pages) == len(set(pages))


def test_every_page_of_the_reference_names_public_modules() -> None:
    pages = [page for page in DOCS if page.parent.name == "reference"]
    modules = [module for page in pages for module in re.findall(r"^::: (.+)$", prose_of(page), re.MULTILINE)]
    assert len(modules) > 20
    files = [PROJECT / module.replace(".", "/") for module in modules]
    sources = [file / "__init__.py" if file.is_dir() else file.with_suffix(".py") for file in files]
    # Without __all__ the page would have what is not public, too.
    assert [source for source in sources if "\n__all__ = " not in source.read_text(encoding="utf-8")] == []


def test_every_page_is_reached_from_the_readme() -> None:
    reached, ahead = set(), [README]
    while ahead:
        page = ahead.pop()
        reached.add(page)
        links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", prose_of(page))]
        ahead += {(page.parent / link).resolve() for link in links if link.endswith(".md")} - reached
    assert {page for page in DOCS if "robustness" not in page.parts} <= reached


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_every_command_of_medsize_exists(page: Path) -> None:
    faults = []
    for words in commands_of(page, ("bash", CONSOLE)):
        if words[0] != "medsize":
            continue
        command = commands().get(words[1])
        if command is None:
            faults.append(" ".join(words))
            continue
        unknown = [option for option in options_in(words[2:]) if option not in options_of(command)]
        if command.context_settings.get("ignore_unknown_options"):
            continue  # they are overrides of a config
        faults += [f"{words[1]} {option}" for option in unknown]
    for code in code_of(page):
        if (named := re.match(r"medsize ([a-z]+)", code)) and named[1] not in commands():
            faults.append(code)
    assert not faults


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_every_override_is_a_key_of_a_bundle(page: Path) -> None:
    faults = []
    for words in commands_of(page, ("bash",)):
        own: set[str] = set()
        if words[0] == "medsize" and words[1] in ("train", "check"):
            own = options_of(commands()[words[1]])
        elif "monai.bundle" not in words or "run" not in words:
            continue
        overrides = words[words.index("run") + 1 :] if "run" in words else words[2:]
        faults += keys_in([word for word in overrides if word.split("=")[0] not in own], bundle_in(words))
        faults += missing_configs(words)
    assert not faults


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_every_module_and_target_that_is_run_exists(page: Path) -> None:
    faults = []
    makefile = (PROJECT / "Makefile").read_text()
    for words in [*commands_of(page, ("bash", CONSOLE)), *(code.split() for code in code_of(page))]:
        if words[0] == "make" and len(words) > 1 and not re.search(rf"^{words[1]}:", makefile, re.MULTILINE):
            faults.append(" ".join(words))
        if words[:2] == ["python", "-m"] and words[2].split(".")[0] in FOLDERS:
            if importlib.util.find_spec(words[2]) is None:
                faults.append(words[2])
            elif (command := module_command(words[2])) is not None:
                unknown = set(options_in(words[3:])) - options_of(command)
                faults += [f"{words[2]} {option}" for option in unknown]
    assert not faults


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_every_name_of_medsize_can_be_imported(page: Path) -> None:
    text = "\n".join([*code_of(page), *(block.text for block in blocks_of(page))])
    names = set(re.findall(r"(?<![\w/.])medsize(?:\.\w+)+", text))
    assert not [name for name in names if pydoc.locate(name) is None]
    imported = re.findall(r"^from (medsize[\w.]*) import (.+)$", text, re.MULTILINE)
    pairs = [(module, name.strip()) for module, names in imported for name in names.split(",")]
    assert not [pair for pair in pairs if pydoc.locate(".".join(pair)) is None]


@pytest.mark.parametrize("page", GUIDES, ids=ids)
def test_every_file_of_the_project_exists(page: Path) -> None:
    paths = [code.split("::")[0] for code in code_of(page) if re.fullmatch(r"[\w./:-]+", code)]
    own = [path for path in paths if path.partition("/")[0] in FOLDERS and "/" in path]
    # Some pages name files of any bundle.
    relative_to = (PROJECT, page.parent.parent, BUNDLES / "size_seg_2d", BUNDLES / "size_seg_3d")
    assert not [path for path in own if not any((folder / path).exists() for folder in relative_to)]


def test_every_key_of_the_configuration_page_exists() -> None:
    page = PROJECT / "docs" / "configuration.md"
    rows = re.findall(r"^\| (`[^|]+`) \|", prose_of(page), re.MULTILINE)
    names = [name for row in rows for name in re.findall(r"`([^`]+)`", row)]
    overlays = {file.name for file in BUNDLES.glob("*/configs/*.yaml")}
    keys = {name for name in names if re.fullmatch(r"[a-z_]+", name)}
    assert len(keys) > 30
    assert keys <= keys_of("size_seg_2d") | keys_of("size_seg_3d")
    named = {name for name in names if name.endswith(".yaml")} - {"config.yaml"}
    assert named <= overlays


def test_every_size_noise_and_mask_noise_is_named() -> None:
    from medsize.sizes.size_noise import SIZE_NOISES
    from medsize.transforms.perturb_mask import MASK_NOISES

    page = prose_of(PROJECT / "docs" / "studies.md")
    assert [noise for noise in (*SIZE_NOISES, *MASK_NOISES) if noise not in page] == []


def test_the_rooms_are_named_in_their_order() -> None:
    contract = re.search(r"^layers = \[\n(.*?)^\]", (PROJECT / "pyproject.toml").read_text(), re.MULTILINE | re.DOTALL)
    assert contract is not None
    rooms = [room for room in re.findall(r"\w+", contract[1]) if room != "__main__"]
    page = prose_of(PROJECT / "docs" / "contributing.md")
    table = page[page.index("\n## Rooms") : page.index("\n## Where something new goes")]
    rows = [re.findall(r"`medsize/(\w+)", row) for row in re.findall(r"^\| (`medsize[^|]+) \|", table, re.MULTILINE)]
    assert [room for row in rows for room in row] == rooms


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("page", [page for page in (README, *DOCS) if page.name not in GENERATED], ids=ids)
def test_sentences_are_short(page: Path) -> None:
    lines = [re.sub(r"^ *([-*]|\d+\.) +", "\n", line) for line in prose_of(page).split("\n")]
    text = "\n".join("" if re.match(r" *(\||#|!\[)", line) else line for line in lines)
    long = []
    for paragraph in re.split(r"\n\s*\n", text):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", " ".join(paragraph.split()))
        for sentence in re.split(r"(?<=[.!?:;])[*_)]*\s+", plain):
            if len(re.findall(r"\S*\w\S*", sentence)) > MAX_WORDS:
                long.append(sentence)
    assert not long


REFERENCE = re.compile(r":(?:func|class|mod|meth|data|attr|exc|obj):`~?([\w.]+)`")


def docstrings() -> Iterator[tuple[str, str]]:
    """Yield file and line, and the text, of all docstrings in medsize, with those of attributes and constants."""
    root = Path(medsize.__file__).parent
    for file in sorted(root.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for part in node.body:
                if isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant):
                    yield f"{file.relative_to(root.parent)}:{part.lineno}", str(part.value.value).strip()


def test_no_docstring_opens_with_a_question_word() -> None:
    found = list(docstrings())
    assert len(found) > 800
    assert [(where, text.splitlines()[0]) for where, text in found if text.startswith(QUESTION_WORDS)] == []


def references() -> Iterator[tuple[str, str, str]]:
    """Yield module, enclosing class and target of each cross-reference in medsize's docstrings and comments."""
    root = Path(medsize.__file__).parent
    for file in sorted(root.rglob("*.py")):
        source = file.read_text(encoding="utf-8")
        parts = file.relative_to(root.parent).with_suffix("").parts
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
        for found in REFERENCE.finditer(source):
            line = source.count("\n", 0, found.start()) + 1
            within = [node.name for node in classes if node.lineno <= line <= (node.end_lineno or 0)]
            yield module, within[-1] if within else "", found[1]


def resolves(module: str, within: str, target: str) -> bool:
    """Say whether a cross-reference leads to something: by its dotted path, or in its class or module."""
    if pydoc.locate(target) is not None:
        return True
    loaded = importlib.import_module(module)
    owner, _, name = target.rpartition(".")
    holders = (pydoc.locate(owner), getattr(loaded, owner, None)) if owner else (getattr(loaded, within, None),)
    for holder in holders:
        if holder is not None and (hasattr(holder, name) or sets(holder, name)):
            return True
    return hasattr(loaded, target)


def sets(holder: type, name: str) -> bool:
    """Say whether a class has an attribute that only its instances have."""
    fields = getattr(holder, "__dataclass_fields__", {}) | getattr(holder, "model_fields", {})
    return name in fields or re.search(rf"\bself\.{name}\b.*=", inspect.getsource(holder)) is not None


def test_every_cross_reference_in_docstrings_resolves() -> None:
    found = list(references())
    assert len(found) > 100
    assert [reference for reference in found if not resolves(*reference)] == []
