"""The kinds of chain that a case can be on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.money import BTC, ETH, XMR, Asset
from settings import Settings
from tests.faults import chain_bitcoin, chain_ethereum, chain_monero, chain_trades
from tests.faults.outside import Node, Outside
from tests.faults.place import Place


@dataclass(frozen=True)
class Kind:
    """`coin` is the engine's; `policy` is what flows need to be short, everything else is as installed."""

    name: str
    coin: Asset
    node: Callable[[Path], Node]
    outside: Callable[[Place], Outside]
    settings: Callable[[Place], dict[str, Any]]
    policy: Mapping[str, Mapping[str, Any]]
    credit_depth: int  #: blocks after which every deposit of a flow must have been credited
    final_depth: int | None = None  #: in place of the engine's own, where a hundred blocks take seconds
    wallet_calls: str = ""  #: how crashpoints around calls to another process that holds the keys begin
    others: tuple[str, ...] = ()  #: further chains that the same engine serves

    @property
    def chain(self) -> str:
        """The engine's chain and queue; the first one where it serves several."""
        return self.coin.chain

    @property
    def chains(self) -> tuple[str, ...]:
        return (self.chain, *self.others)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "fake",
            BTC,
            chain_bitcoin.FakeNode,
            chain_bitcoin.outside,
            chain_bitcoin.settings,
            chain_bitcoin.POLICY,
            credit_depth=6,
        ),
        Kind(
            "bitcoin",
            BTC,
            chain_bitcoin.BitcoinNode,
            chain_bitcoin.outside,
            chain_bitcoin.settings,
            chain_bitcoin.POLICY,
            credit_depth=6,
        ),
        Kind(
            "trades",
            BTC,
            chain_trades.TradesNode,
            chain_trades.outside,
            chain_trades.settings,
            chain_trades.POLICY,
            credit_depth=6,
            others=("monero",),
        ),
        Kind(
            "ethereum",
            ETH,
            chain_ethereum.EthereumNode,
            chain_ethereum.outside,
            chain_ethereum.settings,
            chain_ethereum.POLICY,
            credit_depth=3,
        ),
        Kind(
            "monero",
            XMR,
            chain_monero.MoneroNode,
            chain_monero.outside,
            chain_monero.settings,
            chain_monero.POLICY,
            credit_depth=10,
            final_depth=chain_monero.FINAL_DEPTH,
            wallet_calls="monero.",
        ),
        Kind(
            "monero-accounts",
            XMR,
            chain_monero.MoneroNode,
            chain_monero.outside,
            chain_monero.settings_by_account,
            chain_monero.POLICY,
            credit_depth=10,
            final_depth=chain_monero.FINAL_DEPTH,
            wallet_calls="monero.",
        ),
    )
}


def kind_of(place: Place) -> Kind:
    return KINDS[place.kind]


def settings_of(place: Place) -> Settings:
    return Settings(**place.common_settings(), **kind_of(place).settings(place))
