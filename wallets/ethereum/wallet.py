"""One seed on one Ethereum node as a `ChainWallet`. Each part of the protocol has its own file."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from ledger.errors import NodeNotReady, NodeProtocolError
from wallets.ethereum.addresses import HOT_INDEX, EthereumAddressBook
from wallets.ethereum.client import EthereumClient, RpcRefused
from wallets.ethereum.deposits import Deposits
from wallets.ethereum.hd import HARDENED
from wallets.ethereum.internal import Internal
from wallets.ethereum.nonces import has_gap, used_nonces
from wallets.ethereum.presence import Presence
from wallets.ethereum.reply import block_of
from wallets.ethereum.sending import Sending
from wallets.ethereum.spending import Spending
from wallets.ethereum.state import NodeState, latest
from wallets.ethereum.tokens import facts
from wallets.ethereum.transaction import PLAIN_GAS, Keys
from wallets.protocol import (
    ChainBalance,
    DepositPage,
    Directory,
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

#: The gas limit that a token's sweep may ask: a transfer to a new holder takes 51444 (NODES 4.5), a fifth more is
#: kept in hand, and some tokens do more than that.
TOKEN_SWEEP_GAS = 65_000
#: About 33000 gas each: far from what a block takes, and few enough to be tried again when one of them spoils it.
BATCH_SWEEP_MAX = 20


class EthereumWallet:
    """See `wallets.protocol.ChainWallet` for what each method promises. Usable from any number of threads.

    Resources are nonces, `<address>:<nonce>`; fees are wei, rates wei per gas. Index 0 is the hot wallet.

    `sweeper`: the deployed sweep contract, for batches. `trace`: look for coins that contracts send on, where the node
    offers traces. `start_block`: where a first reading of the chain begins, for a database that is made again from a
    seed; else near the tip.
    """

    chain = "ethereum"
    replaces = True
    payees_max = 1

    def __init__(
        self,
        client: EthereumClient,
        keys: Keys,
        directory: Directory,
        chain_id: int,
        *,
        sweeper: str | None = None,
        trace: bool = True,
        start_block: int | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self._sweeper = sweeper
        self._chain_id = chain_id
        internal = Internal(client, wanted=trace)
        self._deposits = Deposits(client, keys, directory, internal, start_block)
        self._presence = Presence(client, internal)
        self._spending = Spending(client, keys, directory, chain_id, sweeper)
        self._sending = Sending(client)
        self._state = NodeState(client, keys, chain_id)

    def open(self) -> WalletIdentity:
        self._state.check_network()
        hot = self._keys.address(HOT_INDEX)
        if EthereumAddressBook(self._chain_id).at(self._keys.xpub, HOT_INDEX) != hot:
            raise NodeProtocolError("the account's public key gives other addresses than its keys have")
        genesis = block_of(self._client.read("eth_getBlockByNumber", "0x0", False), "eth_getBlockByNumber")
        self._check_serves(hot)
        _, used = used_nonces(self._client, hot)
        return WalletIdentity(genesis.hash, self._keys.xpub, HOT_INDEX, used)

    def _check_serves(self, hot: str) -> None:
        """That the node answers what reading the chain needs: receipts by block, and the state of recent blocks."""
        head = latest(self._client)
        before = hex(max(0, head.number - 64))
        try:
            self._client.read("eth_getBlockReceipts", head.hash)
            self._client.read("eth_getBalance", hot, before)
        except RpcRefused as refusal:
            raise NodeNotReady(f"the node cannot serve a wallet: {refusal.detail}") from None

    def health(self) -> NodeHealth:
        return self._state.health()

    def watch(self, count: int) -> int:
        return max(count, HARDENED - 1)  # nothing to tell the node: every address that can be derived is read

    def recover(self, count: int, since_height: int) -> None:
        return None  # nothing but the seed is the wallet's own

    def addresses(self, start: int, count: int) -> Sequence[str]:
        raise LookupError("addresses come from the account public key")

    def mark(self, text: str) -> None:
        return None  # the node keeps no wallet; the nonces and the signer's record tell two databases apart

    def marked(self) -> str | None:
        return None

    def tag(self, index: int, text: str) -> None:
        return None

    def deposits_since(self, cursor: str | None) -> DepositPage:
        return self._deposits.since(cursor)

    def resources_of(self, txid: str) -> tuple[str, ...]:
        return self._deposits.resources_of(txid)

    def bytes_of(self, txid: str) -> str | None:
        return self._deposits.bytes_of(txid)

    def look_up_deposits(self, deposits: Sequence[SeenDeposit]) -> Mapping[str, SeenDeposit]:
        return self._presence.look_up(deposits)

    def propose(self, spend: Spend, rate: int, rate_max: int, *, excluded: Collection[str] = ()) -> Proposal:
        return self._spending.propose(spend, rate, rate_max, excluded)

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        return self._spending.sign(proposal, spend)

    def reprice(self, signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        return self._spending.reprice(signed, spend, rate, fee_max_units)

    def broadcast(self, tx: SignedTransaction) -> None:
        self._sending.broadcast(tx)

    def look_up(self, tx: SignedTransaction) -> TxStatus:
        return self._sending.look_up(tx)

    def hold(self, resources: Collection[str]) -> None:
        return None  # the node chooses no nonces

    def free(self, resources: Collection[str]) -> None:
        return None

    def held(self) -> frozenset[str]:
        return frozenset()

    def balance(self, token: str | None = None, indices: Collection[int] = ()) -> ChainBalance:
        return self._state.balance(token, indices)

    def watched_balance(self, address: str, token: str | None = None) -> int | None:
        return self._state.balance_of(address, token)

    def split(self, parts: int, rate_max: int) -> Sequence[Output]:
        return ()  # what is left after a payment can be spent at once

    def fill(self, live: Collection[str]) -> Sequence[Output]:
        hot = self._keys.address(HOT_INDEX)
        return (Output(hot, 1),) if has_gap(self._client, hot, live) else ()

    def sweep_terms(self, token: str | None = None) -> SweepTerms:
        batch_max = 0 if token is None or self._sweeper is None else BATCH_SWEEP_MAX
        return SweepTerms(self._keys.address(HOT_INDEX), PLAIN_GAS if token is None else TOKEN_SWEEP_GAS, batch_max)

    def token_facts(self, contract: str) -> TokenFacts:
        return facts(self._client, contract)

    def fee_market(self, blocks_target: int, rate_fallback: int) -> FeeMarket:
        return self._state.fee_market(rate_fallback)
