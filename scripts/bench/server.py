"""A Weir server on a filled folder, pinned to a core, and the thinnest HTTP client that can ask it."""
import json
import pathlib
import socket
import subprocess
import time
import urllib.parse

HEADERS_END = b"\r\n\r\n"


def pinned(core, *command):
    """A command on these cores that the kernel kills when this process is gone."""
    return ["taskset", "-c", str(core), "setpriv", "--pdeathsig", "KILL", *map(str, command)]


class Server:
    """Runs until `close`, or until the block it is used in ends."""

    def __init__(self, binary, folder, core, flags=()):
        self.log = pathlib.Path(folder) / "weir.log"
        command = pinned(core, binary, "serve", "--listen", "127.0.0.1:0",
                         "--data-dir", pathlib.Path(folder) / "weir-data", *flags)
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=log, env={"PATH": "/usr/bin:/bin", "NO_COLOR": "1"})
        self.port = self._wait_for_address()
        self.http = Http(self.port)
        while self.http.get("/healthz/ready")[0] != 200:
            time.sleep(0.05)

    def _wait_for_address(self):
        words = "listening on http://127.0.0.1:"
        while True:
            text = self.log.read_text()
            if words in text and "\n" in text.split(words, 1)[1]:
                return int("".join(c for c in text.split(words, 1)[1].split("\n")[0] if c.isdigit()))
            if self.process.poll() is not None:
                raise SystemExit(f"the server does not start:\n{text}")
            time.sleep(0.05)

    def close(self):
        self.process.terminate()
        if self.process.wait(timeout=120) != 0:
            raise SystemExit(f"the server did not stop well:\n{self.log.read_text()[-2000:]}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Http:
    """One keep-alive connection. A library's overhead would be a good part of what is measured."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def get(self, path):
        """Status, headers and body."""
        self.socket.sendall(f"GET {path} HTTP/1.1\r\nhost: weir\r\n\r\n".encode())
        head, body = self._until_headers_end()
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        chunks, missing = [body], int(headers.get("content-length", 0)) - len(body)
        while missing > 0:
            chunks.append(self.socket.recv(1 << 20))
            if not chunks[-1]:
                raise SystemExit("the server closed the connection")
            missing -= len(chunks[-1])
        return int(lines[0].split()[1]), headers, b"".join(chunks)

    def _until_headers_end(self):
        data = b""
        while HEADERS_END not in data:
            more = self.socket.recv(1 << 16)
            if not more:
                raise SystemExit("the server closed the connection")
            data += more
        return data.split(HEADERS_END, 1)


class Weir:
    """Asks a server the questions of `questions.py`."""

    name = "Weir over HTTP"

    def __init__(self, server):
        self.http = server.http

    def ask(self, question):
        """Seconds until the last byte, and the answer as in `questions.py`."""
        path = question.path()
        begin = time.perf_counter()
        status, headers, body = self.http.get(path)
        seconds = time.perf_counter() - begin
        if status != 200:
            raise SystemExit(f"{path} was answered {status}: {body[:500]}")
        self.read = headers.get("weir-read", "")
        rows = json.loads(body)["data"]
        answer = {(row["windowStart"][:13], *(row["groupBy"][key] for key in question.group_by)): row["value"]
                  for row in rows}
        if any(value != int(value) for value in answer.values()):
            raise SystemExit("tokens are whole numbers")
        return seconds, {key: int(value) for key, value in answer.items()}


def query_path(meter, **parameters):
    return f"/api/v1/meters/{meter}/query?" + urllib.parse.urlencode(parameters, doseq=True)
