"""A web server on loopback that plays good and bad mirrors, so that no test needs a network."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import threading
import time


class Loopback:
    """
    Mirrors of `files` (name -> content) at `mirror(kind)`; `requests[kind]` counts what each was asked for.

    Kinds: good, html, half (breaks off), short (half a file that says it is whole), silence (accepts and never
    answers), stall (half a file, then silence), slow (a file in small pieces), and any HTTP status as in "404".
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.requests: Counter[str] = Counter()
        self.closing = threading.Event()

    def mirror(self, kind: str) -> str:
        return f"{self.address}/{kind}/"


@contextmanager
def serve(files: Mapping[str, bytes]) -> Iterator[Loopback]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            loopback.requests[kind] += 1
            body = files[name]
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
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) if length is None else length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 64

        def handle_error(self, request: object, client_address: object) -> None:
            pass  # a client that walks away is part of the play

    server = Server(("127.0.0.1", 0), Handler)
    loopback = Loopback(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield loopback
    finally:
        loopback.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
