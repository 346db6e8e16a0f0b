"""A shop that keeps asking, as shops do: it repeats a call with the same key until it gets an answer."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from embit import bech32

#: A shop gives up on a call after this long; nothing may take that long once the cause is gone.
PATIENCE_SECONDS = 120
_numbers = itertools.count(1)


class Shop:
    """HTTP calls with one key. Answers are (status, body); connection errors, 429 and 5xx are retried."""

    def __init__(self, api_url: str, key: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._at = urlsplit(api_url).netloc
        self._key = key
        self._patience_seconds = patience_seconds

    def post(self, path: str, body: dict[str, Any], key: str | None = None) -> tuple[int, dict[str, Any]]:
        return self._patiently("POST", path, body, key or uuid.uuid4().hex)

    def get(self, path: str) -> tuple[int, dict[str, Any]]:
        return self._patiently("GET", path, None, None)

    def ready_address(self, account: str, asset: str) -> str:
        """A new address of the account, once it may be shown."""
        _, made = self.post(f"/accounts/{account}/addresses", {"asset": asset})
        deadline = time.monotonic() + self._patience_seconds
        while made["status"] != "ready":
            assert time.monotonic() < deadline, made
            time.sleep(0.1)
            _, made = self.get(f"/addresses/{made['id']}")
        return str(made["address"])

    def available(self, account: str) -> dict[str, str]:
        """What the account may spend, by asset; assets it never had are left out."""
        _, found = self.get(f"/accounts/{account}/balances")
        return {line["asset"]: line["available"]["amount"] for line in found["data"]}

    def _patiently(self, method: str, path: str, body: Any, key: str | None) -> tuple[int, dict[str, Any]]:
        deadline = time.monotonic() + self._patience_seconds
        while True:
            try:
                status, answer = self._once(method, path, body, key)
                if status < 500 and status != 429:
                    return status, answer
            except (OSError, http.client.HTTPException, ValueError) as error:
                status, answer = 0, {"error": repr(error)}
            assert time.monotonic() < deadline, f"{method} {path}: {status} {answer}"
            time.sleep(0.2)

    def _once(self, method: str, path: str, body: Any, key: str | None) -> tuple[int, dict[str, Any]]:
        headers = {"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"}
        if key is not None:
            headers["Idempotency-Key"] = key
        connection = http.client.HTTPConnection(self._at, timeout=20)
        try:
            connection.request(method, f"/v1{path}", None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def nobodys_address(salt: str) -> str:
    """A regtest address whose coins stay where they are and can be counted."""
    return str(bech32.encode("bcrt", 0, sha256(f"{salt}/{next(_numbers)}".encode()).digest()[:20]))


class Traffic:
    """Clients that ask for withdrawals one after another until told to stop; each remembers what it was promised.

    `payee` gives an address that nothing was ever paid to.
    """

    def __init__(
        self,
        shop: Shop,
        account: str,
        amount: str,
        clients: int,
        *,
        asset: str = "BTC",
        payee: Callable[[], str] | None = None,
        pause_seconds: float = 0.1,
    ) -> None:
        self.asset = asset
        self.promised: dict[str, str] = {}  #: payee -> withdrawal id
        self.failures: list[BaseException] = []
        self._shop, self._account, self._amount = shop, account, amount
        self._payee = payee or (lambda: nobodys_address(account))
        self._pause_seconds = pause_seconds
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    @property
    def stopped(self) -> bool:
        return self._stop.is_set()

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS + 30)
            assert not thread.is_alive()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._withdraw()
                self._stop.wait(self._pause_seconds)
        except BaseException as error:  # noqa: BLE001  # told to the test, which fails on it
            self.failures.append(error)

    def _withdraw(self) -> None:
        payee, reference = self._payee(), uuid.uuid4().hex
        order = {"account": self._account, "asset": self.asset, "amount": self._amount, "address": payee}
        status, answer = self._shop.post("/withdrawals", order | {"reference": reference}, key=reference)
        assert status == 202, (status, answer)
        self.promised[payee] = answer["id"]
