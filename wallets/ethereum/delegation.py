"""Many indices in one transaction that the hot wallet sends and pays (EIP-7702).

Each index signs that its address runs the code of the sweep contract, which moves tokens to the hot wallet and
nowhere else. Taking that code away again is a transaction of the same kind: an authorization of the zero address.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ledger.errors import (
    InsufficientHotFunds,
    InvalidAddress,
    InvalidInput,
    NodeNotReady,
    NodeProtocolError,
    WalletBusy,
)
from wallets.ethereum.addresses import HOT_INDEX
from wallets.ethereum.client import Call, EthereumClient, RpcRefused
from wallets.ethereum.contracts import load
from wallets.ethereum.reply import data_of, quantity_of
from wallets.ethereum.tokens import balance_call, transfer_call, uint_of
from wallets.ethereum.transaction import PLAIN_GAS, Delegation, Keys, Plan, resource
from wallets.protocol import Spend

#: What one authorization costs at most before any code runs (EIP-7702, PER_EMPTY_ACCOUNT_COST).
AUTHORIZATION_GAS = 25_000
NOBODY = "0x" + "0" * 40
_DESIGNATOR = "0xef0100"


class Delegations:
    """Who of our indices runs which code. `sweeper` is the deployed contract; None: no batched sweeps."""

    def __init__(self, client: EthereumClient, keys: Keys, sweeper: str | None) -> None:
        self._client = client
        self._keys = keys
        self._sweeper = sweeper
        self._proven = False

    def needed(self, spend: Spend, excluded: Collection[str]) -> tuple[Delegation, ...]:
        """The authorizations that this spend needs now. Raises `WalletBusy` when a nonce that one of them uses is bound
        to another payment."""
        delegate = self.delegate_of(spend)
        addresses = [self._keys.address(index) for index in spend.sources]
        calls: list[Call] = [("eth_getCode", [address, "latest"]) for address in addresses]
        calls += [("eth_getTransactionCount", [address, "latest"]) for address in addresses]
        answers = self._client.read_many(calls)
        found = []
        for place, (index, address) in enumerate(zip(spend.sources, addresses, strict=True)):
            runs = _runs(data_of(answers[place], "eth_getCode"), address)
            if runs == delegate:
                continue
            nonce = quantity_of(answers[len(addresses) + place], "eth_getTransactionCount")
            if resource(address, nonce) in excluded:
                raise WalletBusy(f"another transaction of {address} is on its way")
            found.append(Delegation(index, address, delegate, nonce))
        if not found and not spend.outputs:
            raise InvalidInput("/sources", "none of these addresses runs any code")
        return tuple(found)

    def delegate_of(self, spend: Spend) -> str:
        """The contract whose code the sources are to run: none, for a spend that pays nobody."""
        if not spend.outputs:
            return NOBODY
        if self._sweeper is None:
            raise InvalidInput("/batched", "no sweep contract is set: sweep one by one")
        return self._sweeper.lower()

    def check(self, found: Sequence[Delegation], spend: Spend) -> None:
        """Raises `NodeProtocolError` unless these authorizations are for this spend and for nothing else."""
        if not spend.batched:
            if found:
                raise NodeProtocolError("the proposal delegates addresses and is no batched sweep")
            return
        delegate = self.delegate_of(spend)
        indices = [each.index for each in found]
        if len(set(indices)) != len(indices) or not set(indices) <= set(spend.sources):
            raise NodeProtocolError("the proposal delegates other addresses than its sources")
        if any(each.delegate != delegate or each.address != self._keys.address(each.index) for each in found):
            raise NodeProtocolError("the proposal delegates to another contract than ours")

    def prove(self) -> None:
        """That the contract is ours, byte for byte, and pays our hot wallet: a deposit address would obey any other.
        Code never changes, so that once is enough."""
        if self._proven or self._sweeper is None:
            return
        code = data_of(self._client.read("eth_getCode", self._sweeper, "latest"), "eth_getCode")
        ours = load("Sweeper").deployed({"treasury": self._keys.address(HOT_INDEX), "self": self._sweeper})
        if code != ours.lower():
            raise NodeNotReady(f"the contract at {self._sweeper} is not the sweep contract of this hot wallet")
        self._proven = True


def future_code(found: Sequence[Delegation]) -> Mapping[str, Any]:
    """The code that the sources will have by then, for an estimate. No authorization is signed for that: whoever has
    one may use it."""
    return {each.address: {"code": _DESIGNATOR + each.delegate[2:]} for each in found}


def cleared_gas(found: Sequence[Delegation]) -> int:
    """The gas limit of a transaction that only takes code away."""
    return PLAIN_GAS + AUTHORIZATION_GAS * len(found)


def check_holdings(client: EthereumClient, what: Plan) -> None:
    """Raises `InsufficientHotFunds` when a source has less of the token than is to move."""
    if what.token is None:
        return
    answers = client.read_many([balance_call(what.token, move.sender, "latest") for move in what.moves])
    for move, answer in zip(what.moves, answers, strict=True):
        held = uint_of(answer, "balanceOf")
        if held < move.units:
            raise InsufficientHotFunds(f"{move.sender} has {held} units of the token, {move.units} are asked")


def check_willing(client: EthereumClient, what: Plan) -> None:
    """The sweep contract goes on past a source whose token refuses, and the estimate does not tell: each is asked
    alone. Raises `InvalidAddress`."""
    calls: list[Call] = [
        ("eth_call", [{"from": move.sender, "to": what.token, "data": transfer_call(move.payee, move.units)}, "latest"])
        for move in what.moves
    ]
    for move, answer in zip(what.moves, client.try_many(calls), strict=True):
        # Nothing at all is a yes too: so does USDT.
        if isinstance(answer, RpcRefused) or (answer != "0x" and uint_of(answer, "transfer") != 1):
            raise InvalidAddress("/address", f"the token's contract will not take from {move.sender}")


def _runs(code: str, address: str) -> str:
    if code == "0x":
        return NOBODY
    if not code.startswith(_DESIGNATOR) or len(code) != len(_DESIGNATOR) + 40:
        raise NodeProtocolError(f"{address} of ours has code of its own")
    return "0x" + code[len(_DESIGNATOR) :]
