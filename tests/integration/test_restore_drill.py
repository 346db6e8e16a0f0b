"""The drill on real nodes: traffic on three chains, a backup, more traffic, all of it destroyed, and a restore.

Only the chains outlive it. Whoever was promised something is paid once, by the word of the chains; what came to
addresses of the lost life is credited when the shop says whose they are.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Coin
from devstack.process import DaemonFailed
from devstack.roles import CHAINS
from devstack.stack import Stack
from tests import databases
from tests.integration.test_bad_days_of_three_chains import AMOUNT, DROP, Day, at_rest, until

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

REST_SECONDS = 120


@pytest.fixture(params=databases.DIALECTS)
def day(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    folder: Path = tmp_path_factory.mktemp("drill")
    with Stack(folder, request.param, chains=CHAINS, token=True) as stack:
        stack.cli("policy", "set", "BTC", "payment_window_ms", "300")
        for asset in ("XMR", "ETH", "USDT"):
            stack.cli("policy", "set", asset, "withdrawal_confirmations", "2")
        yield Day(stack)


class Promises:
    """What was asked for, and what the payees have by the chains' own word."""

    def __init__(self, day: Day) -> None:
        self.day = day
        self.of: dict[Coin, dict[str, str]] = {coin: {} for coin in COINS}  #: payee -> withdrawal id

    def ask(self, account: str | None = None) -> list[str]:
        """One withdrawal of each coin; their ids."""
        ids = []
        for coin in COINS:
            payee = self._payee(coin)
            order = {"account": account or self.day.account, "asset": coin.code, "amount": AMOUNT[coin]}
            order |= {"address": payee, "reference": uuid.uuid4().hex}
            status, answer = self.day.shop.post("/withdrawals", order)
            assert status == 202, answer
            self.of[coin][payee] = str(answer["id"])
            ids.append(str(answer["id"]))
        return ids

    def _payee(self, coin: Coin) -> str:
        world = {BTC: self.day.bitcoin, XMR: self.day.monero}.get(coin, self.day.ethereum)
        return world.new_address()  # type: ignore[no-any-return, attr-defined]

    def received(self) -> dict[str, int]:
        counts = {BTC: self.day.bitcoin.received, XMR: self.day.monero.received}
        counts |= {ETH: self.day.ethereum.balance, USDT: self.day.ethereum.tokens}
        return {payee: counts[coin](payee) for coin in COINS for payee in self.of[coin]}

    def promised(self) -> dict[str, int]:
        return {payee: coin.units(AMOUNT[coin]) for coin in COINS for payee in self.of[coin]}


def mine(day: Day) -> None:
    day.mine(bitcoin=2, monero=3, ethereum=3)


def finished(day: Day, ids: list[str]) -> list[str]:
    mine(day)
    states = [day.shop.get(f"/withdrawals/{row_id}")[1] for row_id in ids]
    return [f"{s['asset']} {s['status']} {s['status_reason']}" for s in states if s["status"] != "completed"]


def destroy(stack: Stack, *, record: bool) -> None:
    """Every process of ours, database, queue, wallets, seed, and with `record` the signer's record: all but chains."""
    for process in stack.processes.values():
        process.kill()
    stack.redis.flush()
    if stack.mariadb is not None:
        stack.mariadb.drop_database("coffer")
        stack.mariadb.create_database("coffer")
    for lying in stack.folder.glob("coffer.sqlite3*"):
        lying.unlink()
    name = stack.settings["COFFER_BITCOIN_WALLET"]
    stack.bitcoind.admin("unloadwallet", name, False)
    shutil.rmtree(stack.bitcoind.folder / "regtest" / "wallets" / name)
    stack.monero_wallet_rpc.kill()
    for lying in stack.monero_wallet_rpc.wallets.glob(f"{stack.settings['COFFER_MONERO_WALLET']}*"):
        lying.unlink()
    stack.monero_wallet_rpc.start()
    Path(stack.settings["COFFER_ETHEREUM_SEED_FILE"]).unlink()
    if record:
        shutil.rmtree(stack.settings["COFFER_SIGNER_DIR"])


@pytest.mark.parametrize("record", [False, True], ids=["record survives", "record is lost too"])
def test_after_everything_was_lost_nobody_is_paid_twice_and_nothing_is_lost(day: Day, record: bool) -> None:
    stack, promises = day.stack, Promises(day)
    day.fund()
    before = promises.ask()
    at_rest(lambda: finished(day, before), "the first withdrawals", REST_SECONDS)
    under_way = promises.ask()
    folder = stack.folder / "backup"
    stack.cli("backup", str(folder))
    # The life that will be lost.
    at_rest(lambda: finished(day, under_way), "those under way", REST_SECONDS)
    lost = promises.ask()
    homes = {coin: day.shop.ready_address(day.account, coin.code) for coin in (BTC, XMR)}
    _, fresh = day.shop.post("/accounts", {"reference": "lost-life", "kind": "user"})
    homes |= {coin: day.shop.ready_address(str(fresh["id"]), coin.code) for coin in (ETH,)}
    for coin, home in homes.items():
        day._pay(coin, {home: coin.units(DROP[coin])})
    day._pay(BTC, {day.homes[BTC]: BTC.units(DROP[BTC])})
    at_rest(lambda: finished(day, lost), "those of the lost life", REST_SECONDS)
    paid = promises.received()
    assert paid == promises.promised()

    destroy(stack, record=record)
    said = stack.cli("restore", str(folder), "--verify")
    assert all(f"{chain} wallet: put back" in said for chain in CHAINS), said
    stack.start_processes()
    for _ in range(8):
        mine(day)
    held = {d["address"]: d for d in day.all_of("/deposits")}
    assert day.homes[BTC] in held
    assert promises.received() == paid, "nothing leaves in quarantine"
    with pytest.raises(DaemonFailed, match="unexplained"):
        stack.cli("quarantine", "lift", "bitcoin")
    for chain in CHAINS:
        stack.cli("quarantine", "lift", chain, "--accept", "the drill: all of it is known", "--as", "drill")
    rested = [row for row in (*before, *under_way) if row]
    at_rest(lambda: unsettled(day, rested), "everything to rest", REST_SECONDS)
    for _ in range(4):
        mine(day)
    assert promises.received() == paid, "each payee has what it was promised, once"

    _, account = day.shop.post("/accounts", {"reference": "lost-life", "kind": "user"})
    for coin, home in homes.items():
        until(lambda h=home: h in json.dumps(json.loads(stack.cli("held", "list", "--json"))), f"{home} to be held")  # type: ignore[misc]
        stack.cli("quarantine", "give", home, str(account["id"]), "--asset", coin.code)
    wanted = {coin.code: Decimal(DROP[coin]) for coin in homes}
    found = {code: Decimal(amount) for code, amount in day.shop.available(str(account["id"])).items()}
    assert {code: amount for code, amount in found.items() if amount} == wanted


def unsettled(day: Day, ids: list[str]) -> list[str]:
    """Those that are neither paid nor with a person."""
    mine(day)
    states = [day.shop.get(f"/withdrawals/{row_id}")[1] for row_id in ids]
    return [
        f"{s['asset']} {s['id']} {s['status']} {s['status_reason']}"
        for s in states
        if s["status"] not in ("completed", "review")
    ]
