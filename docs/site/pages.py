"""A hook of mkdocs: the site has the paths of the repository, so that a link leads to the same page in both."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the theme's files with README.md, CHANGELOG.md, all pages of docs/, and what these link to."""
    docs, project = Path(config.docs_dir), Path(config.config_file_path).parent
    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
    ahead, known = [project / "README.md", project / "CHANGELOG.md", *docs.rglob("*.md")], set()
    while ahead:
        path = ahead.pop().resolve()
        if path in known or not path.is_file():
            continue
        known.add(path)
        files.append(File.generated(config, path.relative_to(project).as_posix(), abs_src_path=str(path)))
        if path.suffix == ".md":
            links = re.findall(r"\]\(([^)\s#:]+)[)#]", path.read_text(encoding="utf-8"))
            ahead += [path.parent / link for link in links]
    return files
