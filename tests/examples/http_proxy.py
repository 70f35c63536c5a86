"""An HTTP proxy between an example and the real BFF, which can answer as proxies do while the BFF is away."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

Answer = tuple[int, str, str]
"""The status, the content type and the content of a response."""

Failures = Mapping[str, Sequence[Answer]]
"""The answers to the first requests of a path, by the end of that path. Later requests reach the BFF."""


@contextmanager
def http_proxy(url: str, failures: Failures) -> Iterator[str]:
    """Serve in front of the BFF at this URL, until the end of the block; yield the URL of the proxy."""
    left = {path: [*answers] for path, answers in failures.items()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            failing = [answers for path, answers in left.items() if urlsplit(self.path).path.endswith(path) and answers]
            status, content_type, content = failing[0].pop(0) if failing else self.forward()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content.encode())))
            self.end_headers()
            self.wfile.write(content.encode())

        do_POST = do_GET

        def forward(self) -> Answer:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name: self.headers[name] for name in ("Authorization", "Content-Type") if name in self.headers}
            connection = HTTPConnection(urlsplit(url).netloc)
            connection.request(self.command, self.path, body, headers)
            response = connection.getresponse()
            content = response.read().decode()
            connection.close()
            return response.status, response.headers.get("Content-Type", ""), content

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
