"""How a web worker waits for the database."""

import socket
import time
from collections.abc import Iterator

import psycopg2
import psycopg2.extensions
import pytest

from app.store.database import is_away
from app.web import wsgi


@pytest.fixture
def green() -> Iterator[None]:
    """psycopg2 as in a web worker."""
    psycopg2.extensions.set_wait_callback(wsgi.wait_with_gevent)
    yield
    psycopg2.extensions.set_wait_callback(None)


@pytest.mark.usefixtures("green")
def test_a_database_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and then hangs is "away" after the patience of a worker, not a wait without end."""
    monkeypatch.setattr(wsgi, "_PATIENCE_S", 0.2)
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()
        started = time.monotonic()
        with pytest.raises(psycopg2.OperationalError, match="nothing came") as caught:
            psycopg2.connect(host="127.0.0.1", port=hanging.getsockname()[1], dbname="x", user="x")
    assert 0.2 <= time.monotonic() - started < 2
    assert is_away(caught.value)


@pytest.mark.usefixtures("green")
def test_a_statement_that_hangs_is_given_up_with_its_connection(
    server_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a statement was given up nobody knows what the connection is at, so it is closed."""
    connection = psycopg2.connect(server_url.replace("postgresql+psycopg2", "postgresql"))
    monkeypatch.setattr(wsgi, "_PATIENCE_S", 0.2)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchall() == [(1,)]
        with pytest.raises(psycopg2.OperationalError, match="nothing came"):
            cursor.execute("SELECT pg_sleep(5)")
    assert connection.closed
