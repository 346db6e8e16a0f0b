"""Operators' acts on assets: a token is added as rows, any asset is enabled or disabled. What an asset stands for (its
chain, contract and decimals) never changes: the database refuses it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, insert, select, update

from jobs import tasks
from ledger import audit, policy
from ledger.db import Tx
from ledger.errors import InvalidInput, NotFound, StateConflict
from ledger.money import UNITS_BOUND, Asset, parse_amount
from ledger.schema import address, asset, chain
from wallets.protocol import AddressBook, TokenFacts

#: `USDT`, or with its network behind it, `USDC.ETH`.
_CODE = re.compile(r"[A-Z][A-Z0-9]{1,11}(\.[A-Z]{2,8})?", re.ASCII)
#: The rules of a token (`policy.token_rules`) must stay below `UNITS_BOUND`.
DECIMALS_MAX = 30


@dataclass(frozen=True, slots=True)
class Token:
    """A token to be: `minimum` and `withdrawal_fee` are decimal strings; None: `policy.token_rules` decides."""

    code: str
    chain: str
    contract: str
    decimals: int
    minimum: str | None = None
    withdrawal_fee: str | None = None
    confirmations: int | None = None


def checked(token: Token, book: AddressBook) -> Token:
    """The token with its contract in canonical form. Raises `InvalidInput` naming what is wrong."""
    if _CODE.fullmatch(token.code) is None:
        raise InvalidInput("/code", "is not like USDT or USDC.ETH: 2 to 12 capitals and digits, perhaps a network")
    if not book.shared:
        raise InvalidInput("/chain", f"{token.chain} has no tokens")
    if not 0 <= token.decimals <= DECIMALS_MAX:
        raise InvalidInput("/decimals", f"must be 0 to {DECIMALS_MAX}")
    try:
        contract = book.parse(token.contract)
    except InvalidInput as error:
        raise InvalidInput("/contract", error.detail) from None
    if contract != token.contract:  # letters of one case carry no checksum: a wrong one would be taken for right
        raise InvalidInput("/contract", "must be written with its checksum, in capitals and small letters (EIP-55)")
    _rules(token)
    return token


def check_facts(token: Token, facts: TokenFacts) -> None:
    """Raises `InvalidInput` when the contract itself says something else."""
    if facts.decimals is None:
        raise InvalidInput("/contract", "does not say how many decimals it has: it is no usual token")
    if facts.decimals != token.decimals:
        raise InvalidInput("/decimals", f"the contract itself says {facts.decimals}")


def add(tx: Tx, token: Token, book: AddressBook, actor: str, facts: TokenFacts | None = None) -> None:
    """Write the asset and its first rules; audited. `facts` None: the contract was not asked.

    Raises `InvalidInput`, and `StateConflict` for a code or contract that is there already.
    """
    token = checked(token, book)
    if facts is not None:
        check_facts(token, facts)
    _check_new(tx, token)
    values: dict[str, Any] = {"code": token.code, "chain": token.chain, "decimals": token.decimals}
    tx.execute(insert(asset).values(values | {"contract": token.contract, "enabled": 1, "created_at": tx.now}))
    for name, value in _rules(token).items():
        policy.change(tx, token.code, name, value, actor)
    told = {"contract": token.contract, "decimals": token.decimals, "contract_asked": facts is not None}
    audit.record(tx, actor, "asset.add", token.code, told)


def set_enabled(tx: Tx, code: str, enabled: bool, actor: str) -> Row[Any]:
    """Let an asset be asked for, or no longer; audited. What comes in of a disabled one is still credited, and what is
    queued still leaves: `pause` stops that. Raises `NotFound`, `StateConflict`."""
    row = tx.first(select(asset).where(asset.c.code == code).with_for_update())
    if row is None:
        raise NotFound(f"no asset {code}")
    word = "enabled" if enabled else "disabled"
    if bool(row.enabled) is enabled:
        raise StateConflict(f"{code} is {word} already", status=word)
    tx.execute(update(asset).where(asset.c.code == code).values(enabled=int(enabled)))
    if enabled:
        tasks.found(tx, (row.chain,))  # the installation may not have served this chain before
    audit.record(tx, actor, f"asset.{'enable' if enabled else 'disable'}", code, {})
    return row


def _check_new(tx: Tx, token: Token) -> None:
    a = asset.c
    known = tx.one(select(chain.c.account_public_key).where(chain.c.name == token.chain).with_for_update())
    same = (a.code == token.code) | ((a.chain == token.chain) & (a.contract == token.contract))
    there = tx.first(select(asset).where(same))
    if there is not None:
        raise StateConflict(f"there is an asset {there.code} already, with the contract {there.contract}")
    ours = select(address.c.id).where(address.c.chain == token.chain, address.c.address == token.contract)
    if token.contract == known.account_public_key or tx.value(ours) is not None:
        raise InvalidInput("/contract", "is an address of this installation, not a token")


def _rules(token: Token) -> Mapping[str, Any]:
    coin = Asset(token.code, token.chain, token.decimals)
    rules: dict[str, Any] = dict(policy.token_rules(token.decimals))
    if token.minimum is not None:
        least = parse_amount(token.minimum, coin, "/minimum")
        rules |= {"deposit_minimum_units": least, "withdrawal_minimum_units": least}
    if token.withdrawal_fee is not None:
        rules["withdrawal_fee_units"] = parse_amount(token.withdrawal_fee, coin, "/withdrawal_fee")
    if token.confirmations is not None:
        rules["deposit_tiers"] = [[UNITS_BOUND, token.confirmations]]
    return rules
