"""The balance sync on a real EVM chain: what nobody explains is followed, told, and put where a person decides."""

from __future__ import annotations

from eth_hash.auto import keccak
from sqlalchemy import update

from jobs.reconcile import chain as reconcile
from jobs.resolve import by_hand as resolve
from ledger.schema import account, chain, deposit, pause, task
from tests.clock import Clock
from tests.flows.engine import Engine
from tests.flows.ethereum_engine import ETHER, EthereumEngine

GIFT = 7 * 10**15


def followed(ethereum: EthereumEngine) -> dict[str, str]:
    row = next(row for row in ethereum.rows(task) if row.name == "sync:ethereum")
    return {key: look["units"] for key, look in row.progress["surpluses"].items()}


def surpluses(ethereum: EthereumEngine) -> list[tuple[str, int, str]]:
    rows = [row for row in ethereum.deposits() if row.output_key.startswith("surplus:")]
    return [(row.state, row.units, row.status_reason) for row in rows]


def quiet(ethereum: EthereumEngine) -> None:
    """No sweep moves what a test looks at."""
    ethereum.set_policy(sweep_minimum_units=10 * ETHER)


def gift(ethereum: EthereumEngine, address: str, wei: int = GIFT) -> None:
    """Coins without any transaction, as a validator's withdrawal brings them."""
    ethereum.node.set_balance(address, ethereum.node.balance(address) + wei)
    ethereum.mine(1)


def test_coins_that_no_transaction_brought_go_to_suspense_once_they_are_final(ethereum: EthereumEngine) -> None:
    quiet(ethereum)
    customer = ethereum.funded(ETHER)
    home = ethereum.address(customer)
    gift(ethereum, home.address)
    ethereum.run_task("reconcile")
    ethereum.mine(2)  # seen twice, and not final
    assert followed(ethereum) == {f"ETH:{home.idx}": str(GIFT)}
    assert surpluses(ethereum) == []
    ethereum.check_invariants()  # followed, so that nothing is unexplained and nobody's withdrawals stop
    ethereum.finalise()
    ethereum.tick()
    assert surpluses(ethereum) == [("held", GIFT, "unexplained_balance")]
    assert (ethereum.house("suspense"), ethereum.available(customer)) == (GIFT, ETHER)
    assert ethereum.held(home.idx) == ETHER + GIFT
    for _ in range(3):
        ethereum.finalise()
    assert len(surpluses(ethereum)) == 1
    assert ethereum.rows(pause) == []
    ethereum.agree()


def test_an_operator_gives_a_surplus_to_the_customer_whose_address_it_is(ethereum: EthereumEngine) -> None:
    quiet(ethereum)
    customer = ethereum.funded(ETHER)
    gift(ethereum, ethereum.address(customer).address)
    ethereum.finalise()
    ethereum.tick()
    [row] = [row for row in ethereum.deposits() if row.state == "held"]
    name = ethereum.row(account, customer).public_id
    ethereum.database.run(lambda tx: resolve.credit_deposit(tx, row.public_id, name, "test"), "test")
    ethereum.node.mine(1)
    ethereum.run_task("scan")  # which asks the node about everything that is open
    assert ethereum.alarms() == set()
    ethereum.tick()
    assert ethereum.available(customer) == ETHER + GIFT
    assert ethereum.row(deposit, row.id).state == "final"
    assert ethereum.alarms() == set()
    ethereum.agree()


def test_a_surplus_of_the_hot_wallet_goes_to_suspense(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    gift(ethereum, ethereum.hot)
    ethereum.finalise()
    ethereum.tick()
    assert surpluses(ethereum) == [("held", GIFT, "unexplained_balance")]
    assert -ethereum.house("treasury_hot") == ETHER + GIFT
    ethereum.agree()


def test_tokens_that_appear_without_an_event_go_to_suspense(ethereum: EthereumEngine) -> None:
    good = ethereum.add_token("GOOD", sweep_minimum_units=10**12)
    customer = ethereum.funded(50 * 10**6, good)
    rebase(ethereum, "GOOD", ethereum.address(customer, good).address, 51 * 10**6)
    ethereum.mine(1)
    ethereum.finalise()
    ethereum.tick()
    assert surpluses(ethereum) == [("held", 10**6, "unexplained_balance")]
    assert (ethereum.house("suspense", "GOOD"), ethereum.available(customer, "GOOD")) == (10**6, 50 * 10**6)
    ethereum.agree()


def rebase(ethereum: EthereumEngine, code: str, holder: str, units: int) -> None:
    """The token changes a balance by itself and tells nobody."""
    place = "0x" + keccak(bytes(12) + bytes.fromhex(holder[2:]) + (2).to_bytes(32, "big")).hex()
    ethereum.node.rpc("anvil_setStorageAt", ethereum.contracts[code], place, f"0x{units:064x}")
    assert ethereum.tokens_of(code, holder) == units


def test_a_surplus_that_changes_is_followed_anew(ethereum: EthereumEngine) -> None:
    quiet(ethereum)
    home = ethereum.address(ethereum.funded(ETHER))
    gift(ethereum, home.address)
    ethereum.mine(4)
    gift(ethereum, home.address, 1)
    ethereum.mine(4)
    assert surpluses(ethereum) == []
    assert followed(ethereum) == {f"ETH:{home.idx}": str(GIFT + 1)}
    ethereum.finalise()
    ethereum.tick()
    assert [units for _, units, _ in surpluses(ethereum)] == [GIFT + 1]


def test_coins_on_an_index_that_holds_nothing_are_found_in_the_days_round(ethereum: EthereumEngine) -> None:
    customer = ethereum.account()
    homes = [ethereum.address(customer, fresh=True) for _ in range(4)]
    gift(ethereum, homes[-1].address)
    for _ in range(6):
        ethereum.run_task("sync")
    assert followed(ethereum) == {f"ETH:{homes[-1].idx}": str(GIFT)}


def test_money_missing_on_an_index_raises_an_alarm_and_stops_the_asset_when_it_stays(ethereum: EthereumEngine) -> None:
    quiet(ethereum)
    home = ethereum.address(ethereum.funded(ETHER))
    ethereum.node.set_balance(home.address, ETHER - 1)
    ethereum.mine(1)
    assert ("index_short", "sync:ETH") in ethereum.alarms()
    ethereum.tick()
    assert {(row.asset, row.flow) for row in ethereum.rows(pause)} == {("ETH", "withdrawals"), ("ETH", "sweeps")}
    ethereum.node.set_balance(home.address, ETHER)
    ethereum.mine(1)
    assert ("index_short", "sync:ETH") not in ethereum.alarms()


def test_money_that_an_ill_node_does_not_see_is_not_missing(ethereum: EthereumEngine) -> None:
    quiet(ethereum)
    home = ethereum.address(ethereum.funded(ETHER))
    ethereum.node.set_balance(home.address, ETHER - 1)
    ethereum.node.mine(1)
    ill = update(chain).where(chain.c.name == "ethereum")
    ethereum.database.run(lambda tx: tx.execute(ill.values(health_reason="syncing")), "test")
    for _ in range(3):
        ethereum.run_task("sync")
    assert (ethereum.rows(pause), {name for name, _ in ethereum.alarms()} & {"index_short"}) == ([], set())
    ethereum.database.run(lambda tx: tx.execute(ill.values(health_reason=None)), "test")
    for _ in range(2):
        ethereum.run_task("sync")
    assert {(row.asset, row.flow) for row in ethereum.rows(pause)} == {("ETH", "withdrawals"), ("ETH", "sweeps")}


def test_payments_under_way_are_no_difference(ethereum: EthereumEngine) -> None:
    ethereum.stock()
    good = ethereum.add_token("GOOD", sweep_minimum_units=10**6)
    customer = ethereum.funded(ETHER)
    ethereum.funded(50 * 10**6, good)
    withdrawal = ethereum.withdraw(customer, 10**17, ethereum.outside())
    for _ in range(12):  # gas, sweeps and the withdrawal in every stage: in the pool, mined, settled
        ethereum.tick()
        ethereum.check_invariants()
        ethereum.run_task("sync")
        assert followed(ethereum) == {}
        assert ethereum.alarms() == set()
        ethereum.node.mine(1)
    ethereum.tick()
    assert ethereum.state(withdrawal) == "completed"
    assert {row.state for row in ethereum.sweeps()} == {"swept"}
    ethereum.agree()


def test_a_cold_address_that_holds_something_else_raises_an_alarm(ethereum: EthereumEngine) -> None:
    ethereum.node.set_balance(ethereum.cold()["ethereum"], 5)
    look_again(ethereum)
    assert ("cold_mismatch", "cold:ETH") in ethereum.alarms()
    ethereum.node.set_balance(ethereum.cold()["ethereum"], 0)
    look_again(ethereum)
    assert ethereum.alarms() == set()


def look_again(ethereum: EthereumEngine) -> None:
    ethereum.node.mine(1)
    ethereum.run_task("scan")
    row = next(row for row in ethereum.rows(task) if row.name == "sync:ethereum")
    forgotten = update(task).where(task.c.id == row.id).values(progress=row.progress | {"cold_at": 0})
    ethereum.database.run(lambda tx: tx.execute(forgotten), "test")
    ethereum.run_task("sync")


def test_where_the_hot_wallet_is_no_single_address_a_surplus_stays_unexplained(engine: Engine, clock: Clock) -> None:
    """Somebody pays to our change: nothing can be booked to anybody, and withdrawals stop until a person knows."""
    engine.withdraw(engine.funded(1_000_000), 100_000)
    engine.tick()
    with engine.chain.state() as s:
        change = next(address for address, index in engine.chain.owned(s, "coffer").items() if index is None)
    engine.chain.fund(change, 7_000, blocks=3)
    engine.tick()
    for work in ("reconcile", "sync"):
        engine.run_task(work)
    clock.forward(seconds=90)  # not longer: it would not be known to be the same surplus
    for work in ("scan", "reconcile", "sync"):
        engine.run_task(work)
    [report] = reconcile.reconcile(engine.services, "bitcoin")
    assert report.unexplained_units == 7_000
    assert len(engine.rows(deposit)) == 1
    assert {(row.asset, row.flow) for row in engine.rows(pause)} == {("BTC", "withdrawals")}
