"""Cases on two model chains, each in a file: what passes from one asset to another needs both."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ledger.money import UNITS_BOUND
from tests.faults import chain_bitcoin
from tests.faults.chain_bitcoin import FIRST_BLOCKS, FakeOutside
from tests.faults.outside import Node, Outside, Receipt
from tests.faults.place import Place
from tests.faults.venue import FileVenue
from wallets.fake import FakeChain
from wallets.fake.addresses import MONERO_PREFIX, PREFIX, derive
from wallets.protocol import Output

#: Payees whose names begin so are on the other chain.
MONERO_NAMES = "xmr-"
#: Both coins are credited and final at the same depths, so that one word says when.
POLICY = {
    "BTC": {"payment_window_ms": 0, "address_watch_ahead": 100},
    "XMR": {
        "payment_window_ms": 0,
        "address_watch_ahead": 100,
        "deposit_tiers": [[UNITS_BOUND, 6]],
        "withdrawal_confirmations": 2,
    },
}
#: What the shop's server has heard.
HEARD = "heard.log"
#: What the exchange was sent.
ORDERS = "orders.log"
PRICES = {"BTC": "60000", "XMR": "150"}


def settings(place: Place) -> dict[str, Any]:
    return chain_bitcoin.settings(place) | {
        "chains": ("bitcoin", "monero"),
        "monero_daemon_url": f"fake:{_monero_file(place.path)}",
        "monero_daily_outflow_cap": "100000",
        "webhook_key": "7c" * 32,
        "webhook_allow": "127.0.0.1",
        "rates_fixed": ",".join(f"{code}={price}" for code, price in PRICES.items()),
    }


def outside(place: Place) -> Outside:
    return TradesOutside(place.path)


def _monero_file(case: Path) -> Path:
    return case / "monero.pickle"


class TradesNode(Node):
    """Two files among those of the case, and a shop's server that outlives every death and keeps what it hears."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Ear, folder / "case" / HEARD))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def urls(self) -> dict[str, str]:
        return {"hook": f"http://127.0.0.1:{self._server.server_port}/hook"}

    def make(self, case: Path) -> None:
        FakeChain(chain_bitcoin.chain_file(case)).mine(FIRST_BLOCKS)
        FakeChain(_monero_file(case), MONERO_PREFIX).mine(FIRST_BLOCKS)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Ear(BaseHTTPRequestHandler):
    """One line a message: its id and its body."""

    def __init__(self, log: Path, *request: Any) -> None:
        self._log = log
        super().__init__(*request)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with self._log.open("a") as log:
            log.write(f"{self.headers['webhook-id']} {body}\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name upstream
        """Not on our terminal."""


class MoneroFile(FakeOutside):
    """The other model chain."""

    wallet = "coffer-xmr"

    def __init__(self, path: Path) -> None:
        self.chain = FakeChain(path, MONERO_PREFIX)

    def payee(self, name: str) -> str:
        return derive(f"payee/{name}", MONERO_PREFIX)


class TradesOutside(Outside):
    """Both chains at once: addresses and names say which one is meant, blocks come on both."""

    def __init__(self, case: Path) -> None:
        self.bitcoin = FakeOutside(chain_bitcoin.chain_file(case))
        self.monero = MoneroFile(_monero_file(case))
        self._both = (self.bitcoin, self.monero)
        self._heard = case / HEARD
        self._venue = FileVenue(case / ORDERS)

    def _of(self, address: str) -> FakeOutside:
        return self.bitcoin if address.startswith(PREFIX) else self.monero

    def payee(self, name: str) -> str:
        return (self.monero if name.startswith(MONERO_NAMES) else self.bitcoin).payee(name)

    def pay(self, outputs: Sequence[Output], token: str | None = None) -> str:
        (chain,) = {self._of(output.address) for output in outputs}
        return chain.pay(outputs)

    def mine(self, blocks: int) -> None:
        for chain in self._both:
            chain.mine(blocks)

    def reorg(self, depth: int, *, double_spent: Sequence[str] = ()) -> None:
        """On the chain that has the transactions; Bitcoin's if none is named."""
        self._with(double_spent).reorg(depth, double_spent=double_spent)

    def _with(self, txids: Sequence[str]) -> FakeOutside:
        with self.monero.chain.state() as s:
            return self.monero if txids and all(txid in s.txs for txid in txids) else self.bitcoin

    def empty_pool(self) -> None:
        for chain in self._both:
            chain.empty_pool()

    def set_rate(self, rate: int | None) -> None:
        self.bitcoin.set_rate(rate)

    def paid_to(self, address: str, token: str | None = None) -> list[int]:
        return self._of(address).paid_to(address)

    def receipts(self) -> list[Receipt]:
        return [receipt for chain in self._both for receipt in chain.receipts()]

    def ordered(self) -> list[str]:
        return [order["client"] for order in self._venue.orders()]

    def heard(self) -> dict[str, str]:
        """Id -> type of each event that the shop's server was told, in the order of their first arrival."""
        lines = self._heard.read_text().splitlines() if self._heard.exists() else []
        found: dict[str, str] = {}
        for line in lines:
            key, _, body = line.partition(" ")
            found.setdefault(key, str(json.loads(body)["type"]))
        return found
