"""`coffer demo`: starts a stack of its own, plays the main job on it, checks every figure, and ends every process."""

from __future__ import annotations

import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click
import requests

from devstack.demo import collecting, ending, hearing, histories, incoming, ordering, outgoing, setting, trading
from devstack.demo.desk import Desk
from devstack.demo.figures import BTC, ETH, XMR, Deviation
from devstack.demo.outside.bitcoin import OutsideBitcoin
from devstack.demo.outside.ethereum import OutsideEthereum
from devstack.demo.outside.monero import OutsideMonero
from devstack.demo.receiver import Receiver
from devstack.demo.scene import Scene
from devstack.demo.shop import Shop
from devstack.demo.teller import Teller
from devstack.process import DaemonFailed
from devstack.programs import ProgramMissing
from devstack.roles import CHAINS
from devstack.stack import Database, Stack

#: What the shop's key may do: it cannot approve, and it cannot operate.
SCOPES = (
    "accounts:read",
    "accounts:write",
    "addresses:read",
    "addresses:write",
    "deposits:read",
    "transfers:write",
    "withdrawals:read",
    "withdrawals:create",
    "events:read",
    "ledger:read",
    "escrows:read",
    "escrows:write",
    "swaps:read",
    "swaps:write",
    "webhooks:read",
    "webhooks:write",
)
INTERRUPTED = 130


class Interrupted(BaseException):
    """Ctrl-C, or a request to end."""


@click.command()
@click.option("--db", type=click.Choice(["sqlite", "mariadb"]), default="sqlite", show_default=True)
def main(db: Database) -> None:
    """Deposits and withdrawals on three real chains of its own, told as they happen; 1 if a figure is off."""
    raise SystemExit(demo(db))


def demo(db: Database = "sqlite") -> int:
    """Plays it all; the exit code. The folder of a demo that failed stays, for its logs."""
    tell = Teller(sys.stdout)
    folder = Path(tempfile.mkdtemp(prefix="coffer-demo-"))
    begun = time.monotonic()
    code = 1
    try:
        with interruptible():
            checks = _play(tell, folder, db)
        tell.title(f"\n{checks} figures compared, all as expected. {time.monotonic() - begun:.0f} s.")
        code = 0
    except Interrupted:
        tell.failure("broken off; every process is ended")
        code = INTERRUPTED
    except Deviation as difference:
        tell.failure(f"NOT AS EXPECTED: {difference}")
    except (DaemonFailed, ProgramMissing, requests.RequestException) as failure:
        tell.failure(f"the demo failed: {failure}")
    if code == 1:
        tell.failure(f"logs of all processes: {folder / 'logs'}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def _play(tell: Teller, folder: Path, db: Database) -> int:
    """The whole story; how many figures were compared. Every process is ended when it returns or raises."""
    tell.title("Coffer: a shop, three customers, and nodes of our own for Bitcoin, Monero and Ethereum. No real money.")
    tell.chapter("A stack of our own starts")
    with Stack(folder, db, chains=CHAINS, outward=True, tell=lambda line: tell.note(line)) as stack:
        scene = _set_stage(tell, stack)
        setting.set_rules(scene)
        setting.fund_the_house(scene)
        setting.add_a_token(scene, stack.processes["worker-ethereum"].restart)
        homes = incoming.open_accounts(scene)
        incoming.pay_in(scene, homes)
        incoming.complete_the_order(scene, homes)
        outgoing.give(scene)
        outgoing.overdraw(scene)
        collecting.collect(scene)
        leaving = outgoing.withdraw(scene)
        first = outgoing.leave(scene, leaving)
        last = outgoing.bump(scene, first, leaving)
        outgoing.confirm(scene, first, last, leaving)
        collecting.go_cold(scene, stack.settings["COFFER_ETHEREUM_COLD_ADDRESS"])
        _trade(scene, [one.id for one in leaving])
        ending.reconcile(scene)
        ending.show_tables(scene)
        return scene.checks.made


def _trade(scene: Scene, withdrawals: list[str]) -> None:
    """Orders and swaps, heard by a shop that listens; at the end who owned what, and all that happened."""
    with Receiver() as ear:
        endpoint = hearing.listen(scene, ear)
        trading.lay_in(scene)
        paid, order = ordering.pay_an_order(scene)
        ordering.release(scene, paid)
        returned = ordering.refund(scene)
        disputed = ordering.split(scene)
        swaps = [trading.swap_of_a_balance(scene, "Vera", BTC, XMR), trading.swap_by_deposit(scene, "Chloe", ETH, BTC)]
        unpaid = ordering.begin_a_token_order(scene)
        withdrawals += trading.pay_out(scene, swaps)
        ordering.end_the_token_order(scene, unpaid)
        histories.show(scene, histories.Orders(paid, returned, disputed, unpaid, order))
        events = ending.read_events(scene, withdrawals)
        hearing.compare(scene, ear, endpoint, events)


def _set_stage(tell: Teller, stack: Stack) -> Scene:
    desk = Desk(stack, tell.desk)
    key = desk.new_key("shop", "storefront", SCOPES)
    arbiter = desk.new_key("shop", "arbiter", ("escrows:read", "escrows:arbitrate"))
    tell.note(f"the API is at {stack.api_url}")
    return Scene(
        tell,
        desk,
        Shop(stack.api_url, key, tell.shop),
        Shop(stack.api_url, arbiter, tell.shop),
        OutsideBitcoin(stack.bitcoind, stack.settings["COFFER_BITCOIN_WALLET"]),
        OutsideMonero(stack.monerod, stack.monero_payer, stack.monero_wallet_rpc),
        OutsideEthereum(stack.anvil),
    )


@contextmanager
def interruptible() -> Iterator[None]:
    """The first SIGINT, SIGTERM or SIGHUP breaks off; later ones do not disturb the tidying up."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def on_signal(number: int, frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        raise Interrupted

    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
