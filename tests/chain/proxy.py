"""A proxy before a node that drops and delays connections, for one process of agents."""

import http.client
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Faults:
    """Every `before`-th request is dropped unseen; of every `after`-th, done as it is, the answer is."""

    def __init__(self, before: int, after: int, delay: float = 0.0):
        self.before, self.after, self.delay = before, after, delay
        self.requests = self.dropped = 0
        self._lock = threading.Lock()

    def next(self) -> tuple[bool, bool]:
        with self._lock:
            self.requests += 1
            lost = self.requests % self.before == 0, self.requests % self.after == 0
            self.dropped += any(lost)
            return lost


@contextmanager
def flaky(url: str, faults: Faults):
    """The address of the proxy."""
    target = urlsplit(url).netloc

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            before, after = faults.next()
            time.sleep(faults.delay)
            if before:
                return self._drop()
            node = http.client.HTTPConnection(target)
            node.request("POST", "/", body, {"Content-Type": "application/json"})
            answer = node.getresponse().read()
            node.close()
            if after:
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
