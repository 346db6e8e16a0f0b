"""The real stack with three chains and a token, under traffic in all of them, while each process is killed in turn.

Money comes in and goes out meanwhile. Afterwards every promise is kept once, by the word of each chain, and the books
of every asset meet their chain to the last unit.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Coin
from devstack.demo.outside.bitcoin import OutsideBitcoin
from devstack.demo.outside.ethereum import OutsideEthereum
from devstack.demo.outside.monero import OutsideMonero
from devstack.process import DaemonFailed
from devstack.roles import CHAINS
from devstack.stack import Stack
from tests.integration.storefront import Shop, Traffic

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

#: What the customer begins with: (payments from outside, the amount of each).
FUNDS = {BTC: (10, "0.009"), XMR: (8, "0.9"), ETH: (1, "0.5"), USDT: (1, "500")}
#: What each withdrawal asks for.
AMOUNT = {BTC: "0.0001", XMR: "0.01", ETH: "0.001", USDT: "1"}
#: What comes in again and again while things break.
DROP = {BTC: "0.0002", XMR: "0.02", ETH: "0.002", USDT: "2"}
BLOCK_SECONDS = 2.0
#: How long after the last fault everything must have come to rest.
REST_SECONDS = 240


class Day:
    """A stack, a customer with money of every coin, miners on every chain, and payers."""

    def __init__(self, stack: Stack) -> None:
        assert stack.keys is not None
        self.stack = stack
        self.shop = Shop(stack.api_url, stack.keys.all)
        self.bitcoin = OutsideBitcoin(stack.bitcoind, stack.settings["COFFER_BITCOIN_WALLET"])
        self.monero = OutsideMonero(stack.monerod, stack.monero_payer, stack.monero_wallet_rpc)
        self.ethereum = OutsideEthereum(stack.anvil)
        self.ethereum.token = stack.token
        self.dropped: list[tuple[str, str]] = []  #: (asset, txid) of payments from outside that a node took
        self.begun = self.bitcoin.height
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._mine, self._drop)]
        _, account = self.shop.post("/accounts", {"reference": "bad-days", "kind": "user"})
        self.account = str(account["id"])
        self.homes = {coin: self.shop.ready_address(self.account, coin.code) for coin in COINS}
        self.traffic = [
            Traffic(self.shop, self.account, AMOUNT[BTC], 1, asset="BTC", pause_seconds=0.5),
            self._clients(XMR, self.monero.new_address, 2.0),
            self._clients(ETH, self.ethereum.new_address, 2.0),
            self._clients(USDT, self.ethereum.new_address, 2.0),
        ]

    def _clients(self, coin: Coin, payee: Callable[[], str], pause_seconds: float) -> Traffic:
        """They have addresses ready: a node that is down today does not keep anybody from asking."""
        ready = iter([payee() for _ in range(100)])
        amount = AMOUNT[coin]
        return Traffic(
            self.shop, self.account, amount, 1, asset=coin.code, payee=lambda: next(ready), pause_seconds=pause_seconds
        )

    def fund(self) -> None:
        """What the customer begins with is credited, and what must be collected first is in the hot wallet."""
        for coin, (times, amount) in FUNDS.items():
            homes = [self.homes[coin], *(self.shop.ready_address(self.account, coin.code) for _ in range(times - 1))]
            self._pay(coin, {home: coin.units(amount) for home in homes})
        self.mine(bitcoin=3, monero=12, ethereum=12)
        whole = {coin.code: Decimal(amount) * times for coin, (times, amount) in FUNDS.items()}
        until(lambda: self.available() == whole, "the deposits to be credited")
        self.stack.cli("sweep", "run", "ethereum", "--as", "test")
        hot = json.loads(self.stack.cli("eth", "seed", "show", "--json"))["hot_address"]

        def collected() -> bool:
            self.mine(ethereum=2)
            return self.ethereum.tokens(hot) == USDT.units(FUNDS[USDT][1])

        until(collected, "the tokens to be collected", 120)

    def available(self) -> dict[str, Decimal]:
        return {code: Decimal(amount) for code, amount in self.shop.available(self.account).items()}

    def mine(self, *, bitcoin: int = 0, monero: int = 0, ethereum: int = 0) -> None:
        for world, blocks in ((self.bitcoin, bitcoin), (self.monero, monero), (self.ethereum, ethereum)):
            if blocks:
                world.mine(blocks)

    def _pay(self, coin: Coin, outputs: dict[str, int]) -> list[str]:
        if coin == BTC:
            return [self.bitcoin.pay(outputs)]
        if coin == XMR:
            return [self.monero.pay(outputs)]
        pay = self.ethereum.pay if coin == ETH else self.ethereum.pay_token
        return [pay(address, units) for address, units in outputs.items()]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()
        for clients in self.traffic:
            clients.start()

    def end(self) -> None:
        """No more is asked for; the miners go on."""
        for clients in self.traffic:
            clients.stop()

    def stop_mining(self) -> None:
        self._over.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(60)

    def _mine(self) -> None:
        while not self._over.wait(BLOCK_SECONDS):
            for chain in CHAINS:
                with contextlib.suppress(Exception):  # the node is the one that is down today
                    self.mine(**{chain: 1})

    def _drop(self) -> None:
        """A payer for each coin in turn, until the clients stop."""
        while not self._over.wait(3):
            for coin, amount in DROP.items():
                if self.traffic[0].stopped:
                    return
                with contextlib.suppress(Exception):  # whether it was paid the chain knows
                    made = self._pay(coin, {self.homes[coin]: coin.units(amount)})
                    self.dropped += [(coin.code, txid) for txid in made]

    def unfinished(self) -> list[str]:
        ids = [row_id for clients in self.traffic for row_id in clients.promised.values()]
        states = [self.shop.get(f"/withdrawals/{row_id}")[1] for row_id in ids]
        return [
            f"{s['asset']} {s['id']} {s['status']} {s['status_reason']}" for s in states if s["status"] != "completed"
        ]

    def received(self, coin: Coin, payee: str) -> int:
        counts = {XMR: self.monero.received, ETH: self.ethereum.balance, USDT: self.ethereum.tokens}
        return counts[coin](payee)

    def all_of(self, path: str) -> list[dict[str, object]]:
        """Every page of a list."""
        found, cursor = [], ""
        while True:
            _, page = self.shop.get(f"{path}?limit=100{cursor}")
            found += page["data"]
            if not page["has_more"]:
                return found
            cursor = f"&cursor={page['next_cursor']}"


def at_rest(look: Callable[[], list[str]], what: str, seconds: float) -> None:
    """Waits until the list is empty, and tells it when it does not become so."""
    deadline = time.monotonic() + seconds
    while found := look():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}: {found[:20]}"
        time.sleep(0.5)


def until(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.25)


@pytest.fixture
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder: Path = tmp_path_factory.mktemp("bad-days")
    with Stack(folder, "mariadb", chains=CHAINS, token=True) as stack:
        stack.cli("policy", "set", "BTC", "payment_window_ms", "300")
        for asset in ("XMR", "ETH", "USDT"):
            stack.cli("policy", "set", asset, "withdrawal_confirmations", "2")
        day = Day(stack)
        yield day
        day.stop_mining()


def test_whatever_is_killed_every_payee_of_every_chain_is_paid_once(day: Day) -> None:
    day.fund()
    day.start()
    for fault in faults(day.stack):
        time.sleep(3)
        fault()
    time.sleep(3)
    day.end()
    assert [clients.failures for clients in day.traffic] == [[]] * len(day.traffic)
    at_rest(day.unfinished, "every withdrawal to be completed", REST_SECONDS)
    at_rest(lambda: astray(day), "every deposit to be credited", REST_SECONDS)
    day.stop_mining()
    assert_paid_once(day)
    assert_books(day)
    for coin in COINS:
        until(lambda c=coin: reconciled(day.stack, c.code), f"books and chain to agree on {coin.code}", 60)  # type: ignore[misc]


def astray(day: Day) -> list[str]:
    """What is in a chain and not credited, or credited and in no chain. The killed nodes are the payers' own: what was
    in their pools is forgotten with them, and what the chain does not have is no deposit."""
    shown = [(str(d["asset"]), str(d["txid"]), str(d["status"])) for d in day.all_of("/deposits")]
    there = mined(day, {(asset, txid) for asset, txid, _ in shown} | set(day.dropped))
    found = [f"{asset} {txid} is no deposit" for asset, txid in set(day.dropped) & there - {d[:2] for d in shown}]
    wrong = [d for d in shown if (d[2] in ("credited", "final")) != (d[:2] in there)]
    return found + [f"{asset} {txid} is {status}" for asset, txid, status in wrong]


def mined(day: Day, payments: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those that a block has, by the chains' own word."""
    node = day.stack.bitcoind
    blocks = [
        node.admin("getblock", node.admin("getblockhash", n), 1) for n in range(day.begun, day.bitcoin.height + 1)
    ]
    bitcoin = {txid for block in blocks for txid in block["tx"]}

    def there(asset: str, txid: str) -> bool:
        if asset == "BTC":
            return txid in bitcoin
        if asset == "XMR":
            return (day.monero.transaction(txid) or {"height": None})["height"] is not None
        return day.ethereum.in_block(txid) is not None

    return {payment for payment in payments if there(*payment)}


def assert_paid_once(day: Day) -> None:
    """By the chains alone: each payee got exactly its amount."""
    for coin, clients in zip(COINS, day.traffic, strict=True):
        assert clients.promised, f"nobody asked for {coin.code}"
        if coin == BTC:
            descriptors = [f"addr({payee})" for payee in clients.promised]
            unspent = day.stack.bitcoind.admin("scantxoutset", "start", descriptors)["unspents"]
            assert [unit["amount"] for unit in unspent] == [Decimal(AMOUNT[BTC])] * len(clients.promised)
        else:
            found = {payee: day.received(coin, payee) for payee in clients.promised}
            assert found == dict.fromkeys(clients.promised, coin.units(AMOUNT[coin]))


def assert_books(day: Day) -> None:
    """Every promise is one row and every row is a promise; the customer has what came in less what went out."""
    rows, deposits = day.all_of("/withdrawals"), day.all_of("/deposits")
    promised = [row_id for clients in day.traffic for row_id in clients.promised.values()]
    assert sorted(str(row["id"]) for row in rows) == sorted(promised)
    left = dict.fromkeys((coin.code for coin in COINS), Decimal(0))
    for sign, found in ((1, deposits), (-1, rows)):
        for row in found:
            if str(row["status"]) == "reversed":
                continue  # in no chain
            money = row["amount" if sign > 0 else "total"]
            assert isinstance(money, dict)
            left[str(row["asset"])] += sign * Decimal(money["amount"])
    assert day.available() == left


def reconciled(stack: Stack, asset: str) -> bool:
    try:
        stack.cli("reconcile", asset)
    except DaemonFailed:
        return False
    return True


def faults(stack: Stack) -> list[Callable[[], None]]:
    """Each leaves the stack whole again, the way a supervisor would."""

    def again(name: str) -> Callable[[], None]:
        def fault() -> None:
            stack.processes[name].kill()
            time.sleep(0.5)
            stack.processes[name].up()

        return fault

    def gone(kill: Callable[[], None], start: Callable[[], None]) -> Callable[[], None]:
        def fault() -> None:
            kill()
            time.sleep(2)
            start()

        return fault

    def anvil_killed() -> None:
        stack.anvil.flush()  # killed it forgets what is not on its disk: its pool, and with bad luck a block
        stack.anvil.kill()
        time.sleep(2)
        stack.anvil.start()

    def wallet_hangs() -> None:
        stack.monero_wallet_rpc.pause()
        time.sleep(8)
        stack.monero_wallet_rpc.resume()

    wallet, mariadb = stack.monero_wallet_rpc, stack.mariadb
    assert mariadb is not None
    return [
        again("worker-monero"),
        again("worker-ethereum"),
        gone(wallet.kill, wallet.start),
        anvil_killed,
        gone(stack.monerod.kill, stack.monerod.start),
        stack.redis.flush,
        again("worker-ethereum"),
        gone(stack.redis.kill, stack.redis.start),
        gone(mariadb.kill, mariadb.start),
        gone(stack.bitcoind.kill, stack.bitcoind.start),
        again("scheduler"),
        again("worker-monero"),
        gone(wallet.kill, wallet.start),
        again("worker-bitcoin"),
        anvil_killed,
        wallet_hangs,
        again("worker-tasks"),
        again("api"),
        again("worker-monero"),
    ]
