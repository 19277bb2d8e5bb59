"""A store on S3 whose server loses answers, is slow, and refuses writes: nothing is lost, doubled or half there."""

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import fsspec
import pytest

from harness.store.backends import _url
from harness.store.layout import Ref
from harness.store.store import Store
from settings.errors import UserError

SEEDS = range(int(os.environ.get("SEEDBED_FUZZ_CASES", "120")) // 60)
FAULTY = 0.2
TRIES = 30
Machine = Callable[[str], None]


class Faults:
    """What happens to requests on their way, at random."""

    def __init__(self, target: str) -> None:
        self.target = target
        self.rng = random.Random()
        self.share = 0.0
        self.told: list[str] = []

    def next(self, is_write: bool) -> str:
        if self.rng.random() >= self.share:
            return ""
        self.told.append(self.rng.choice(["lost", "slow", "refused" if is_write else "slow"]))
        return self.told[-1]


@pytest.fixture(scope="module")
def faults(bucket: str) -> Iterator[Faults]:
    """A server in front of the bucket's; what asks for the bucket asks there from now on."""
    faults = Faults(os.environ["AWS_ENDPOINT_URL"])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faults.next(self.command in ("PUT", "POST", "DELETE"))
            if fault == "slow":
                time.sleep(0.3)
            if fault == "refused":
                self.send_error(503, "SlowDown")
                return
            connection = HTTPConnection(urlsplit(faults.target).netloc)
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if fault == "lost":
                # Done on the other side, and nobody hears of it.
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server"):
                    self.send_header(name, value)
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self.send_header("Content-Length", length or str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        patch.setenv("AWS_MAX_ATTEMPTS", "2")
        connect_anew()
        yield faults
    connect_anew()
    server.shutdown()
    server.server_close()


def connect_anew() -> None:
    """Forget connections: they stay with the server that they were made to, whatever the environment says now."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    _url._url_backend.cache_clear()


def insist(work: Callable[[], Any]) -> Any:
    """What the work gives in the end; whatever it raises before is told in one line, as a user may see it."""
    for _ in range(TRIES):
        try:
            return work()
        except (OSError, UserError) as error:
            assert "\n" not in str(error) and str(error)
    raise AssertionError("it never works")


@pytest.mark.parametrize("seed", SEEDS)
def test_artefacts_are_published_once_and_whole(
    seed: int, bucket: str, faults: Faults, machine: Machine, tmp_path: Path
) -> None:
    faults.rng.seed(seed)
    store = Store.at(f"{bucket}/faulty-{seed}").create()
    faults.share = FAULTY
    refs = [Ref("features", f"{number:064x}") for number in range(4)]
    content = {ref: os.urandom(2000) for ref in refs}

    def make(ref: Ref) -> None:
        if store.present([ref]):
            return
        attempt = store.attempt(ref)
        attempt.path("f").write_bytes(content[ref])
        store.publish(attempt)

    for ref in refs:
        insist(lambda ref=ref: make(ref))
    machine("another")
    other = Store.at(f"{bucket}/faulty-{seed}")
    for ref in refs:
        artefact = insist(lambda ref=ref: other.open(ref))
        assert artefact.path("f").read_bytes() == content[ref]
    assert insist(lambda: other.keys("features")) == [ref.key for ref in refs]
    faults.share = 0.0
    for ref in refs:
        other.verify(ref)
    assert faults.told, "nothing happened to any request"
