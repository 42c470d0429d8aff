"""An OpenAI-compatible server of one function, and fixtures of it for the tests that ask one."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest


class Server:
    """An HTTP server of one function, reply(path, body) -> (status, headers, bytes or JSON).

    seen: the questions, [(path, body, headers)]; looked: the same of requests without a body, such as for its models.
    A function that takes no such request has the server answer it with 404.  most: questions at a time.
    """

    def __init__(self, reply):
        self.seen, self.looked, self.now, self.most = [], [], 0, 0
        lock = threading.Lock()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or "null")
                with lock:
                    requests = server.looked if body is None else server.seen
                    requests.append((self.path, body, dict(self.headers)))
                    server.now += body is not None
                    server.most = max(server.most, server.now)
                try:
                    status, headers, content = reply(self.path, body)
                except TypeError:  # it looked into the body
                    if body is not None:
                        raise
                    status, headers, content = 404, {}, {}
                finally:
                    with lock:
                        server.now -= body is not None
                if status is None:  # cut the connection
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                content = content if isinstance(content, bytes) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def serve():
    servers = []

    def start(reply):
        servers.append(Server(reply))
        return servers[-1]

    yield start
    for server in servers:
        server.http.shutdown()
        server.http.server_close()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    """Pauses are noted, not slept."""
    pauses = []
    monkeypatch.setattr("llm.server.time", SimpleNamespace(sleep=pauses.append))
    return pauses


def said(text, reason="stop"):
    return 200, {}, {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": reason}]}


def listed(**logprobs):
    """A reply that lists these tokens with their log-probabilities, as mode score asks for."""
    tokens = [{"token": token, "logprob": logprob} for token, logprob in logprobs.items()]
    content = {"content": [{"top_logprobs": tokens}]}
    return 200, {}, {"choices": [{"message": {"content": ""}, "logprobs": content}]}
