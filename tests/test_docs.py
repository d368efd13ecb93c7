"""The documentation as a whole: its links lead somewhere, the map has every page, and the site builds."""

import importlib.util
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "data").rglob("*.md")])
_FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")


def name(path: Path) -> str:
    """As it is written from the root."""
    return str(path.relative_to(ROOT))


@cache
def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return _FENCE.sub("", page.read_text())


@cache
def anchors(page: Path) -> frozenset[str]:
    """What links to a page may name, as code hosts make it of headings."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in headings]
    return frozenset(re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-") for heading in plain)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    """To a file of the repository, and to a heading that it has. Others must be whole addresses."""
    broken = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_the_map_has_every_page() -> None:
    """Who begins at docs/index.md finds all of it; and the site's navigation has the same pages."""
    linked = set(_LINK.findall(prose(DOCS / "index.md")))
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in DOCS.glob("*.md"):
        if page.name != "index.md":
            assert page.name in linked, f"{page.name} is not in docs/index.md"
        assert page.name in navigation, f"{page.name} is not in mkdocs.yml"


@pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="needs pip install 'croupier[docs]'")
def test_the_site_builds_and_needs_no_other_site(tmp_path: Path) -> None:
    """Strictly: without a warning; and no page loads a script, a style or a font from elsewhere."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert built.returncode == 0, built.stdout + built.stderr
    loads = re.compile(r"<(?:script|img|iframe)[^>]*\ssrc=[\"']?(?:https?:)?//|<link[^>]*\shref=[\"']?(?:https?:)?//")
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > len(list(DOCS.glob("*.md")))
    assert [page.name for page in pages if loads.search(page.read_text())] == []
    assert [
        style.name for style in tmp_path.rglob("*.css") if re.search(r"url\([\"']?https?://", style.read_text())
    ] == []
