"""A proxy before a node that drops, delays and reorders requests, for one process of agents."""

import http.client
import threading
import time
from contextlib import contextmanager
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Fault(Enum):
    """What becomes of a request whose sender sees the connection drop."""

    LOST = "it never arrives"
    UNANSWERED = "it is done, and its answer is lost"
    LATE = "it arrives after a later one, when its sender has repeated it already"


class Faults:
    """Every `before`-th request is lost, and the answer of every `after`-th; every `late`-th transaction is late."""

    def __init__(self, before: int = 0, after: int = 0, late: int = 0, delay: float = 0.0):
        self.before, self.after, self.late, self.delay = before, after, late, delay
        self.requests = self.transactions = self.dropped = self.overtaken = 0
        self._held: list[bytes] = []
        self._lock = threading.Lock()

    def next(self, body: bytes) -> Fault | None:
        with self._lock:
            fault = self._of(body)
            self.dropped += fault is not None
            if fault is Fault.LATE:
                self._held.append(body)
            return fault

    def _of(self, body: bytes) -> Fault | None:
        self.requests += 1
        is_transaction = b"eth_sendRawTransaction" in body
        self.transactions += is_transaction
        if _is_multiple(self.requests, self.before):
            return Fault.LOST
        if _is_multiple(self.requests, self.after):
            return Fault.UNANSWERED
        return Fault.LATE if is_transaction and _is_multiple(self.transactions, self.late) else None

    def overtaken_by(self, body: bytes) -> list[bytes]:
        """What was held until this request had passed, which repeats none of it."""
        with self._lock:
            late = [held for held in self._held if held != body]
            self._held = [held for held in self._held if held == body]
            self.overtaken += len(late)
            return late


def _is_multiple(count: int, of: int) -> bool:
    return of > 0 and count % of == 0


@contextmanager
def flaky(url: str, faults: Faults):
    """The address of the proxy."""
    target = urlsplit(url).netloc

    def forward(body: bytes) -> bytes:
        node = http.client.HTTPConnection(target)
        node.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = node.getresponse().read()
        node.close()
        return answer

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            fault = faults.next(body)
            time.sleep(faults.delay)
            if fault in (Fault.LOST, Fault.LATE):
                return self._drop()
            answer = forward(body)
            for late in faults.overtaken_by(body):
                forward(late)
            if fault is Fault.UNANSWERED:
                return self._drop()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def _drop(self):
            self.close_connection = True
            self.connection.close()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
