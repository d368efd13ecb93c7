"""Files of configuration, and the commands that read and write them."""

from pathlib import Path

from click.testing import CliRunner, Result

from app.cli import main
from app.store.database import Database

SHOP = """\
experiments:
  shop:
    arms:
      - key: popular
        recommender: {kind: popular}
      - key: similar
        recommender: {kind: similar}
    policy: {kind: thompson_sampling, warm_up: 50}
    reward: {metric: click, window_s: 600}
    alert_rules:
      fallbacks: {kind: threshold, metric: fallback_share, value: 0.1, clear_at: 0.05}
    avatars:
      gardener: {unit: avatar-gardener, k: 5, expect: {min_items: 5}}
alert_rules:
  no-looks: {kind: absence, of: looks, enabled: false}
alert_channels:
  ops: {url: "https://hooks.example/croupier", secret_env: OPS_SECRET}
"""
SECRETS = {"OPS_SECRET": "a secret of sixteen or more"}


def written(folder: Path, text: str, name: str = "shop.yaml") -> Path:
    """A file with this text."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def croupier(database: Database, *arguments: object, secrets: dict[str, str] | None = None) -> Result:
    """Runs a command on a database."""
    url = database.engine.url.render_as_string(hide_password=False)
    environment = {"DATABASE_URL": url, "OPS_SECRET": None, **(SECRETS if secrets is None else secrets)}
    return CliRunner().invoke(main, [str(argument) for argument in arguments], env=environment)
