"""Ethereum's world: the account that anvil starts with. Here a balance is a question to the chain, for any address."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from eth_utils.address import to_checksum_address

from devstack.anvil import Anvil

_TRANSFER, _BALANCE_OF = "0xa9059cbb", "0x70a08231"
_TOKEN_GAS = 100_000


@dataclass(frozen=True)
class Move:
    """A transaction in a block: who sent what to whom. A deployment moves nothing to its contract."""

    source: str
    target: str
    units: int
    token: bool  #: units of the token, by the token's own `transfer`
    status: str
    fee_units: int


class OutsideEthereum:
    """`token` is the contract of the token, once it is deployed."""

    def __init__(self, node: Anvil) -> None:
        self._node = node
        self.token = ""
        self.begun = node.height()

    @property
    def height(self) -> int:
        return self._node.height()

    @property
    def payer(self) -> str:
        return self._node.payer

    def pay(self, address: str, units: int) -> str:
        """The hash of a transaction that waits for a block."""
        return self._node.pay(address, units)

    def pay_token(self, address: str, units: int) -> str:
        data = _TRANSFER + _word(int(address, 16)) + _word(units)
        return self._node.send({"to": self.token, "data": data, "gas": hex(_TOKEN_GAS)})

    def mine(self, blocks: int = 1) -> str:
        """The hash of the last block."""
        self._node.mine(blocks)
        return str(self._node.block()["hash"])

    def new_address(self) -> str:
        """Where a customer wants to be paid: an address that nothing was ever paid to."""
        return str(to_checksum_address(secrets.token_bytes(20)))

    def balance(self, address: str) -> int:
        return self._node.balance(address)

    def tokens(self, address: str) -> int:
        return int(self._node.call(self.token, _BALANCE_OF + _word(int(address, 16))), 16)

    def waiting(self, tx_hash: str) -> dict[str, Any] | None:
        """A transaction in the pool as the node has it; None when it is not there."""
        found = self._node.rpc("eth_getTransactionByHash", tx_hash)
        return None if found is None or found["blockNumber"] is not None else dict(found)

    def in_block(self, tx_hash: str) -> dict[str, Any] | None:
        """Its receipt, with `fee_units`; None when no block has it."""
        receipt = self._node.receipt(tx_hash)
        return None if receipt is None else receipt | {"fee_units": _fee(receipt)}

    def pending(self) -> list[dict[str, Any]]:
        """What waits in the pool and may go into the next block, by sender and nonce."""
        waiting = self._node.pool()["pending"]
        return [dict(tx) for by_nonce in waiting.values() for _, tx in sorted(by_nonce.items(), key=_nonce)]

    def fees_of(self, addresses: Collection[str]) -> tuple[int, int]:
        """What all transactions of these addresses have cost since the beginning, and how many they are."""
        made = self.moves(self.begun, addresses)
        return sum(move.fee_units for move in made), len(made)

    def moves(self, begun: int, addresses: Collection[str]) -> list[Move]:
        """What these addresses have sent, from a block on, in the chain's order."""
        ours = {address.lower() for address in addresses}
        return [
            move
            for number in range(begun, self._node.height() + 1)
            for move in self._moves_in(number)
            if move.source.lower() in ours
        ]

    def _moves_in(self, number: int) -> list[Move]:
        found = self._node.block(number, full=True)["transactions"]
        receipts = self._node.rpc("eth_getBlockReceipts", hex(number)) if found else []
        return [_move(tx, receipt) for tx, receipt in zip(found, receipts, strict=True)]


def _nonce(entry: tuple[str, Any]) -> int:
    return int(entry[0])


def _move(tx: dict[str, Any], receipt: dict[str, Any]) -> Move:
    told = (receipt["status"], _fee(receipt))
    if tx["input"].startswith(_TRANSFER):
        target, units = f"0x{tx['input'][34:74]}", int(tx["input"][74:138], 16)
        return Move(tx["from"], to_checksum_address(target), units, True, *told)
    return Move(tx["from"], tx["to"] or receipt["contractAddress"], int(tx["value"], 16), False, *told)


def _fee(receipt: dict[str, Any]) -> int:
    return int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)


def _word(value: int) -> str:
    return f"{value:064x}"
