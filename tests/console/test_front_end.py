"""What the console's scripts are built from."""

import json
from pathlib import Path

_FRONT_END = Path(__file__).parents[2] / "app" / "console" / "frontend"


def test_the_lock_file_has_hashes_and_no_addresses() -> None:
    """Versions and hashes are ours to pin; the registry is the installer's business."""
    text = (_FRONT_END / "package-lock.json").read_text()
    packages = {name: package for name, package in json.loads(text)["packages"].items() if name}
    assert [name for name, package in packages.items() if "integrity" not in package] == []
    assert "resolved" not in text
    assert "http" not in text


def test_versions_are_exact() -> None:
    """A range would be another program next month."""
    package = json.loads((_FRONT_END / "package.json").read_text())
    versions = [*package["dependencies"].values(), *package["devDependencies"].values()]
    assert [version for version in versions if not version[0].isdigit()] == []


def test_templates_obey_the_policy() -> None:
    """No inline scripts, styles or handlers, and nothing from elsewhere: browsers would refuse it."""
    for template in (_FRONT_END.parent / "templates").rglob("*.html"):
        text = template.read_text()
        assert [
            bad for bad in (" style=", "<style", "<script>", " onclick=", "http://", "https://") if bad in text
        ] == []
