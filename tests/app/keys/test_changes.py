"""Making, rotating and revoking keys: each change is in the audit log, and no secret is."""

from datetime import timedelta
from typing import Any

import pytest

from app.auth import KeyRing, Scope, prefix_of
from app.errors import Conflict, InvalidInput, NotFound
from app.keys import Wanted, create, ensure_key, listed, revoke, rotate
from app.store.database import Database
from tests.app.building import now, query


def audited(database: Database, prefix: str) -> list[Any]:
    """What the audit log says of a key."""
    text = "SELECT actor, action, after FROM audit_log WHERE subject = :subject ORDER BY id"
    return [tuple(row) for row in query(database, text, subject=f"key:{prefix}")]


def test_every_change_is_audited_without_a_secret(shared_database: Database) -> None:
    """Who made, rotated and revoked it, and what it may; neither secret nor digest."""
    begin = now()
    wanted = Wanted(name="browser", scopes=(Scope.REWARD, Scope.DECIDE), experiments=("home",), rate_per_s=50)
    key, record = create(shared_database, wanted, begin, actor="ck_admin")
    again, _ = rotate(shared_database, record.prefix, begin, overlap=timedelta(hours=1), actor="cli")
    revoke(shared_database, record.prefix, actor="ck_other")
    found = audited(shared_database, record.prefix)
    assert [entry[:2] for entry in found] == [("ck_admin", "create"), ("cli", "rotate"), ("ck_other", "revoke")]
    assert found[0][2] == {
        "name": "browser",
        "scopes": ["decide", "reward"],
        "experiments": ["home"],
        "rate_per_s": 50,
        "expires_at": None,
    }
    assert found[1][2] == {"previous_until": (begin + timedelta(hours=1)).isoformat()}
    for secret in (key, again):
        assert secret.partition(".")[2] not in str(query(shared_database, "SELECT a::text FROM audit_log a"))


def test_what_is_stored_of_a_key_is_what_was_wanted(shared_database: Database) -> None:
    """Scopes, experiments, rate and expiry."""
    end = now() + timedelta(days=90)
    wanted = Wanted(name="x", scopes=(Scope.READ,), experiments=("b", "a"), rate_per_s=2.5, expires_at=end)
    _, record = create(shared_database, wanted, now(), actor="test")
    (same,) = [one for one in listed(shared_database) if one.prefix == record.prefix]
    assert same == record
    assert same.scopes == frozenset({"read"})
    assert (same.experiments, same.rate_per_s, same.expires_at) == (("a", "b"), 2.5, end)
    assert (same.revoked_at, same.last_used_at, same.previous_until) == (None, None, None)


def test_a_key_that_has_expired_already_is_not_made(shared_database: Database) -> None:
    """It could only be a mistake; nothing is stored or audited."""
    before = len(listed(shared_database))
    with pytest.raises(InvalidInput, match="in the past"):
        create(shared_database, Wanted(name="x", expires_at=now()), now(), actor="test")
    assert len(listed(shared_database)) == before


def test_only_a_key_in_force_is_rotated_or_revoked(shared_database: Database) -> None:
    """Neither an unknown one, nor one that was revoked or has expired."""
    begin, hour = now(), timedelta(hours=1)
    _, revoked = create(shared_database, Wanted(name="x"), begin, actor="test")
    revoke(shared_database, revoked.prefix, actor="test")
    _, expired = create(shared_database, Wanted(name="x", expires_at=begin + hour), begin, actor="test")
    for prefix in (revoked.prefix, expired.prefix, "ck_00000000"):
        with pytest.raises(NotFound, match=prefix):
            rotate(shared_database, prefix, begin + hour, overlap=hour, actor="test")
    for prefix in (revoked.prefix, "ck_00000000", "'; --"):
        with pytest.raises(NotFound):
            revoke(shared_database, prefix, actor="test")


def test_a_key_from_outside_is_not_rotated(shared_database: Database) -> None:
    """Its secret is all there is of it, so another secret is another key; it can be revoked."""
    ensure_key(shared_database, "swordfish")
    prefix = prefix_of("swordfish")
    with pytest.raises(Conflict, match="make another one"):
        rotate(shared_database, prefix, now(), overlap=timedelta(0), actor="test")
    revoke(shared_database, prefix, actor="test")
    assert [entry[1] for entry in audited(shared_database, prefix)] == ["create", "revoke"]


def test_making_sure_of_a_key_is_audited_once(shared_database: Database) -> None:
    """A restart that finds the key there has changed nothing."""
    for _ in range(3):
        ensure_key(shared_database, "every-start")
    assert len(audited(shared_database, prefix_of("every-start"))) == 1


def test_a_rotation_without_overlap_ends_the_old_secret_at_once(shared_database: Database) -> None:
    """As after a leak."""
    old, record = create(shared_database, Wanted(name="x"), now(), actor="test")
    new, _ = rotate(shared_database, record.prefix, now(), overlap=timedelta(0), actor="test")
    ring = KeyRing(shared_database)
    ring.refresh()
    assert ring._known(old) is None
    assert ring._known(new) is not None
