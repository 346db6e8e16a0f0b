"""The sweep contract on real nodes: who may do what, what moves, and what a bad token can spoil.

Everything runs on anvil, and on geth where it is there.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from devstack.anvil import Anvil
from devstack.evm import EvmError, EvmNode
from devstack.geth import Geth
from wallets.ethereum.contracts import creation, decode, encode, load, topic
from wallets.ethereum.keys import EthereumKeys

SWEEPER = load("Sweeper")
GOOD = load("GoodToken")
NOBODY = "0x" + "00" * 20
#: Deploys code that answers 1, in 32 bytes, to whatever it is asked.
ANSWERS_ONE = "0x69" + "600160005260206000f3" + "600052600a6016f3"
HOT = 0
GWEI = 10**9


class Ground:
    """Keys of one test, a treasury with coin, a sweep contract of its own, and ways to use them."""

    def __init__(self, node: EvmNode) -> None:
        self.node = node
        self.chain_id = node.chain_id()
        self.keys = EthereumKeys(secrets.token_bytes(32))
        self.treasury = self.keys.address(HOT)
        node.settle(node.pay(self.treasury, 10**19))
        self.sweeper = node.deploy(creation(SWEEPER, [self.treasury]))

    def token(self, name: str, *more: Any) -> str:
        """A token whose holder is nobody of ours; `mint` gives some."""
        return self.node.deploy(creation(load(name), ["TST", 6, self.node.payer, 0, *more]))

    def mint(self, token: str, index: int, amount: int) -> None:
        data = encode(GOOD, "mint", [self.keys.address(index), amount])
        assert self.node.settle(self.node.send({"to": token, "data": data}))["status"] == "0x1"

    def held(self, token: str, address: str) -> int:
        answer = self.node.call(token, encode(GOOD, "balanceOf", [address]))
        return int(decode(GOOD, "balanceOf", answer)[0])

    def send(self, index: int, to: str, data: str = "0x", **fields: Any) -> dict[str, Any]:
        """Signs with an own key, makes a block, and returns the receipt."""
        signed = self.keys.sign_transaction(
            index,
            {
                "chainId": self.chain_id,
                "nonce": self.node.nonce(self.keys.address(index)),
                "to": to,
                "value": 0,
                "data": data,
                "gas": 2_000_000,
                "maxFeePerGas": 20 * GWEI,
                "maxPriorityFeePerGas": GWEI,
                **fields,
            },
        )
        assert self.node.send_raw(signed.raw) == signed.hash
        return self.node.settle(signed.hash)

    def authorize(self, index: int, delegate: str) -> Any:
        nonce = self.node.nonce(self.keys.address(index))
        return self.keys.sign_authorization(index, self.chain_id, delegate, nonce)

    def sweep(
        self, token: str, parts: dict[int, int], *, delegating: Sequence[int] = (), by: int = HOT
    ) -> dict[str, Any]:
        """Amounts by index, in one transaction that delegates these indices first."""
        owners = [self.keys.address(index) for index in parts]
        data = encode(SWEEPER, "sweep", [token, owners, list(parts.values())])
        authorizations = [self.authorize(index, self.sweeper) for index in delegating]
        fields = {"authorizationList": authorizations} if authorizations else {}
        return self.send(by, self.sweeper, data, **fields)

    def failed(self, receipt: dict[str, Any]) -> list[str]:
        """The owners whose part failed, in lower case."""
        assert receipt["status"] == "0x1"
        own = [log for log in receipt["logs"] if log["address"].lower() == self.sweeper.lower()]
        assert all(log["topics"][0] == topic(SWEEPER, "Failed") for log in own)
        return ["0x" + log["topics"][2][-40:] for log in own]

    def fund(self, index: int, wei: int = 10**18) -> None:
        self.node.settle(self.node.pay(self.keys.address(index), wei, gas=100_000))


@pytest.fixture(params=["anvil", "geth"])
def node(request: pytest.FixtureRequest) -> EvmNode:
    found: Anvil | Geth = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def ground(node: EvmNode) -> Ground:
    return Ground(node)


def test_what_is_deployed_is_what_was_compiled(ground: Ground) -> None:
    expected = SWEEPER.deployed({"treasury": ground.treasury, "self": ground.sweeper})
    assert ground.node.code(ground.sweeper) == expected
    assert SWEEPER.deployed({"treasury": ground.keys.address(1), "self": ground.sweeper}) != expected


def test_one_transaction_delegates_and_sweeps_many(ground: Ground) -> None:
    token = ground.token("GoodToken")
    parts = {index: 100 * index for index in range(1, 6)}
    for index, amount in parts.items():
        ground.mint(token, index, amount)
    receipt = ground.sweep(token, parts, delegating=list(parts))
    assert ground.failed(receipt) == []
    assert ground.held(token, ground.treasury) == sum(parts.values())
    assert all(ground.held(token, ground.keys.address(index)) == 0 for index in parts)
    code = ground.node.code(ground.keys.address(1))
    assert code == "0xef0100" + ground.sweeper[2:].lower()


def test_a_delegated_address_is_swept_again_without_a_new_authorization(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 5)
    ground.sweep(token, {1: 5}, delegating=[1])
    ground.mint(token, 1, 7)
    assert ground.failed(ground.sweep(token, {1: 7})) == []
    assert ground.held(token, ground.treasury) == 12


def test_exactly_the_amount_moves_and_what_came_meanwhile_stays(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 50)
    assert ground.failed(ground.sweep(token, {1: 30}, delegating=[1])) == []
    assert (ground.held(token, ground.treasury), ground.held(token, ground.keys.address(1))) == (30, 20)


def test_an_owner_that_holds_too_little_fails_alone(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 10)
    ground.mint(token, 2, 10)
    receipt = ground.sweep(token, {1: 11, 2: 10}, delegating=[1, 2])
    assert ground.failed(receipt) == [ground.keys.address(1).lower()]
    assert ground.held(token, ground.treasury) == 10


def test_an_owner_that_is_not_delegated_is_reported_not_taken_for_swept(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 10)
    ground.mint(token, 2, 10)
    receipt = ground.sweep(token, {1: 10, 2: 10}, delegating=[2])
    assert ground.failed(receipt) == [ground.keys.address(1).lower()]
    assert ground.held(token, ground.keys.address(1)) == 10


@pytest.mark.parametrize("answer", ["nothing", "a word"])
def test_an_owner_that_runs_other_code_is_reported(answer: str, ground: Ground) -> None:
    token = ground.token("GoodToken")
    other = ground.node.deploy(ANSWERS_ONE) if answer == "a word" else token
    ground.mint(token, 1, 10)
    ground.send(HOT, ground.treasury, authorizationList=[ground.authorize(1, other)])
    assert ground.failed(ground.sweep(token, {1: 10})) == [ground.keys.address(1).lower()]


@pytest.mark.parametrize("name", ["FalseToken", "PausableToken"])
def test_a_refusing_token_moves_nothing_and_says_so(name: str, ground: Ground) -> None:
    token = ground.token(name)
    ground.mint(token, 1, 10)
    if name == "PausableToken":
        ground.node.settle(ground.node.send({"to": token, "data": encode(load(name), "setPaused", [True])}))
    receipt = ground.sweep(token, {1: 10}, delegating=[1])
    assert ground.failed(receipt) == [ground.keys.address(1).lower()]
    assert ground.held(token, ground.keys.address(1)) == 10


def test_one_frozen_owner_does_not_stop_the_others(ground: Ground) -> None:
    token = ground.token("PausableToken")
    for index in (1, 2, 3):
        ground.mint(token, index, 10)
    freeze = encode(load("PausableToken"), "setFrozen", [ground.keys.address(2), True])
    ground.node.settle(ground.node.send({"to": token, "data": freeze}))
    receipt = ground.sweep(token, {1: 10, 2: 10, 3: 10}, delegating=[1, 2, 3])
    assert ground.failed(receipt) == [ground.keys.address(2).lower()]
    assert ground.held(token, ground.treasury) == 20


def test_a_token_that_answers_nothing_is_swept(ground: Ground) -> None:
    token = ground.token("NoReturnToken")
    ground.mint(token, 1, 10)
    assert ground.failed(ground.sweep(token, {1: 10}, delegating=[1])) == []
    assert ground.held(token, ground.treasury) == 10


def test_a_token_without_code_is_a_failure(ground: Ground) -> None:
    receipt = ground.sweep(ground.keys.address(9), {1: 10}, delegating=[1])
    assert ground.failed(receipt) == [ground.keys.address(1).lower()]


def test_a_fee_token_brings_less_and_its_logs_tell(ground: Ground) -> None:
    token = ground.token("FeeToken", False)
    ground.mint(token, 1, 1_000)
    assert ground.failed(ground.sweep(token, {1: 1_000}, delegating=[1])) == []
    assert ground.held(token, ground.treasury) == 990


def test_nobody_but_the_treasury_starts_a_sweep(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 10)
    ground.sweep(token, {1: 0}, delegating=[1])
    ground.fund(3)
    data = encode(SWEEPER, "sweep", [token, [ground.keys.address(1)], [10]])
    assert ground.sweep(token, {1: 10}, by=3)["status"] == "0x0"
    # Neither the owner itself, nor anyone who calls its address, in any of the two entries.
    direct = encode(SWEEPER, "sweepToTreasury", [token, 10])
    for caller in (ground.node.payer, ground.keys.address(1), ground.treasury):
        for to in (ground.keys.address(1), ground.sweeper):
            with pytest.raises(EvmError, match="revert"):
                ground.node.call(to, direct, caller)
    with pytest.raises(EvmError, match="revert"):
        ground.node.call(ground.keys.address(1), data, ground.treasury)
    assert (ground.held(token, ground.treasury), ground.held(token, ground.keys.address(1))) == (0, 10)


def test_another_ones_sweep_contract_cannot_touch_our_addresses(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 10)
    ground.sweep(token, {1: 0}, delegating=[1])
    ground.fund(3)
    theirs = ground.node.deploy(creation(SWEEPER, [ground.keys.address(3)]))
    data = encode(SWEEPER, "sweep", [token, [ground.keys.address(1)], [10]])
    receipt = ground.send(3, theirs, data)
    assert [log["topics"][0] for log in receipt["logs"]] == [topic(SWEEPER, "Failed")]
    assert ground.held(token, ground.keys.address(1)) == 10


def test_whoever_publishes_our_authorization_first_wins_nothing(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.mint(token, 1, 10)
    authorization = ground.authorize(1, ground.sweeper)
    ground.fund(3)
    ground.send(3, ground.keys.address(3), authorizationList=[authorization])
    data = encode(SWEEPER, "sweep", [token, [ground.keys.address(1)], [10]])
    receipt = ground.send(HOT, ground.sweeper, data, authorizationList=[authorization])
    assert ground.failed(receipt) == []
    assert ground.held(token, ground.treasury) == 10


def test_unequal_lists_and_a_treasury_of_nobody_are_refused(ground: Ground) -> None:
    token = ground.token("GoodToken")
    data = encode(SWEEPER, "sweep", [token, [ground.keys.address(1)], []])
    assert ground.send(HOT, ground.sweeper, data)["status"] == "0x0"
    with pytest.raises(RuntimeError, match="deployment failed"):
        ground.node.deploy(creation(SWEEPER, [NOBODY]))


def test_a_delegated_address_takes_the_coin_with_gas_and_not_with_21000(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.sweep(token, {1: 0}, delegating=[1])
    address = ground.keys.address(1)
    plain = ground.node.settle(ground.node.pay(address, 5, gas=21_000))
    assert (plain["status"], ground.node.balance(address)) == ("0x0", 0)
    generous = ground.node.settle(ground.node.pay(address, 5, gas=30_000))
    assert (generous["status"], ground.node.balance(address)) == ("0x1", 5)
    with_data = ground.node.settle(ground.node.pay(address, 5, gas=40_000, data="0x1234abcdef"))
    assert (with_data["status"], ground.node.balance(address)) == ("0x1", 10)


def test_a_delegated_address_still_sends_its_own_coin(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.sweep(token, {1: 0}, delegating=[1])
    ground.fund(1)
    assert ground.send(1, ground.keys.address(8), value=7, gas=21_000)["status"] == "0x1"
    assert ground.node.balance(ground.keys.address(8)) == 7


def test_taking_the_delegation_away_makes_it_an_ordinary_address_again(ground: Ground) -> None:
    token = ground.token("GoodToken")
    ground.sweep(token, {1: 0}, delegating=[1])
    ground.send(HOT, ground.treasury, authorizationList=[ground.authorize(1, NOBODY)])
    assert ground.node.code(ground.keys.address(1)) == "0x"
    assert ground.node.settle(ground.node.pay(ground.keys.address(1), 5))["status"] == "0x1"


def test_the_contract_itself_takes_no_coin_and_gives_up_tokens_sent_to_it(ground: Ground) -> None:
    assert ground.node.settle(ground.node.pay(ground.sweeper, 5, gas=100_000))["status"] == "0x0"
    with_data = ground.node.pay(ground.sweeper, 5, gas=100_000, data="0x1234abcd")
    assert ground.node.settle(with_data)["status"] == "0x0"
    token = ground.token("GoodToken")
    mint = encode(GOOD, "mint", [ground.sweeper, 9])
    ground.node.settle(ground.node.send({"to": token, "data": mint}))
    data = encode(SWEEPER, "sweep", [token, [ground.sweeper], [9]])
    assert ground.failed(ground.send(HOT, ground.sweeper, data)) == []
    assert ground.held(token, ground.treasury) == 9


def test_a_batch_costs_less_per_address_than_top_up_and_transfer(ground: Ground) -> None:
    """NODES 4.5: 67,644 gas for two transactions of which each sweep without delegation consists."""
    token = ground.token("GoodToken")
    ground.mint(token, HOT, 1)  # the treasury's first token costs the storage of a new holder
    parts = dict.fromkeys(range(1, 11), 10)
    for index in parts:
        ground.mint(token, index, 20)
    first = int(ground.sweep(token, parts, delegating=list(parts))["gasUsed"], 16) / len(parts)
    second = int(ground.sweep(token, parts)["gasUsed"], 16) / len(parts)
    print(f"gas for each of {len(parts)}: {first:.0f} with delegation, {second:.0f} delegated before")
    assert first < 67_644
    assert second < first


def test_payers_for_tests_do_what_their_names_say(ground: Ground) -> None:
    node, payee = ground.node, ground.keys.address(7)
    forwarder = node.deploy(creation(load("Forwarder")))
    for function, gets in (("forward", 5), ("pretend", 0)):
        data = encode(load("Forwarder"), function, [payee])
        receipt = node.settle(node.send({"to": forwarder, "data": data, "value": hex(5)}))
        assert (receipt["status"], receipt["logs"]) == ("0x1", [])
        assert node.balance(payee) == gets + (5 if function == "pretend" else 0)
    many = encode(load("Forwarder"), "forwardMany", [[payee, ground.keys.address(8)]])
    node.settle(node.send({"to": forwarder, "data": many, "value": hex(8)}))
    assert (node.balance(payee), node.balance(ground.keys.address(8))) == (9, 4)
    node.settle(node.send({"data": creation(load("Destructor"), [payee]), "value": hex(6)}))
    assert node.balance(payee) == 15
    rejecter = node.deploy(creation(load("Rejecter")))
    assert node.settle(node.pay(rejecter, 1, gas=90_000))["status"] == "0x0"
    costly = node.deploy(creation(load("CostlyReceiver")))
    assert node.settle(node.pay(costly, 1, gas=21_000))["status"] == "0x0"
    assert node.settle(node.pay(costly, 1, gas=90_000))["status"] == "0x1"


def test_a_lying_token_logs_what_it_does_not_do(ground: Ground) -> None:
    token = ground.token("LyingToken")
    data = encode(load("LyingToken"), "transfer", [ground.keys.address(1), 10])
    receipt = ground.node.settle(ground.node.send({"to": token, "data": data}))
    assert (receipt["status"], len(receipt["logs"])) == ("0x1", 1)
    assert ground.held(token, ground.keys.address(1)) == 0
