"""Operators: passwords, sessions, and the limit on guessing."""

from contextlib import nullcontext
from datetime import timedelta

import pytest
from click.testing import CliRunner, Result

from app import operators
from app.console.command import operators_group
from app.errors import Conflict, InvalidInput, NotAuthenticated, TooManyRequests
from app.operators import SESSION_LASTS, Role
from app.store.database import Database
from tests.app.building import now

PASSWORD = "correct horse battery"


def enter(database: Database, name: str, password: str = PASSWORD, address: str = "192.0.2.1") -> str:
    """Logs in from some address."""
    return operators.log_in(database, name, password, address=address, now=now(), aside=lambda compute: compute())


def test_a_session_ends_by_time_log_out_and_another_password(database: Database) -> None:
    """Until then its token tells who it is."""
    operators.create(database, "ana", PASSWORD, Role.OPERATOR, actor="tests")
    first, second = enter(database, "ana"), enter(database, "ana")
    found = operators.operator_of(database, first, now())
    assert found is not None
    assert (found.name, found.role) == ("ana", Role.OPERATOR)
    assert operators.operator_of(database, first, now() + SESSION_LASTS) is None
    operators.log_out(database, first)
    assert operators.operator_of(database, first, now()) is None
    operators.set_password(database, "ana", PASSWORD[::-1], actor="tests")
    assert operators.operator_of(database, second, now()) is None
    assert operators.operator_of(database, "made up", now()) is None


def test_wrong_unknown_and_disabled_are_answered_alike(database: Database) -> None:
    """Nobody learns which names exist."""
    operators.create(database, "ana", PASSWORD, Role.VIEWER, actor="tests")
    operators.create(database, "bob", PASSWORD, Role.VIEWER, actor="tests")
    operators.disable(database, "bob", now(), actor="tests")
    for name, password in (("ana", "wrong horse battery"), ("eve", PASSWORD), ("bob", PASSWORD)):
        with pytest.raises(NotAuthenticated, match="Name or password is wrong"):
            enter(database, name, password)


def test_guessing_is_limited_by_name(database: Database) -> None:
    """After ten wrong attempts even the right password waits; others are not held up, nor is a later hour."""
    operators.create(database, "ana", PASSWORD, Role.VIEWER, actor="tests")
    operators.create(database, "bob", PASSWORD, Role.VIEWER, actor="tests")
    for _ in range(10):
        with pytest.raises(NotAuthenticated):
            enter(database, "ana", "wrong horse battery")
    with pytest.raises(TooManyRequests):
        enter(database, "ana")
    assert enter(database, "bob", address="192.0.2.2")
    later = now() + timedelta(minutes=16)
    assert operators.log_in(database, "ana", PASSWORD, address="", now=later, aside=lambda compute: compute())


def test_names_and_passwords_have_limits(database: Database) -> None:
    """What will not do is refused with the reason, and a name is taken once."""
    with pytest.raises(InvalidInput, match="12 to 256"):
        operators.create(database, "ana", "short", Role.VIEWER, actor="tests")
    with pytest.raises(InvalidInput, match="must be 1 to 64 of"):
        operators.create(database, "a b", PASSWORD, Role.VIEWER, actor="tests")
    operators.create(database, "ana", PASSWORD, Role.VIEWER, actor="tests")
    with pytest.raises(Conflict, match="exists"):
        operators.create(database, "ana", PASSWORD, Role.VIEWER, actor="tests")


def test_the_command_manages_operators(database: Database) -> None:
    """Create from a pipe, list, disable."""

    def run(*arguments: str, sent: str | None = None) -> Result:
        return CliRunner().invoke(operators_group, arguments, input=sent, obj=lambda: nullcontext(database))

    created = run("create", "ana", "--role", "operator", sent=PASSWORD + "\n")
    assert (created.exit_code, created.output) == (0, "ana may log in as operator\n")
    assert run("disable", "ana").exit_code == 0
    assert run("list").output.split()[:3] == ["ana", "operator", "disabled"]
