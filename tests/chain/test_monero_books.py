"""Books and chain on real Monero programs, while the wallet does not know of a payment that the pool has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from jobs.reconcile import brake
from jobs.reconcile.chain import survey
from jobs.reconcile.places import differences
from jobs.saga import SECOND
from jobs.signer import Signer
from ledger.db import Database
from ledger.money import UNITS_BOUND, XMR, Asset
from ledger.schema import pause, payment
from tests import databases
from tests.clock import Clock
from tests.contract.monero_rig import MoneroGround, MoneroRig
from tests.flows.engine import MAC, Engine
from wallets.monero.addresses import Layout
from wallets.monero.prepared import Prepared
from wallets.monero.sending import Sending
from wallets.protocol import Output

COIN = 10**12


@dataclass
class MoneroEngine(Engine):
    """Its wallet is a rig's. Payments settle and deposits are credited ten blocks deep."""

    name: ClassVar[str] = "monero"
    coin: ClassVar[Asset] = XMR

    def __post_init__(self) -> None:
        assert self.wallet is not None
        self.serve(self.wallet, Signer(self.folder / "signer", MAC, {"XMR": 1_000 * COIN}, self.cold()))
        self.set_policy(payment_window_ms=0, deposit_tiers=((UNITS_BOUND, 10),), withdrawal_confirmations=10)
        self.set_policy(hot_low_units=0, hot_outputs=0, withdrawal_fee_units=COIN // 100)
        self.tick(2)

    def cold(self) -> dict[str, str]:
        return {}


class Shop:
    """An engine on a rig, whose wallet may be kept from hearing of what is sent."""

    def __init__(self, engine: MoneroEngine, rig: MoneroRig) -> None:
        self.engine, self.rig = engine, rig

    def funded(self) -> int:
        account = self.engine.account()
        self.engine.tick()  # its address is ready
        self.rig.pay(Output(self.engine.address(account).address, COIN))
        self.rig.mine(10)
        self.engine.tick(2)
        assert self.engine.available(account) == COIN
        return account

    def mine(self) -> None:
        self.rig.mine(10)
        self.engine.tick(2)

    def agree(self) -> None:
        """To the atom, in all and at each place."""
        [found] = survey(self.engine.services, "monero").looks
        assert found.report.unexplained_units == 0, found.report
        assert set(differences(found).values()) == {0}


@pytest.fixture
def layout() -> Layout:
    return "subaddress"


@pytest.fixture
def shop(layout: Layout, monero_ground: MoneroGround, tmp_path: Path, server_folder: Path) -> Iterator[Shop]:
    rig = MoneroRig(monero_ground, layout=layout)
    database = Database(databases.sqlite_url(tmp_path, server_folder / "template.sqlite3"))
    yield Shop(MoneroEngine(tmp_path, database, wallet=rig.wallet, books=rig.addresses), rig)
    database.close()
    rig.close()


def past_the_wallet(shop: Shop, patch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The daemon alone is given the bytes."""
    patch.setattr(Sending, "_relay", lambda *_: False)
    return lambda: None


def forgotten(shop: Shop, patch: pytest.MonkeyPatch) -> Callable[[], None]:
    """The wallet sends, and is killed before it has stored what it sent."""

    def relay(_: Sending, prepared: Prepared) -> bool:
        shop.rig.rpc("relay_tx", hex=prepared.metadata)
        return True

    def kill() -> None:
        shop.rig.ground.wallet_rpc.kill()
        shop.rig.ground.wallet_rpc.start()
        shop.rig.wallet.open()

    patch.setattr(Sending, "_relay", relay)
    return kill


@pytest.mark.parametrize("unheard", [past_the_wallet, forgotten])
def test_a_payment_that_the_wallet_does_not_know_of_is_no_surplus(
    shop: Shop, unheard: Callable[[Shop, pytest.MonkeyPatch], Callable[[], None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    account, clock, after = shop.funded(), Clock(monkeypatch), unheard(shop, monkeypatch)
    row_id = shop.engine.withdraw(account, COIN // 4, shop.rig.outside_address())
    shop.engine.tick()
    after()
    assert shop.rig.node.pool() == [shop.engine.payment_of(row_id).txid]
    shop.agree()
    for _ in range(3):
        shop.engine.run_task("scan")
        shop.engine.run_task("reconcile")
        clock.forward(seconds=brake.SURPLUS_US // SECOND + 1)
    assert (shop.engine.rows(pause), shop.engine.alarms()) == ([], set())
    shop.rig.mine(1)
    shop.engine.tick()
    shop.agree()
    shop.mine()
    assert shop.engine.state(row_id) == "completed"
    shop.engine.check_invariants()


@pytest.mark.parametrize("layout", ["account"])
def test_a_sweep_that_the_wallet_does_not_know_of_is_where_it_was(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    past_the_wallet(shop, monkeypatch)
    shop.funded()
    assert [row.purpose for row in shop.engine.rows(payment)] == ["sweep"]
    assert len(shop.rig.node.pool()) == 1
    shop.agree()


def test_what_is_missing_beside_such_a_payment_is_missing(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """It excuses nothing: exactly what it moves is expected to be there until a block has it."""
    past_the_wallet(shop, monkeypatch)
    account, wallet = shop.funded(), shop.engine.services.wallet("monero")
    shop.engine.withdraw(account, COIN // 4, shop.rig.outside_address())
    shop.engine.tick()
    real = wallet.balance

    def balance(*args: Any) -> Any:
        held = real(*args)
        return replace(held, total_units=held.total_units - COIN // 4)

    monkeypatch.setattr(wallet, "balance", balance)
    [found] = survey(shop.engine.services, "monero").looks
    assert found.report.unexplained_units == -COIN // 4
