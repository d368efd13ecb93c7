"""API keys: closed by default, one scope is not another, and changes take effect soon."""

import logging
import time
from datetime import datetime, timedelta
from typing import Any

import pytest

from app.auth import ALL_SCOPES, KeyRing, Scope, new_key, permit, prefix_of
from app.errors import NotAuthenticated, NotPermitted, TooManyRequests, Unavailable
from app.keys import Wanted, add_key, create, ensure_key, rotate
from app.store import keys
from app.store.database import Database
from tests.app.building import execute, now, query


def make(database: Database, *scopes: Scope, key: str | None = None) -> str:
    """A key that is stored, with these scopes or with all."""
    made = key or new_key()
    with database.transaction() as connection:
        assert add_key(connection, made, Wanted(name="test", scopes=scopes or ALL_SCOPES), actor="test")
    return made


@pytest.fixture
def ring(shared_database: Database) -> KeyRing:
    """A worker's keys, just read."""
    ring = KeyRing(shared_database)
    ring.refresh()
    return ring


def rested(ring: KeyRing) -> KeyRing:
    """The same ring, some time after it last read the keys."""
    ring._read_at = time.monotonic() - 1
    return ring


def test_a_key_is_known_by_its_public_prefix(shared_database: Database, ring: KeyRing) -> None:
    """Who acts is the key's prefix, which can stand in logs."""
    key = make(shared_database)
    assert rested(ring).authorise(key, Scope.ADMIN).prefix == key.partition(".")[0]


def test_a_key_may_do_what_its_scopes_say(shared_database: Database, ring: KeyRing) -> None:
    """For each set of one scope only that scope is allowed; the refusal names what is needed and what there is."""
    made = {scope: make(shared_database, scope) for scope in Scope}
    ring.refresh()
    for has, key in made.items():
        for needs in Scope:
            if has is needs:
                ring.authorise(key, needs)
            else:
                with pytest.raises(NotPermitted, match=f"scope {needs}.*{has}"):
                    ring.authorise(key, needs)


@pytest.mark.parametrize("key", [None, "", "nonsense", "ck_00000000.secret", ".", "a.", ".a", "\0", "é.è"])
def test_no_key_or_an_unknown_one_is_refused(ring: KeyRing, key: str | None) -> None:
    """Whatever is sent that is no key is refused in the same words."""
    with pytest.raises(NotAuthenticated):
        rested(ring).authorise(key, Scope.READ)


def test_the_whole_key_counts(shared_database: Database, ring: KeyRing) -> None:
    """The right prefix with another secret, a part of the key, or more than it, is not the key."""
    key = make(shared_database)
    ring.refresh()
    for wrong in (f"{prefix_of(key)}.guess", key[:-1], key + "x", prefix_of(key), key.upper()):
        with pytest.raises(NotAuthenticated, match="unknown, expired or revoked"):
            ring.authorise(wrong, Scope.READ)


def test_a_new_key_works_at_once(shared_database: Database, ring: KeyRing) -> None:
    """A key that was made since the last look is found without waiting for the next."""
    key = make(shared_database)
    rested(ring).authorise(key, Scope.DECIDE)


def test_strangers_cannot_make_a_worker_read_all_the_time(shared_database: Database, ring: KeyRing) -> None:
    """Unknown keys lead to a read of the database once in a while, not each time."""
    with pytest.raises(NotAuthenticated):
        rested(ring).authorise("unknown", Scope.READ)
    read_at = ring._read_at
    for n in range(20):
        with pytest.raises(NotAuthenticated):
            ring.authorise(f"unknown-{n}", Scope.READ)
    assert ring._read_at == read_at
    assert query(shared_database, "SELECT 1") == [(1,)]


def test_a_revoked_key_dies_with_the_next_refresh(shared_database: Database, ring: KeyRing) -> None:
    """Revoking says whether there was a key in force, and the ring forgets it when it reads again."""
    key = make(shared_database)
    ring.refresh()
    with shared_database.transaction() as connection:
        assert keys.revoke(connection, prefix_of(key))
        assert not keys.revoke(connection, prefix_of(key))
        assert not keys.revoke(connection, "unknown")
    ring.authorise(key, Scope.READ)
    ring.refresh()
    with pytest.raises(NotAuthenticated):
        ring.authorise(key, Scope.READ)


def test_a_key_expires_without_being_read_again(shared_database: Database, ring: KeyRing) -> None:
    """The moment of expiry ends a key in every worker, whether or not the database can be asked."""
    key = make(shared_database)
    expire = "UPDATE api_keys SET expires_at = :at WHERE prefix = :prefix"
    execute(shared_database, expire, at=now() + timedelta(seconds=0.3), prefix=prefix_of(key))
    ring.refresh()
    ring.authorise(key, Scope.READ)
    time.sleep(0.35)
    ring._read_at = time.monotonic()
    with pytest.raises(NotAuthenticated, match="expired"):
        ring.authorise(key, Scope.READ)


def test_known_keys_work_while_the_database_is_away(shared_database: Database, ring: KeyRing) -> None:
    """What was read goes on working; of an unknown key nobody can say anything now."""
    key = make(shared_database)
    ring.refresh()
    ring._database = Database("postgresql://user@/name?host=/nowhere")
    rested(ring).authorise(key, Scope.READ)
    with pytest.raises(Unavailable):
        rested(ring).authorise("unknown.key", Scope.READ)


def test_keys_that_are_made_differ_and_are_long(shared_database: Database) -> None:
    """256 bits of secret behind a prefix that can be found in a list."""
    made = {new_key() for _ in range(1000)}
    assert len({prefix_of(key) for key in made}) > 990
    for key in made:
        prefix, _, secret = key.partition(".")
        assert len(prefix) == 11
        assert len(secret) >= 43
    assert query(shared_database, "SELECT 1") == [(1,)]


def test_the_key_itself_is_nowhere_in_the_database(shared_database: Database) -> None:
    """Only a digest is stored: no row holds the secret."""
    key = make(shared_database)
    secret = key.partition(".")[2]
    rows = query(shared_database, "SELECT k::text, encode(digest, 'escape') FROM api_keys k")
    assert rows
    assert not any(secret in text for row in rows for text in row)


def test_a_key_is_stored_once(shared_database: Database) -> None:
    """The same key again, or another with its prefix, does not replace it."""
    key = make(shared_database, Scope.READ)
    with shared_database.transaction() as connection:
        assert add_key(connection, key, Wanted(name="again"), actor="test") is None
        assert add_key(connection, f"{prefix_of(key)}.other", Wanted(name="other"), actor="test") is None
        (record,) = [r for r in keys.every(connection) if r.prefix == prefix_of(key)]
    assert (record.name, record.scopes) == ("test", frozenset({"read"}))


@pytest.mark.parametrize("key", ["swordfish", "my.own.key", ".hidden", "ends.", "ck_short.x", "with spaces and é"])
def test_a_key_given_from_outside_works_whatever_it_looks_like(
    shared_database: Database, ring: KeyRing, key: str
) -> None:
    """A bootstrap key needs no form; making sure of it twice makes one key, with every scope."""
    ensure_key(shared_database, key)
    ensure_key(shared_database, key)
    for scope in Scope:
        rested(ring).authorise(key, scope)


def test_another_bootstrap_key_works_too(shared_database: Database, ring: KeyRing) -> None:
    """A deployment that replaces its key by another with the same beginning is not locked out."""
    for key in ("team.first", "team.second", "teams", "team"):
        ensure_key(shared_database, key)
        rested(ring).authorise(key, Scope.ADMIN)


def test_who_acts_never_gives_a_bootstrap_key_away(shared_database: Database, ring: KeyRing) -> None:
    """What stands in logs and the audit trail holds no part of a key that has no public prefix."""
    for key in ("correct horse battery", "eyJhbGciOiJIUzI1NiJ9.payload.signature"):
        ensure_key(shared_database, key)
        actor = rested(ring).authorise(key, Scope.ADMIN).prefix
        assert not any(part in actor for part in key.replace(".", " ").split())


def test_a_revoked_bootstrap_key_stays_revoked(shared_database: Database, ring: KeyRing) -> None:
    """A restart does not bring a key back that an operator has revoked."""
    ensure_key(shared_database, "revoke-me")
    actor = rested(ring).authorise("revoke-me", Scope.READ).prefix
    with shared_database.transaction() as connection:
        keys.revoke(connection, actor)
    ensure_key(shared_database, "revoke-me")
    ring.refresh()
    with pytest.raises(NotAuthenticated):
        ring.authorise("revoke-me", Scope.READ)


def test_keys_are_not_logged(shared_database: Database, ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    """Neither a good key nor a bad one reaches the log or the error."""
    key = make(shared_database, Scope.READ)
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(NotPermitted) as refused:
            rested(ring).authorise(key, Scope.ADMIN)
        with pytest.raises(NotAuthenticated) as unknown:
            ring.authorise(key + "x", Scope.ADMIN)
    assert key not in caplog.text + refused.value.detail + unknown.value.detail


def limited(database: Database, **wanted: Any) -> str:
    """A key with experiments or a rate."""
    key, _ = create(database, Wanted(name="test", **wanted), now(), actor="test")
    return key


def test_a_key_for_some_experiments_is_for_no_other(shared_database: Database, ring: KeyRing) -> None:
    """Nor for what is about no single one; a key without a list is for everything."""
    record = rested(ring).authorise(limited(shared_database, experiments=("a", "b")), Scope.DECIDE)
    permit(record, "a")
    for other in ("c", "", "a,b", None):
        with pytest.raises(NotPermitted, match="for a, b only"):
            permit(record, other)
    everything = rested(ring).authorise(make(shared_database), Scope.DECIDE)
    for experiment in ("a", "c", None):
        permit(everything, experiment)


def test_both_secrets_work_while_a_rotation_overlaps(shared_database: Database, ring: KeyRing) -> None:
    """The old one until its end; a second rotation ends it at once; the prefix, and so who acts, stays the same."""
    first = make(shared_database)
    second, record = rotate(shared_database, prefix_of(first), now(), overlap=timedelta(seconds=0.3), actor="test")
    ring.refresh()
    assert {ring.authorise(key, Scope.READ).prefix for key in (first, second)} == {record.prefix}
    time.sleep(0.35)
    ring.authorise(second, Scope.READ)
    with pytest.raises(NotAuthenticated):
        ring.authorise(first, Scope.READ)
    third, _ = rotate(shared_database, prefix_of(first), now(), overlap=timedelta(hours=1), actor="test")
    ring.refresh()
    for key in (second, third):
        ring.authorise(key, Scope.READ)
    rotate(shared_database, prefix_of(first), now(), overlap=timedelta(hours=1), actor="test")
    ring.refresh()
    with pytest.raises(NotAuthenticated):
        ring.authorise(second, Scope.READ)


def test_a_revoked_key_dies_with_both_its_secrets(shared_database: Database, ring: KeyRing) -> None:
    """An overlap keeps nothing alive that was revoked."""
    first = make(shared_database)
    second, record = rotate(shared_database, prefix_of(first), now(), overlap=timedelta(hours=1), actor="test")
    with shared_database.transaction() as connection:
        keys.revoke(connection, record.prefix)
    ring.refresh()
    for key in (first, second):
        with pytest.raises(NotAuthenticated):
            ring.authorise(key, Scope.READ)


def used_at(database: Database, key: str) -> datetime | None:
    """When it was used last, as it is stored."""
    moment: datetime | None
    ((moment,),) = query(database, "SELECT last_used_at FROM api_keys WHERE prefix = :p", p=prefix_of(key))
    return moment


def test_uses_are_noted_once_a_minute(shared_database: Database, ring: KeyRing) -> None:
    """The first at once, then true to a minute; keys that only failed were not used."""
    key, other = make(shared_database, Scope.READ), make(shared_database)
    ring.refresh()
    begin = now()
    ring.authorise(key, Scope.READ)
    with pytest.raises(NotAuthenticated):
        ring.authorise(other + "x", Scope.READ)
    ring.note_uses(begin)
    assert used_at(shared_database, key) == begin
    assert used_at(shared_database, other) is None
    for seconds, noted in ((10, 0), (59, 0), (61, 61)):
        ring.authorise(key, Scope.READ)
        ring.note_uses(begin + timedelta(seconds=seconds))
        assert used_at(shared_database, key) == begin + timedelta(seconds=noted)


def test_workers_do_not_repeat_each_others_notes(shared_database: Database, ring: KeyRing) -> None:
    """What another has noted just before, or is noting now, is left as it is and waited for by nobody."""
    key, busy = make(shared_database), make(shared_database)
    ring.refresh()
    begin = now()
    with shared_database.transaction() as connection:
        keys.note_uses(connection, [prefix_of(key)], begin)
    for one in (key, busy):
        ring.authorise(one, Scope.READ)
    with shared_database.transaction() as connection:
        keys.find(connection, prefix_of(busy))
        ring.note_uses(begin + timedelta(seconds=5))
    assert used_at(shared_database, key) == begin
    assert used_at(shared_database, busy) is None


def test_workers_share_the_rate_of_a_key(shared_database: Database) -> None:
    """Each of four lets a quarter through, and says in whole seconds when to come again; others wait for nothing."""
    key, free = limited(shared_database, rate_per_s=0.4), make(shared_database)
    ring = KeyRing(shared_database, workers=4)
    ring.refresh()
    ring.authorise(key, Scope.READ)
    with pytest.raises(TooManyRequests, match=r"0\.4 requests a second") as refused:
        ring.authorise(key, Scope.READ)
    assert refused.value.retry_after_s == 10
    for _ in range(100):
        ring.authorise(free, Scope.READ)
    assert list(ring._buckets) == [(prefix_of(key), 0.4)]
