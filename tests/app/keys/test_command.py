"""`croupier keys`."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.auth import KeyRing, Scope, prefix_of
from app.keys import Wanted, create, listed
from app.keys.command import keys_command
from app.store.database import Database
from app.store.keys import KeyRecord
from tests.app.building import now


def run(database: Database, *arguments: str) -> Result:
    """What a command does."""
    return CliRunner().invoke(keys_command, arguments, obj=lambda: nullcontext(database))


def made(database: Database, *arguments: str) -> KeyRecord:
    """The key that `create` makes."""
    result = run(database, "create", "--name", "somebody", *arguments)
    assert result.exit_code == 0, result.output
    prefix = prefix_of(result.stdout.strip())
    return next(record for record in listed(database) if record.prefix == prefix)


def test_a_key_is_printed_once_and_works(shared_database: Database) -> None:
    """Alone on a line, so that a script can read it; `list` never shows it."""
    key = run(shared_database, "create", "--name", "somebody").stdout.strip()
    ring = KeyRing(shared_database)
    ring.refresh()
    for scope in Scope:
        ring.authorise(key, scope)
    table = run(shared_database, "list").stdout
    assert prefix_of(key) in table
    assert key.partition(".")[2] not in table


@pytest.mark.parametrize(
    "words",
    [("--scopes", "decide,reward"), ("--scope", "decide", "--scope", "reward"), ("--scopes", " reward, decide")],
)
def test_scopes_are_a_list_or_repeated(shared_database: Database, words: tuple[str, ...]) -> None:
    """Either way of writing them."""
    assert made(shared_database, *words).scopes == {"decide", "reward"}


def test_experiments_rate_and_expiry_are_options(shared_database: Database) -> None:
    """And `list` shows them."""
    options = ("--experiments", "home,checkout", "--rate", "50", "--expires", "90d")
    record = made(shared_database, *options)
    assert (record.experiments, record.rate_per_s) == (("checkout", "home"), 50)
    assert record.expires_at is not None
    assert abs(record.expires_at - now() - timedelta(days=90)) < timedelta(minutes=1)
    (line,) = [line for line in run(shared_database, "list").stdout.splitlines() if record.prefix in line]
    for told in ("in force", "for checkout,home", "50/s", f"until {record.expires_at:%Y-%m-%d}", "never used"):
        assert told in line


@pytest.mark.parametrize("text", ["2100-01-31T09:00:00Z", "2100-01-31T10:00:00+01:00", "2100-01-31T09:00:00"])
def test_an_end_may_be_a_moment(shared_database: Database, text: str) -> None:
    """UTC where no time zone is named."""
    end = made(shared_database, "--expires", text).expires_at
    assert end is not None
    assert end.timestamp() == 4_105_069_200


REFUSED: dict[str, tuple[str, ...]] = {
    "everything": ("--scopes", "decide,everything"),
    "soon": ("--expires", "soon"),
    "5y": ("--expires", "5y"),
    "0": ("--rate", "0"),
    ",": ("--experiments", ","),
}


@pytest.mark.parametrize("word", REFUSED)
def test_what_is_misspelt_makes_no_key(shared_database: Database, word: str) -> None:
    """The message names the word."""
    before = len(listed(shared_database))
    result = run(shared_database, "create", "--name", "x", *REFUSED[word])
    assert result.exit_code == 2
    assert word in result.output
    assert len(listed(shared_database)) == before


def test_rotate_prints_another_secret_for_the_same_prefix(shared_database: Database) -> None:
    """Both work for the overlap."""
    old, record = create(shared_database, Wanted(name="x"), now(), actor="test")
    new = run(shared_database, "rotate", record.prefix, "--overlap", "10m").stdout.strip()
    assert prefix_of(new) == record.prefix
    ring = KeyRing(shared_database)
    ring.refresh()
    for key in (old, new):
        ring.authorise(key, Scope.READ)
    (stored,) = [one for one in listed(shared_database) if one.prefix == record.prefix]
    assert stored.previous_until is not None
    assert abs(stored.previous_until - now() - timedelta(minutes=10)) < timedelta(minutes=1)


def test_revoked_and_expired_keys_are_listed_as_such(shared_database: Database) -> None:
    """Whoever looks sees why a key is refused."""
    _, revoked = create(shared_database, Wanted(name="x"), now(), actor="test")
    soon = now() + timedelta(milliseconds=1)
    _, expired = create(shared_database, Wanted(name="x", expires_at=soon), now() - timedelta(hours=1), actor="test")
    assert run(shared_database, "revoke", revoked.prefix).exit_code == 0
    states: dict[str, Any] = {}
    for line in run(shared_database, "list").stdout.splitlines():
        states[line.split()[0]] = line.split()[1]
    assert (states[revoked.prefix], states[expired.prefix]) == ("revoked", "expired")
