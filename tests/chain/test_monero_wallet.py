"""The wallet file on a real monero-wallet-rpc: opened, made, killed, restored; and each address given out once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from ledger.errors import NodeNotReady, NodeUnavailable, WrongNetwork
from tests.contract.monero_rig import WALLET_PASSWORD, MoneroGround, MoneroRig
from tests.contract.rigs import WATCHED, until
from wallets.monero import sync
from wallets.monero.addresses import Layout
from wallets.monero.wallet import MoneroWallet
from wallets.protocol import Output

XMR = 10**12
LAYOUTS: tuple[Layout, ...] = ("subaddress", "account")


@pytest.fixture
def make(monero_ground: MoneroGround) -> Iterator[Callable[..., MoneroRig]]:
    rigs: list[MoneroRig] = []

    def make(**options: object) -> MoneroRig:
        rigs.append(MoneroRig(monero_ground, **options))  # type: ignore[arg-type]
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


@pytest.fixture
def rig(make: Callable[..., MoneroRig]) -> MoneroRig:
    return make()


def adapter(rig: MoneroRig, **changes: object) -> MoneroWallet:
    options: dict[str, object] = {
        "network": "regtest",
        "name": rig.name,
        "password": WALLET_PASSWORD,
        "layout": rig.layout,
    }
    return MoneroWallet(rig.ground.wallet_rpc.url, rig.node.url, **(options | changes))  # type: ignore[arg-type]


def reboot(rig: MoneroRig) -> None:
    """wallet-rpc is killed and comes back with no wallet open."""
    rig.ground.wallet_rpc.kill()
    rig.ground.wallet_rpc.start()


# Opening


def test_the_identity_says_which_keys_and_layout_and_holds_no_secret(rig: MoneroRig) -> None:
    again = adapter(rig).open()
    assert again == rig.identity
    assert again.account_public_key == f"monero:regtest:subaddress:{rig.hot_address()}"
    secrets = [rig.rpc("query_key", key_type=kind)["key"] for kind in ("view_key", "spend_key", "mnemonic")]
    assert not [secret for secret in secrets if secret in repr(again)]
    assert adapter(rig, layout="account").open() != again


@pytest.mark.parametrize("network", ["mainnet", "stagenet", "testnet"])
def test_a_node_of_another_network_is_refused(rig: MoneroRig, network: str) -> None:
    other = adapter(rig, network=network)
    for ask in (other.open, other.health):
        with pytest.raises(WrongNetwork):
            ask()


def test_a_wallet_is_made_on_a_test_network(rig: MoneroRig) -> None:
    fresh = adapter(rig, name=f"{rig.name}-fresh")
    identity = fresh.open()
    assert identity != rig.identity
    assert fresh.watch(3) == 3
    until(lambda: fresh.health().ok, "the new wallet to have read the chain", timeout_seconds=60)
    assert fresh.open() == identity


def test_a_wrong_password_is_said_and_makes_no_other_wallet(rig: MoneroRig) -> None:
    reboot(rig)
    with pytest.raises(NodeNotReady, match="wrong password"):
        adapter(rig, password="wrong").open()
    assert adapter(rig).open() == rig.identity


def test_a_restarted_wallet_rpc_gets_its_wallet_opened(rig: MoneroRig) -> None:
    key = rig.fund(0, XMR)
    reboot(rig)
    assert [deposit.key for deposit in rig.wallet.deposits_since(None).deposits] == [key]


def test_another_wallet_in_wallet_rpc_is_never_taken_for_ours(rig: MoneroRig) -> None:
    """An operator, or a second installation, opened it: its balance and its addresses are not ours."""
    rig.fund(0, XMR)
    stranger = rig.ground.new_wallet()
    rig.rpc("open_wallet", filename=stranger, password=WALLET_PASSWORD)
    for ask in (
        rig.wallet.balance,
        lambda: rig.wallet.deposits_since(None),
        lambda: rig.wallet.watch(WATCHED),
        lambda: rig.wallet.addresses(0, 1),
    ):
        with pytest.raises(NodeNotReady, match="another wallet"):
            ask()
    assert rig.wallet.health().reason == "no_wallet"
    assert rig.wallet.open() == rig.identity
    assert rig.wallet.balance().total_units == XMR


# Addresses


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_index_has_one_address_of_its_own_and_what_it_is_paid_is_found(
    make: Callable[..., MoneroRig], layout: Layout
) -> None:
    rig = make(layout=layout)
    found = rig.wallet.addresses(0, WATCHED)
    assert len({*found, rig.hot_address()}) == WATCHED + 1
    assert [rig.addresses.parse(address) for address in found] == list(found)
    place = (13, 0) if layout == "account" else (0, 13)
    assert (
        found[12] == rig.rpc("get_address", account_index=place[0], address_index=[place[1]])["addresses"][0]["address"]
    )
    txid = rig.pay(Output(found[12], XMR))
    assert rig.key_of(txid, found[12]) == f"{txid}:{place[0]}:{place[1]}"
    assert rig.wallet.addresses(3, 0) == []
    for start, count in ((0, WATCHED + 1), (WATCHED, 1), (500, 2)):
        with pytest.raises(LookupError):
            rig.wallet.addresses(start, count)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_address_that_was_counted_survives_kill_9(make: Callable[..., MoneroRig], layout: Layout) -> None:
    rig = make(layout=layout)
    assert rig.wallet.watch(90) == 90
    before = rig.wallet.addresses(0, 90)
    reboot(rig)
    assert adapter(rig).addresses(0, 90) == before


@pytest.mark.parametrize(
    ("layout", "point"),
    [("subaddress", "create_address.after"), ("subaddress", "store.before"), ("account", "create_account.after")],
)
def test_kill_9_between_making_and_storing_gives_no_address_to_two(
    make: Callable[..., MoneroRig], layout: Layout, point: str
) -> None:
    """NODES 0.5: worker and wallet-rpc both die there. An index keeps its address, whether it was stored or not."""
    rig = make(layout=layout)
    before = rig.wallet.addresses(0, WATCHED)
    child = subprocess.run(
        [sys.executable, "-c", _WATCH, rig.ground.wallet_rpc.url, rig.node.url, rig.name, layout],
        env=os.environ | {"COFFER_CRASHPOINT": f"monero.{point}", "PYTHONPATH": os.getcwd()},
        check=False,
        timeout=60,
    )
    assert child.returncode == 137
    made = rig.rpc("get_address", account_index=0)["addresses"] if layout == "subaddress" else []
    reboot(rig)
    worker = adapter(rig)
    assert worker.watch(WATCHED + 30) == WATCHED + 30
    after = worker.addresses(0, WATCHED + 30)
    assert after[:WATCHED] == before
    assert len(set(after)) == WATCHED + 30
    again = [entry["address"] for entry in made if 0 < entry["address_index"] <= WATCHED + 30]
    assert list(after[: len(again)]) == again
    reboot(rig)
    assert adapter(rig).addresses(0, WATCHED + 30) == after


_WATCH = """
import sys
from wallets.monero.wallet import MoneroWallet
wallet_url, daemon_url, name, layout = sys.argv[1:]
MoneroWallet(wallet_url, daemon_url, network="regtest", name=name, password="correct horse", layout=layout).watch(50)
"""


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_wallet_file_restored_from_an_older_copy_gets_its_addresses_back(
    make: Callable[..., MoneroRig], layout: Layout
) -> None:
    rig = make(layout=layout)
    rig.ground.wallet_rpc.stop()
    files = [rig.ground.wallet_rpc.wallets / f"{rig.name}{suffix}" for suffix in ("", ".keys")]
    for file in files:
        shutil.copy(file, f"{file}.backup")
    rig.ground.wallet_rpc.start()
    assert rig.wallet.watch(100) == 100
    before = rig.wallet.addresses(0, 100)
    rig.ground.wallet_rpc.stop()
    for file in files:
        shutil.copy(f"{file}.backup", file)
    rig.ground.wallet_rpc.start()
    with pytest.raises(LookupError):
        rig.wallet.addresses(0, 100)
    assert rig.wallet.watch(100) == 100  # the same worker, which had counted a hundred before
    reboot(rig)
    assert rig.wallet.addresses(0, 100) == before
    key = rig.fund(99, XMR, blocks=1)
    assert [deposit.address for deposit in rig.wallet.deposits_since(None).deposits if deposit.key == key] == [
        before[99]
    ]


def test_a_worker_that_finds_addresses_made_and_not_stored_stores_them(rig: MoneroRig) -> None:
    rig.rpc("create_address", account_index=0, count=30)
    assert adapter(rig).watch(WATCHED + 30) == WATCHED + 30
    before = rig.wallet.addresses(0, WATCHED + 30)
    reboot(rig)
    assert rig.wallet.addresses(0, WATCHED + 30) == before


def test_an_index_is_tagged_for_people(make: Callable[..., MoneroRig]) -> None:
    rig = make(layout="account")
    rig.wallet.tag(4, "order_A-17")
    tagged = rig.rpc("get_accounts", tag="order_A-17")["subaddress_accounts"]
    assert [account["account_index"] for account in tagged] == [5]
    rig = make()
    rig.wallet.tag(4, "order_A-17")
    [entry] = rig.rpc("get_address", account_index=0, address_index=[5])["addresses"]
    assert entry["label"] == "order_A-17"


# Condition


def test_a_wallet_rpc_that_hangs_ends_in_a_time_limit_and_can_be_killed(rig: MoneroRig) -> None:
    """NODES 0.15: it hears no SIGTERM then."""
    key = rig.fund(0, XMR)
    hurried = adapter(rig, timeout_seconds=1)
    rig.ground.wallet_rpc.pause()
    try:
        with pytest.raises(NodeUnavailable, match="timed out after 1 s"):
            hurried.deposits_since(None)
        assert hurried.health().reason == "unreachable"
    finally:
        reboot(rig)
    assert [deposit.key for deposit in rig.wallet.deposits_since(None).deposits] == [key]


def test_a_wallet_far_behind_says_so_and_is_made_to_catch_up(rig: MoneroRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It answers between its steps: one call that read everything would block it for all others."""
    monkeypatch.setattr(sync, "BEHIND_MAX", 20)
    address = rig.address(0)
    rig.rpc("auto_refresh", enable=False)
    txid = rig.payer.pay({address: XMR})
    rig.payer.mine(21)
    health = rig.wallet.health()
    assert (health.ok, health.reason) == (False, "syncing")
    until(lambda: rig.wallet.health().ok, "the wallet to have read them", timeout_seconds=60)
    assert rig.key_of(txid, address)
    assert rig.wallet.balance().spendable_units == XMR


def test_the_balance_of_an_account_lies_apart_from_the_hot_wallets(make: Callable[..., MoneroRig]) -> None:
    rig = make(layout="account")
    rig.pay(Output(rig.hot_address(), 5 * XMR), Output(rig.address(3), XMR))
    rig.mine(10)
    rig.pay(Output(rig.address(4), 2 * XMR))
    alone, asked = rig.wallet.balance(), rig.wallet.balance(indices=[3, 4, 5])
    assert (alone.total_units, alone.at_index) == (5 * XMR, {})
    assert asked.at_index == {3: XMR, 4: 2 * XMR, 5: 0}
    assert (asked.total_units, asked.spendable_units, asked.pending_units) == (8 * XMR, 5 * XMR, 2 * XMR)
    assert (asked.locked_units, asked.unlocks_in_blocks) == (0, None)


def test_money_that_is_locked_is_told_with_the_blocks_it_takes(rig: MoneroRig) -> None:
    rig.fund(0, XMR, blocks=10)
    rig.fund(1, 2 * XMR, blocks=3)
    held = rig.wallet.balance()
    assert (held.spendable_units, held.locked_units, held.unlocks_in_blocks) == (XMR, 2 * XMR, 7)
    rig.send(Output(rig.outside_address(), XMR // 2))
    sent = rig.wallet.balance()
    assert (sent.spendable_units, sent.unlocks_in_blocks) == (0, 10)
    assert sent.total_units == sent.locked_units < held.total_units - XMR // 2
    assert sent.pending_units == 0


def test_the_fee_market_is_the_nodes_and_dearer_for_a_hurry(rig: MoneroRig) -> None:
    rates = [rig.wallet.fee_market(blocks, 5) for blocks in (10, 3, 1)]
    assert {market.source for market in rates} == {"estimate"}
    assert 0 < rates[0].rate < rates[1].rate < rates[2].rate
