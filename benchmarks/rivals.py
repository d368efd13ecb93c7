"""What the service is measured against, in the same gunicorn with the same kind of worker.

`bare` answers from an empty Flask view; `obvious` is the service one would write in an afternoon: a draw, one INSERT,
one COMMIT a request.
"""

import os
import random

import psycopg2
from flask import Flask, Response, jsonify, request
from psycopg2.pool import ThreadedConnectionPool

from app.web.wsgi import wait_with_gevent

bare = Flask("bare")
obvious = Flask("obvious")
_pools: list[ThreadedConnectionPool] = []


@bare.post("/v1/recommendations")
def answer_at_once() -> Response:
    """An empty view: reads the body, answers JSON."""
    request.get_data()
    return jsonify(status="ok")


@bare.get("/alive")
@obvious.get("/alive")
def alive() -> Response:
    """For the benchmark to know when they are up."""
    return jsonify(status="alive")


@obvious.post("/v1/recommendations")
def answer_after_an_insert() -> Response:
    """Draws an arm, inserts a row, commits, answers."""
    wanted = request.get_json()
    arm = random.choice("ab")
    connection = _pool().getconn()
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO obvious_decisions (experiment, unit, arm, propensity)"
                " VALUES (%s, %s, %s, %s) RETURNING id",
                (wanted["experiment"], wanted["unit"], arm, 0.5),
            )
            (decision_id,) = cursor.fetchone() or (None,)
    finally:
        _pool().putconn(connection)
    return jsonify(decision_id=decision_id, arm=arm, items=[str(i) for i in range(10)])


def _pool() -> ThreadedConnectionPool:
    if not _pools:
        psycopg2.extensions.set_wait_callback(wait_with_gevent)
        _pools.append(ThreadedConnectionPool(1, 200, os.environ["DATABASE_URL"]))
    return _pools[0]
