"""monero-wallet-rpc and monerod as a `ChainWallet`: one wallet file. Each part of the protocol has its own file.

A wallet-rpc that hangs (NODES 0.15) answers nobody, since it does one thing at a time: every call here ends after the
client's time limit with `NodeUnavailable`, health says so, and nothing is lost by killing the process then (it takes
SIGKILL; it does not hear SIGTERM). What was prepared is in the database, what was promised to somebody was stored.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from wallets.monero.addresses import Layout
from wallets.monero.client import MoneroClient
from wallets.monero.coins import Coins
from wallets.monero.deposits import Deposits
from wallets.monero.holds import Holds
from wallets.monero.keys import WalletKeys
from wallets.monero.liquidity import Liquidity
from wallets.monero.marks import Marks
from wallets.monero.own import OwnAddresses
from wallets.monero.sending import Sending
from wallets.monero.spending import PAYEES_MAX, Spending
from wallets.monero.state import NodeState
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
)


class MoneroWallet:
    """See `wallets.protocol.ChainWallet` for what each method promises. Usable from any number of threads.

    Layout `subaddress`: every index is a subaddress of the first account, whose money is spent together. Layout
    `account`: index i is account i+1, which keeps its own money until it is swept. A sweep pays exactly what its
    output says to the hot wallet's address; what is left after the fee stays on the account as change.
    """

    chain = "monero"
    replaces = False
    payees_max = PAYEES_MAX

    def __init__(
        self,
        wallet_url: str,
        daemon_url: str,
        *,
        network: str,
        name: str,
        password: str = "",
        layout: Layout = "subaddress",
        timeout_seconds: float = 60,
    ) -> None:
        client = MoneroClient(wallet_url, daemon_url, name, password, timeout_seconds)
        coins, marks = Coins(client), Marks(client)
        self._marks = marks
        self._own = OwnAddresses(client, layout)
        self._keys = WalletKeys(client, network, layout)
        self._deposits = Deposits(client)
        self._state = NodeState(client, network, layout)
        self._holds = Holds(client, coins, marks)
        self._sending = Sending(client, marks)
        self._spending = Spending(client, coins, self._holds, marks, self._own, self._sending)
        self._liquidity = Liquidity(client, coins, self._own)

    def open(self) -> WalletIdentity:
        return self._keys.open()

    def health(self) -> NodeHealth:
        return self._state.health()

    def watch(self, count: int) -> int:
        return self._keys.watch(count)

    def recover(self, count: int, since_height: int) -> None:
        self._marks.rename_file()
        self._keys.recover(count)

    def addresses(self, start: int, count: int) -> Sequence[str]:
        return self._keys.addresses(start, count)

    def mark(self, text: str) -> None:
        self._marks.claim(text)

    def marked(self) -> str | None:
        return self._marks.owner()

    def tag(self, index: int, text: str) -> None:
        self._keys.tag(index, text)

    def deposits_since(self, cursor: str | None) -> DepositPage:
        return self._deposits.since(cursor)

    def resources_of(self, txid: str) -> tuple[str, ...]:
        return self._deposits.resources_of(txid)

    def bytes_of(self, txid: str) -> str | None:
        return None  # nothing here is ever replaced, and what was prepared is more than its bytes

    def look_up_deposits(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        return self._deposits.look_up(deposits)

    def propose(self, spend: Spend, rate: int, rate_max: int, *, excluded: Collection[str] = ()) -> Proposal:
        return self._spending.propose(spend, rate, rate_max, excluded)

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        return self._spending.sign(proposal, spend)

    def reprice(self, signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        return self._spending.reprice(signed, spend, fee_max_units)

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
        return self._state.balance(indices)

    def watched_balance(self, address: str, token: str | None = None) -> int | None:
        return None  # nobody can see what a Monero address holds

    def split(self, parts: int, rate_max: int) -> Sequence[Output]:
        return self._liquidity.split(parts, rate_max)

    def fill(self, live: Collection[str]) -> Sequence[Output]:
        return ()  # no payment waits for another one's resource

    def sweep_terms(self, token: str | None = None) -> SweepTerms:
        return self._own.sweep_terms()

    def token_facts(self, contract: str) -> TokenFacts:
        raise LookupError("monero has no tokens")

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        return self._state.fee_market(blocks_target, rate_fallback)
