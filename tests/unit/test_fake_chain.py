"""The model chain itself: shared by threads and killed processes, deterministic, and able to lie on demand.

What it has in common with a real node is in tests/contract.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ledger.errors import InvalidAddress, NodeNotReady, NodeUnavailable, TransactionRefused, WrongNetwork
from settings import Settings
from wallets.fake import FakeAddressBook, FakeChain, FakeWallet, Lie
from wallets.protocol import DepositStatus, Output, SignedTransaction, Spend, TxState
from wallets.registry import address_book, chains, wallet

COIN = 10**8


def ready(node: FakeChain, index: int = 0) -> tuple[FakeWallet, str]:
    """A wallet and one of its addresses."""
    found = FakeWallet(node)
    found.watch(10)
    return found, FakeAddressBook().at(found.open().account_public_key, index)


def signed(node: FakeChain, units: int = 1_000_000) -> tuple[FakeWallet, SignedTransaction, Output]:
    """A funded wallet, and a transaction of it that is not sent."""
    found, address = ready(node)
    node.fund(address, COIN)
    output = Output(node.outside_address(), units)
    return found, found.sign(found.propose(Spend((output,)), 2_000, 10_000), Spend((output,))), output


def test_the_same_calls_give_the_same_chain() -> None:
    tips = []
    for _ in range(2):
        node = FakeChain()
        payer, tx, _ = signed(node)
        payer.broadcast(tx)
        node.reorg(1)
        node.mine(2)
        tips.append((node.tip, tx.txid))
    assert tips[0] == tips[1]


def test_threads_share_one_chain() -> None:
    node = FakeChain()
    found, _ = ready(node)
    addresses = [FakeAddressBook().at(found.open().account_public_key, index) for index in range(10)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: node.pay(Output(addresses[n % 10], 1_000 + n)), range(200)))
    node.mine()
    assert len(found.deposits_since(None).deposits) == 200
    assert found.balance().total_units == sum(1_000 + n for n in range(200))


def test_another_object_on_the_same_file_sees_every_change(tmp_path: Path) -> None:
    ours, theirs = FakeChain(tmp_path / "chain"), FakeChain(tmp_path / "chain")
    found, address = ready(ours)
    theirs.fund(address, COIN)
    assert found.balance().total_units == COIN
    found.hold([found.deposits_since(None).deposits[0].key])
    assert FakeWallet(theirs).held() == found.held() != frozenset()
    theirs.down()
    assert not found.health().ok


def test_processes_share_a_chain_without_losing_a_change(tmp_path: Path) -> None:
    path = tmp_path / "chain"
    found, address = ready(FakeChain(path))
    script = (
        "import sys; from wallets.fake import FakeChain; from wallets.protocol import Output\n"
        "for n in range(25): FakeChain(sys.argv[1]).pay(Output(sys.argv[2], 1000))"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, str(path), address]) for _ in range(4)]
    assert [process.wait() for process in running] == [0] * 4
    assert len(found.deposits_since(None).deposits) == 100


@pytest.mark.parametrize(("point", "sent"), [("fake.broadcast.before", False), ("fake.broadcast.after", True)])
def test_a_process_killed_around_a_send_leaves_the_chain_whole(tmp_path: Path, point: str, sent: bool) -> None:
    path = tmp_path / "chain"
    node = FakeChain(path)
    found, tx, output = signed(node)
    script = (
        "import sys; from wallets.fake import FakeChain, FakeWallet; from wallets.protocol import SignedTransaction\n"
        f"FakeWallet(FakeChain(sys.argv[1])).broadcast(SignedTransaction({tx.txid!r}, {tx.raw!r}, 0, ()))"
    )
    environment = {**os.environ, "COFFER_CRASHPOINT": point}
    killed = subprocess.run([sys.executable, "-c", script, str(path)], env=environment, check=False)
    assert killed.returncode == 137
    assert (found.look_up(tx).state is TxState.POOL) is sent
    found.broadcast(tx)
    node.mine()
    assert node.received(output.address) == output.units


@pytest.mark.parametrize(
    ("lie", "error", "in_pool"),
    [
        (Lie.LOST_DONE, NodeUnavailable, True),
        (Lie.LOST_UNDONE, NodeUnavailable, False),
        (Lie.REFUSED_DONE, TransactionRefused, True),
        (Lie.ACCEPTED_UNDONE, None, False),
    ],
)
def test_each_lie_about_a_send_tells_something_else_than_what_happened(
    lie: Lie, error: type[Exception] | None, in_pool: bool
) -> None:
    node = FakeChain()
    found, tx, output = signed(node)
    node.lie("broadcast", lie)
    if error is None:
        found.broadcast(tx)
    else:
        with pytest.raises(error):
            found.broadcast(tx)
    assert (tx.txid in node.pool) is in_pool
    found.broadcast(tx)  # the lie is used up
    assert tx.txid in node.pool
    assert node.received(output.address) == output.units


def test_a_node_that_is_not_ready_says_so_and_still_answers() -> None:
    node = FakeChain()
    found, _ = ready(node)
    node.unready("syncing", "3 blocks behind")
    health = found.health()
    assert (health.ok, health.reason, health.detail, health.tip) == (False, "syncing", "3 blocks behind", node.tip)
    assert found.balance().total_units == 0
    node.up()
    assert found.health().ok


def test_fees_follow_the_market_that_a_test_sets() -> None:
    node = FakeChain()
    found, _ = ready(node)
    node.set_rate(25_000)
    assert (found.fee_market(6, 1).rate, found.fee_market(6, 1).source) == (25_000, "estimate")
    node.set_rate(None, rate_min=9_000)
    assert (found.fee_market(6, 1).rate, found.fee_market(6, 1).source) == (9_000, "fallback")


def test_an_address_that_was_not_watched_when_paid_is_missed() -> None:
    node = FakeChain()
    found, address = ready(node, index=30)
    node.fund(address, COIN)
    found.watch(50)
    assert found.deposits_since(None).deposits == ()
    node.fund(address, COIN)
    assert [d.units for d in found.deposits_since(None).deposits] == [COIN]


def test_a_deposit_that_a_reorganisation_drops_vanishes() -> None:
    node = FakeChain()
    found, address = ready(node)
    txid = node.fund(address, COIN, blocks=2)
    [deposit] = found.deposits_since(None).deposits
    node.reorg(2, gone=[txid])
    gone = found.look_up_deposits([deposit])[deposit.key]
    assert (gone.status, gone.reason) == (DepositStatus.GONE, "vanished")


def test_a_cursor_on_a_branch_that_died_reports_what_that_branch_held() -> None:
    node = FakeChain()
    found, address = ready(node)
    node.mine(5)
    txid = node.fund(address, COIN)
    cursor = node.tip.hash
    node.reorg(1, double_spent=[txid])
    [gone] = found.deposits_since(cursor).deposits
    assert (gone.txid, gone.status, gone.reason) == (txid, DepositStatus.GONE, "conflicted")


@pytest.mark.parametrize(
    "spoil", [str.title, lambda a: a[:-1], lambda a: a[:-1] + "!", lambda a: f" {a}", lambda a: "x"]
)
def test_bad_addresses_are_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    book = FakeAddressBook()
    address = book.at("fakepub:coffer", 7)
    assert book.parse(address.upper()) == address
    with pytest.raises(InvalidAddress):
        book.parse(spoil(address))
    with pytest.raises(InvalidAddress, match="checksum"):
        book.parse(address[:-6] + ("0" * 6))


def settings(**fields: object) -> Settings:
    return Settings(database_url="sqlite://", **fields)  # type: ignore[arg-type]


class Nobody:
    """A directory in which nothing is ours."""

    def ours(self, addresses: Collection[str]) -> Collection[str]:
        return ()

    def tokens(self) -> Collection[str]:
        return ()


def test_the_registry_serves_the_model_chain_to_test_installations_only(tmp_path: Path) -> None:
    url = f"fake:{tmp_path / 'chain'}"
    served = wallet("bitcoin", settings(bitcoin_rpc_url=url), Nobody())
    assert served.chain == "bitcoin"
    assert FakeWallet(FakeChain(tmp_path / "chain")).open() == served.open()
    assert address_book("bitcoin", settings(bitcoin_rpc_url=url)).at("x", 0).startswith("fake1")
    for unsafe in ({"mode": "live"}, {"bitcoin_network": "main"}):
        with pytest.raises(WrongNetwork):
            wallet("bitcoin", settings(bitcoin_rpc_url=url, **unsafe), Nobody())
        with pytest.raises(WrongNetwork):
            address_book("bitcoin", settings(bitcoin_rpc_url=url, **unsafe))


def test_two_model_chains_of_one_installation_know_each_others_addresses_as_nothing(tmp_path: Path) -> None:
    urls = {"bitcoin_rpc_url": f"fake:{tmp_path / 'a'}", "monero_daemon_url": f"fake:{tmp_path / 'b'}"}
    books = {name: address_book(name, settings(**urls)) for name in ("bitcoin", "monero")}
    wallets = {name: wallet(name, settings(**urls), Nobody()) for name in books}
    own = {name: books[name].at(wallets[name].open().account_public_key, 7) for name in books}
    for name, other in (("bitcoin", "monero"), ("monero", "bitcoin")):
        assert wallets[name].chain == name
        assert books[name].parse(own[name]) == own[name]
        with pytest.raises(InvalidAddress):
            books[name].parse(own[other])
    with pytest.raises(WrongNetwork):
        wallet("monero", settings(**urls, monero_network="stagenet"), Nobody())


def test_the_registry_knows_its_chains() -> None:
    assert chains() == ("bitcoin", "monero", "ethereum")
    assert address_book("bitcoin", settings(bitcoin_network="main")).parse("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
    assert address_book("ethereum", settings()).parse("0x" + "ab" * 20)
    assert not address_book("monero", settings()).derives
    assert wallet("bitcoin", settings(bitcoin_rpc_url="http://u:p@127.0.0.1:1"), Nobody()).chain == "bitcoin"
    with pytest.raises(LookupError):
        wallet("dogecoin", settings(), Nobody())


@pytest.mark.parametrize("chain", chains())
def test_a_chain_without_its_node_in_the_settings_names_the_variable(chain: str) -> None:
    with pytest.raises(NodeNotReady, match=f"COFFER_{chain.upper()}_"):
        wallet(chain, settings(), Nobody())
