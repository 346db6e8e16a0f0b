"""New heads wake whoever listens; a node that went away is listened to again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from devstack.anvil import Anvil
from wallets.ethereum import push


class Listening:
    def __init__(self, url: str) -> None:
        self.woken = 0
        self.stop = threading.Event()
        self.thread = threading.Thread(target=push.listen, args=(url, self._wake, self.stop), daemon=True)
        self.thread.start()

    def _wake(self) -> None:
        self.woken += 1

    def wait_for(self, condition: Callable[[], bool], what: str, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < until, f"waited {seconds} s for {what}"
            time.sleep(0.02)


@pytest.fixture
def start() -> Iterator[Callable[[str], Listening]]:
    made: list[Listening] = []

    def make(url: str) -> Listening:
        made.append(Listening(url))
        return made[-1]

    yield make
    for each in made:
        each.stop.set()
        each.thread.join(15)
        assert not each.thread.is_alive()


def test_every_new_block_wakes(make_anvil: Callable[..., Anvil], start: Callable[[str], Listening]) -> None:
    node = make_anvil()
    heard = start(node.url.replace("http", "ws"))
    heard.wait_for(lambda: heard.woken == 1, "the connection")
    for number in range(2, 5):
        node.mine(1)
        heard.wait_for(lambda n=number: heard.woken >= n, f"wake-up {number}")  # type: ignore[misc]


def test_a_node_that_comes_back_is_heard_again(
    make_anvil: Callable[..., Anvil], start: Callable[[str], Listening], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(push, "_AGAIN_SECONDS", 0.1)
    node = make_anvil()
    heard = start(node.url.replace("http", "ws"))
    heard.wait_for(lambda: heard.woken == 1, "the connection")
    node.stop()
    before = heard.woken
    node.start()
    heard.wait_for(lambda: heard.woken > before, "the connection to stand again")
    known = heard.woken
    node.mine(1)
    heard.wait_for(lambda: heard.woken > known, "a block")


def test_nobody_at_the_other_end_ends_nothing(
    start: Callable[[str], Listening], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(push, "_AGAIN_SECONDS", 0.01)
    heard = start("ws://user:hunter22@127.0.0.1:1")
    heard.wait_for(lambda: "noticed by polling" in caplog.text, "the warning")
    assert heard.thread.is_alive()
    assert heard.woken == 0
    assert "hunter22" not in caplog.text
