"""A transaction of ours before it is signed: what a spend asks for, as the fields that go to the chain.

`Draft` is also the payload that callers store: canonical JSON, from which `sign` and `look_up` read it back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from eth_account.datastructures import SignedSetCodeAuthorization

from ledger.errors import NodeProtocolError
from wallets.ethereum.addresses import HOT_INDEX
from wallets.ethereum.contracts import encode, load
from wallets.ethereum.hd import checksummed
from wallets.ethereum.tokens import transfer_call
from wallets.protocol import HOT, Spend

#: A transfer of the native coin to an account without code costs exactly this.
PLAIN_GAS = 21_000


class SignedBytes(Protocol):
    @property
    def raw(self) -> str: ...

    @property
    def hash(self) -> str: ...


class Keys(Protocol):
    """What signs; see `wallets.ethereum.keys.EthereumKeys`."""

    @property
    def xpub(self) -> str: ...

    def address(self, index: int) -> str: ...

    def sign_transaction(self, index: int, transaction: dict[str, Any]) -> SignedBytes: ...

    def sign_authorization(
        self, index: int, chain_id: int, delegate: str, nonce: int
    ) -> SignedSetCodeAuthorization: ...


@dataclass(frozen=True, slots=True)
class Move:
    """Units of the token that must go from one address to another; addresses as in the spend."""

    sender: str
    payee: str
    units: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What a spend means on this chain, before nonce and fees."""

    index: int  #: whose key signs and whose coin pays
    to: str | None
    value: int
    data: str
    token: str | None
    moves: tuple[Move, ...]  #: of the token


@dataclass(frozen=True, slots=True)
class Delegation:
    """An EIP-7702 authorization to be signed by an index: its address runs the code of `delegate` from then on."""

    index: int
    address: str
    delegate: str
    nonce: int


@dataclass(frozen=True, slots=True)
class Draft:
    """All fields of a transaction. `gas` is its limit, `fee_cap` and `tip` are wei per gas (EIP-1559)."""

    chain_id: int
    sender: str
    nonce: int
    plan: Plan
    gas: int
    fee_cap: int
    tip: int
    delegations: tuple[Delegation, ...] = ()

    @property
    def fee_units(self) -> int:
        """The most that this can cost."""
        return self.gas * self.fee_cap

    @property
    def resources(self) -> tuple[str, ...]:
        own = resource(self.sender, self.nonce)
        return (own, *(resource(each.address, each.nonce) for each in self.delegations))

    def payload(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def unsigned(self) -> dict[str, Any]:
        """The fields as eth-account takes them, authorizations left out."""
        return {
            "type": 4 if self.delegations else 2,
            "chainId": self.chain_id,
            "nonce": self.nonce,
            "to": "" if self.plan.to is None else checksummed(bytes.fromhex(self.plan.to[2:])),
            "value": self.plan.value,
            "data": self.plan.data,
            "gas": self.gas,
            "maxFeePerGas": self.fee_cap,
            "maxPriorityFeePerGas": self.tip,
        }


def resource(address: str, nonce: int) -> str:
    """The name of an account's nonce."""
    return f"{address.lower()}:{nonce}"


def plan(spend: Spend, keys: Keys, sweeper: str | None) -> Plan:
    """What a spend means here. Raises `ValueError` for what this chain cannot do in one transaction, and
    `NodeProtocolError` for money that is to stay ours at an address that is not.

    A batched spend without outputs takes the sweep contract's code away from its sources again.
    """
    _check_targets(spend, keys)
    if spend.batched:
        return _batched(spend, keys, sweeper)
    if spend.call is not None:
        if spend.outputs or spend.sources or spend.token is not None:
            raise ValueError("a contract call moves no money of its own")
        return Plan(HOT_INDEX, spend.call.to, 0, spend.call.data, None, ())
    if len(spend.outputs) != 1 or len(spend.sources) > 1:
        raise ValueError("an Ethereum transaction pays one payee")
    [output] = spend.outputs
    index = spend.sources[0] if spend.sources else HOT_INDEX
    if spend.token is None:
        return Plan(index, output.address, output.units, "0x", None, ())
    moves = (Move(keys.address(index), output.address, output.units),)
    return Plan(index, spend.token, 0, transfer_call(output.address, output.units), spend.token, moves)


def _batched(spend: Spend, keys: Keys, sweeper: str | None) -> Plan:
    hot = keys.address(HOT_INDEX)
    if not spend.sources or len(set(spend.sources)) != len(spend.sources) or HOT_INDEX in spend.sources:
        raise ValueError("a batch takes different indices, and not the hot wallet's")
    if spend.call is not None:
        raise ValueError("a contract call moves no money of its own")
    if not spend.outputs:
        return Plan(HOT_INDEX, hot, 0, "0x", None, ())
    if spend.token is None or set(spend.targets) != {HOT} or len(spend.outputs) != len(spend.sources):
        raise ValueError("a batch sweeps one token from each source to the hot wallet")
    if sweeper is None:
        raise ValueError("no sweep contract is set")
    owners = [keys.address(index) for index in spend.sources]
    amounts = [output.units for output in spend.outputs]
    data = encode(load("Sweeper"), "sweep", [spend.token, owners, amounts])
    moves = tuple(Move(owner, hot, units) for owner, units in zip(owners, amounts, strict=True))
    return Plan(HOT_INDEX, sweeper, 0, data, spend.token, moves)


def _check_targets(spend: Spend, keys: Keys) -> None:
    if not spend.targets:
        return
    if len(spend.targets) != len(spend.outputs):
        raise ValueError("each output that stays ours has one target")
    for output, target in zip(spend.outputs, spend.targets, strict=True):
        if output.address != keys.address(HOT_INDEX if target == HOT else target):
            raise NodeProtocolError("money that is to stay ours would go to an address that our keys do not have")


def read_payload(payload: str) -> Draft:
    """Raises `NodeProtocolError` for anything that `Draft.payload` did not write."""
    try:
        body = json.loads(payload)
        body["plan"]["moves"] = tuple(Move(**move) for move in body["plan"]["moves"])
        body["plan"] = Plan(**body["plan"])
        body["delegations"] = tuple(Delegation(**each) for each in body["delegations"])
        draft = Draft(**body)
    except (ValueError, TypeError, KeyError, AttributeError):
        raise NodeProtocolError("the stored proposal is none of this wallet's") from None
    numbers = [getattr(draft, field.name) for field in fields(Draft) if field.type == "int"]
    if any(type(number) is not int or number < 0 for number in numbers) or draft.payload() != payload:
        raise NodeProtocolError("the stored proposal is none of this wallet's")
    return draft
