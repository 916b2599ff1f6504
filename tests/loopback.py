"""A web server on the loopback interface that acts as working and failing mirrors, so that tests need no network."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import threading
import time


class Loopback:
    """Mirrors that serve the same files, one for each kind of behaviour.

    `files` maps the name of each file to its content. `mirror(kind)` is the URL of a mirror, and `requests[kind]` is
    the number of its requests. The kinds are:

    - good: serves the file;
    - html: serves a web page instead of the file;
    - half: announces the whole file, and closes the connection after half of it;
    - short: serves half of the file as if it were the whole file;
    - silence: accepts the request and never answers;
    - stall: serves half of the file, then sends nothing more;
    - slow: serves the file in small pieces;
    - any HTTP status, such as "404".
    """

    def __init__(self, address: str, files: Mapping[str, bytes]) -> None:
        self.address = address
        self.files = files
        self.requests: Counter[str] = Counter()
        self.closing = threading.Event()

    def mirror(self, kind: str) -> str:
        """Return the URL of the mirror of this kind."""
        return f"{self.address}/{kind}/"


class Server(ThreadingHTTPServer):
    """The server of the mirrors, on a free port."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.loopback = Loopback(f"http://127.0.0.1:{self.server_address[1]}", files)

    def handle_error(self, request: object, client_address: object) -> None:
        """Print nothing: in some tests the client closes the connection early."""


class Handler(BaseHTTPRequestHandler):
    """One request to a mirror."""

    server: Server

    def do_GET(self) -> None:
        loopback = self.server.loopback
        kind, _, name = self.path.strip("/").partition("/")
        loopback.requests[kind] += 1
        body = loopback.files[name]
        if kind == "silence":
            loopback.closing.wait()
        elif kind == "html":
            self.answer(b"<!DOCTYPE html><html><body>Please log in.</body></html>")
        elif kind == "half":
            self.answer(body[: len(body) // 2], length=len(body))
        elif kind == "short":
            self.answer(body[: len(body) // 2])
        elif kind == "stall":
            self.answer(body[: len(body) // 2], length=len(body))
            loopback.closing.wait()
        elif kind == "slow":
            self.answer(b"", length=len(body))
            for start in range(0, len(body), len(body) // 8):
                time.sleep(0.1)
                self.wfile.write(body[start : start + len(body) // 8])
        elif kind == "good":
            self.answer(body)
        else:
            self.send_error(int(kind))

    def answer(self, body: bytes, length: int | None = None) -> None:
        """Send a body, and announce `length` as its length, or by default its actual length."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Loopback]:
    """Serve files, a mapping of names to contents, while the block runs."""
    server = Server(files)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.loopback
    finally:
        server.loopback.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
