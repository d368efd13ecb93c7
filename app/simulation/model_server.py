"""The model server behind the arm `model`: a real one, on a port of its own, that can be down on time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

from app.simulation.arms import ModelRanking

__all__ = ["model_server"]


@contextmanager
def model_server(ranking: ModelRanking, down: Callable[[], bool], host: str) -> Iterator[str]:
    """Serve the ranking until the end; yields the URL. While `down` is true every answer is a 500."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            question = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
            items = ranking(question["unit"], question["k"])
            self._answer(500, {}) if down() else self._answer(200, {"items": items})

        def _answer(self, status: int, content: object) -> None:
            body = msgspec.json.encode(content)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - the library's signature
            """Say nothing: the progress display has the terminal."""

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="model server", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}/rank"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
