"""A listed token whose contract tells no balance any more, closed or broken by an upgrade, stops only itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest

from jobs.backup import quarantine
from jobs.backup.compare import compare
from jobs.reconcile import brake
from jobs.reconcile.chain import of_asset, reconcile
from jobs.saga import SECOND
from ledger.db import Tx
from ledger.errors import TokenUnreadable
from ledger.schema import pause, task, withdrawal
from tests.clock import Clock
from tests.flows.ethereum_engine import ETHER, EthereumEngine

TOKENS = 5_000_000
#: Refuses every call; runs, and gives nothing back; gives the largest number there is.
REFUSES, SILENT, BOUNDLESS = "0x5f5ffd", "0x00", f"0x7f{'ff' * 32}5f5260205ff3"
UNCOMPARED = ("reconciliation", "reconcile:GOOD")


def break_it(ethereum: EthereumEngine, code: str = REFUSES) -> Callable[[], None]:
    """The token's contract answers nothing any more; what mends it."""
    contract = ethereum.contracts["GOOD"]
    whole = ethereum.node.code(contract)
    ethereum.node.rpc("anvil_setCode", contract, code)
    return lambda: ethereum.node.rpc("anvil_setCode", contract, whole)


@pytest.mark.parametrize("code", [REFUSES, SILENT, BOUNDLESS])
def test_other_assets_are_paid_out_and_it_is_once_it_answers_again(ethereum: EthereumEngine, code: str) -> None:
    ethereum.stock()
    token = ethereum.add_token("GOOD", sweep_minimum_units=TOKENS)
    holder, other = ethereum.funded(10 * TOKENS, token), ethereum.funded(ETHER)
    for _ in range(4):
        ethereum.mine()
    assert ethereum.tokens_of("GOOD", ethereum.hot) == 10 * TOKENS
    mend = break_it(ethereum, code)
    waits = ethereum.withdraw(holder, TOKENS, ethereum.outside(), asset="GOOD")
    paid = ethereum.withdraw(other, ETHER // 2, ethereum.outside())
    for _ in range(4):
        ethereum.mine()
    assert ethereum.state(paid) == "completed"
    [row] = [each for each in ethereum.rows(withdrawal) if each.id == waits]
    assert (row.state, row.payment_id, row.status_reason) == ("queued", None, "token_unreadable")
    assert ethereum.alarms() == {UNCOMPARED, ("token_unreadable", "hot:GOOD")}
    assert ethereum.rows(pause) == []
    mend()
    for _ in range(4):
        ethereum.mine()
    assert ethereum.state(waits) == "completed"
    assert ethereum.alarms() == set()
    ethereum.agree()


def test_the_brake_of_the_others_is_not_blind_and_the_last_comparison_keeps_its_age(
    ethereum: EthereumEngine, clock: Clock
) -> None:
    ethereum.stock()
    ethereum.add_token("GOOD")
    ethereum.run_task("reconcile")
    compared = progress(ethereum, "reconcile")["GOOD"]
    mend = break_it(ethereum)
    ethereum.node.set_balance(ethereum.hot, ETHER // 2)  # somebody else has the keys
    ethereum.node.mine(1)
    ethereum.run_task("scan")
    for _ in range(2):
        ethereum.run_task("reconcile")
        clock.forward(seconds=brake.AGAIN_US // SECOND)
    assert {(row.asset, row.flow) for row in ethereum.rows(pause)} == {("ETH", "withdrawals")}
    assert UNCOMPARED in ethereum.alarms()
    assert progress(ethereum, "reconcile")["GOOD"] == compared
    with pytest.raises(TokenUnreadable, match="GOOD cannot be compared"):
        reconcile(ethereum.services, "ethereum")
    mend()
    ethereum.run_task("reconcile")
    assert UNCOMPARED not in ethereum.alarms()


def test_what_the_balance_sync_follows_is_not_forgotten_meanwhile(ethereum: EthereumEngine) -> None:
    token = ethereum.add_token("GOOD", sweep_minimum_units=100 * TOKENS)
    home = ethereum.address(ethereum.funded(TOKENS, token))
    ethereum.node.rpc("anvil_dealERC20", home.address, ethereum.contracts["GOOD"], hex(3 * TOKENS))
    ethereum.mine(1)
    ethereum.run_task("sync")
    followed = progress(ethereum, "sync")["surpluses"]
    assert set(followed) == {f"GOOD:{home.idx}"}
    mend = break_it(ethereum)
    ethereum.mine(1)
    ethereum.run_task("sync")
    assert progress(ethereum, "sync")["surpluses"] == followed
    mend()
    ethereum.run_task("sync")
    assert progress(ethereum, "sync")["surpluses"] == followed


def test_the_coin_is_told_to_be_low_and_cold_addresses_are_looked_at(ethereum: EthereumEngine, clock: Clock) -> None:
    ethereum.stock()
    ethereum.add_token("GOOD")
    break_it(ethereum)
    ethereum.node.set_balance(ethereum.cold()["ethereum"], ETHER)
    ethereum.set_policy(hot_low_units=2 * ETHER)
    ethereum.node.mine(1)
    clock.forward(hours=25)
    for work in ("scan", "hot", "sync"):
        ethereum.run_task(work)
    assert {("gas_low", "hot_low:ETH"), ("cold_mismatch", "cold:ETH")} <= ethereum.alarms()


def test_a_restored_installation_is_compared_and_a_person_accepts_the_token(
    ethereum: EthereumEngine,
) -> None:
    """Without that, one dead token would keep everything of the chain halted for ever."""
    ethereum.stock()
    ethereum.add_token("GOOD")

    def unit(tx: Tx) -> None:
        begun = quarantine.Beginning("bk", tx.now, defaultdict(lambda: "survived"), "operator:ann", 20)
        quarantine.begin(tx, begun, defaultdict(lambda: ethereum.books))

    ethereum.database.run(unit, "test_restore")
    break_it(ethereum)
    found = compare(ethereum.services, ethereum.runtime, "ethereum", [])
    assert [(each.kind, each.subject, each.open) for each in found.findings] == [("books", "GOOD", True)]
    assert [report.asset for report in found.reports] == ["ETH"]
    assert of_asset(ethereum.services, "ETH", "ethereum").unexplained_units == 0
    with pytest.raises(TokenUnreadable):
        of_asset(ethereum.services, "GOOD", "ethereum")


def progress(ethereum: EthereumEngine, work: str) -> dict[str, dict[str, object]]:
    return dict(next(row.progress for row in ethereum.rows(task) if row.name == f"{work}:ethereum"))
