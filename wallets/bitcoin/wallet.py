"""Bitcoin Core as a `ChainWallet`: one descriptor wallet on one node. Each part of the protocol has its own file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from wallets.bitcoin.client import BitcoinClient
from wallets.bitcoin.deposits import Deposits
from wallets.bitcoin.holds import Holds
from wallets.bitcoin.keys import WalletKeys
from wallets.bitcoin.sending import Sending
from wallets.bitcoin.spending import Spending
from wallets.bitcoin.state import NodeState
from wallets.protocol import (
    ChainBalance,
    DepositPage,
    FeeMarket,
    NodeHealth,
    Output,
    Proposal,
    SeenDeposit,
    SignedTransaction,
    Spend,
    SweepTerms,
    TokenFacts,
    TxStatus,
    WalletIdentity,
    coins_only,
)


class BitcoinWallet:
    """See `wallets.protocol.ChainWallet` for what each method promises. Usable from any number of threads."""

    chain = "bitcoin"
    replaces = True
    payees_max = 500

    def __init__(self, client: BitcoinClient, network: str, name: str, passphrase: str | None = None) -> None:
        self._keys = WalletKeys(client, network, name, passphrase)
        self._holds = Holds(client)
        self._deposits = Deposits(client)
        self._spending = Spending(client, self._keys, self._holds)
        self._sending = Sending(client)
        self._state = NodeState(client, network)

    def open(self) -> WalletIdentity:
        return self._keys.open()

    def health(self) -> NodeHealth:
        return self._state.health()

    def watch(self, count: int) -> int:
        return self._keys.watch(count)

    def recover(self, count: int, since_height: int) -> None:
        self._keys.recover(count, since_height)

    def addresses(self, start: int, count: int) -> Sequence[str]:
        raise LookupError("addresses come from the account public key")

    def mark(self, text: str) -> None:
        self._keys.mark(text)

    def marked(self) -> str | None:
        return self._keys.marked()

    def tag(self, index: int, text: str) -> None:
        return None

    def deposits_since(self, cursor: str | None) -> DepositPage:
        return self._deposits.since(cursor)

    def resources_of(self, txid: str) -> tuple[str, ...]:
        return self._deposits.resources_of(txid)

    def bytes_of(self, txid: str) -> str | None:
        return self._deposits.bytes_of(txid)

    def look_up_deposits(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        return self._deposits.look_up(deposits)

    def propose(self, spend: Spend, rate: int, rate_max: int, *, excluded: Collection[str] = ()) -> Proposal:
        return self._spending.propose(coins_only(spend), rate, rate_max, excluded)

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        return self._spending.sign(proposal, coins_only(spend))

    def reprice(self, signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        return self._spending.reprice(signed, coins_only(spend), rate, fee_max_units)

    def broadcast(self, tx: SignedTransaction) -> None:
        self._sending.broadcast(tx)

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        return self._sending.look_up(tx)

    def hold(self, resources: Collection[str]) -> None:
        self._holds.hold(resources)

    def free(self, resources: Collection[str]) -> None:
        self._holds.free(resources)

    def held(self) -> frozenset[str]:
        return self._holds.held()

    def balance(self, token: str | None = None, indices: Collection[int] = ()) -> ChainBalance:
        return self._state.balance()

    def watched_balance(self, address: str, token: str | None = None) -> int | None:
        return self._state.unspent_at(address)

    def split(self, parts: int, rate_max: int) -> Sequence[Output]:
        return ()  # own change can be spent at once

    def fill(self, live: Collection[str]) -> Sequence[Output]:
        return ()  # no payment waits for another one's resource

    def sweep_terms(self, token: str | None = None) -> SweepTerms:
        raise LookupError("bitcoin has one wallet for all indices")

    def token_facts(self, contract: str) -> TokenFacts:
        raise LookupError("bitcoin has no tokens")

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        return self._state.fee_market(blocks_target, rate_fallback)
