"""Prepares the pages for the site's builder and checks what the builder does not.

    stage.py FOLDER    writes FOLDER/pages and FOLDER/zensical.toml

The site holds every Markdown file of the repository in its own place, so a relative link works on the
site as it does in the repository. The builder checks links and anchors between pages. This script checks
the rest: a link to anything but a page, and a path in the text that names no file.
"""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# One entry of the menu each: a page, or a folder whose pages follow in the order of their names.
MENU = [
    ("Home", "README.md"),
    ("Documentation", "docs/README.md"),
    ("Tutorial", "docs/tutorial"),
    ("How-to", "docs/how-to"),
    ("Reference", "docs/reference"),
    ("Explanation", "docs/explanation"),
    ("Decisions", "docs/decisions"),
    ("Architecture", "ARCHITECTURE.md"),
    ("Contributing", "CONTRIBUTING.md"),
    ("Security", "SECURITY.md"),
    ("Changelog", "CHANGELOG.md"),
]
# What they say was true when it was written: files may have moved since.
HISTORY = ("CHANGELOG.md", "docs/decisions/")
# A path in the text that begins so must be a file or a folder of the repository.
PLACES = re.compile(r"`((?:src|tests|docs|bench|emulators|terraform|examples|\.ci|\.github)/[\w./-]*\w/?)`")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```.*?^```", re.M | re.S)


def main(folder: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )
    pages = sorted({page for page in listed.stdout.split() if (ROOT / page).exists()} - {""})
    pages = [page for page in pages if not page.startswith(".github/")]
    problems = [problem for page in pages for problem in checked(page, pages)]
    if problems:
        sys.exit("\n".join(problems))
    shutil.rmtree(folder, ignore_errors=True)
    for page in pages:
        staged = folder / "pages" / page
        staged.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / page, staged)
    (folder / "zensical.toml").write_text(settings(pages))


def checked(page: str, pages: list[str]):
    text = FENCED.sub("", (ROOT / page).read_text())
    for target in LINK.findall(text):
        path = target.partition("#")[0]
        if re.match(r"[a-z]+:", target) or not path:
            continue
        linked = (ROOT / page).parent.joinpath(path).resolve()
        if not linked.is_relative_to(ROOT) or str(linked.relative_to(ROOT)) not in pages:
            yield f"{page}: the link to {target} leads to no page; name other files as `code`"
    for path in PLACES.findall(text):
        if not page.startswith(HISTORY) and not (ROOT / path).exists():
            yield f"{page}: `{path}` is not in the repository"


def settings(pages: list[str]) -> str:
    entries = []
    for title, place in MENU:
        if place in pages:
            entries.append(f"{{ {json.dumps(title)} = {json.dumps(place)} }}")
        elif within := [page for page in pages if page.startswith(place + "/")]:
            within.sort(key=lambda page: (not page.endswith("/README.md"), page))
            entries.append(f"{{ {json.dumps(title)} = {json.dumps(within)} }}")
    nav = ",\n  ".join(entries)
    return f"""[project]
site_name = "Tidemill"
site_description = "One binary from Kafka to closed hours in the warehouse"
copyright = "Apache-2.0"
docs_dir = "pages"
site_dir = "site"
use_directory_urls = false
nav = [
  {nav},
]

[project.theme]
features = ["navigation.sections", "navigation.footer", "content.code.copy", "search.highlight"]
# No font of another host: the site reads without a network.
font = false

# Only what the pages use: the builder's own set reads two dollar signs as a formula.
[project.markdown_extensions.toc]
permalink = true
[project.markdown_extensions.tables]
[project.markdown_extensions.pymdownx.highlight]
[project.markdown_extensions.pymdownx.superfences]
"""


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
