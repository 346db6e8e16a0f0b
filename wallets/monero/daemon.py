"""What monerod itself says of blocks and transactions: the word that counts when the wallet disagrees."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from ledger.errors import NodeNotReady, NodeProtocolError, WrongNetwork
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.reply import Record
from wallets.protocol import Tip

#: monerod's word for each network of ours.
NETTYPES = {"mainnet": "mainnet", "stagenet": "stagenet", "testnet": "testnet", "regtest": "fakechain"}
#: A restricted monerod answers for no more transactions in one call.
TRANSACTIONS_MAX = 100
_NO_SUCH_HEIGHT = -2
_NO_SUCH_BLOCK = -5


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a transaction is. `height` None: in the pool. `contested`: another one in the pool, or one that came too
    late for it, spends the same."""

    height: int | None
    contested: bool


class Daemon:
    """Questions to monerod; nothing here changes anything."""

    def __init__(self, client: MoneroClient) -> None:
        self._client = client

    def info(self, network: str) -> Record:
        """`get_info`. Raises `WrongNetwork` when the node is on another network than ours."""
        info = Record(self._client.daemon("get_info"), "get_info")
        if info.text("nettype") != NETTYPES[network]:
            raise WrongNetwork(f"the node is on {info.text('nettype')!r}, the settings say {network!r}")
        return info

    def tip(self) -> Tip:
        """The last block. Its height is one less than what the wallet calls height."""
        return _tip(self._header("get_last_block_header"))

    def tip_time(self) -> int:
        """When the last block says it was made, in seconds since 1970."""
        return self._header("get_last_block_header").integer("timestamp")

    def hash_at(self, height: int) -> str:
        """The hash of the block of the best chain at a height. Raises `NodeNotReady` when the chain is shorter."""
        try:
            return self._header("get_block_header_by_height", height=height).text("hash")
        except RpcRefused as refusal:
            if refusal.rpc_code != _NO_SUCH_HEIGHT:
                raise
            raise NodeNotReady(f"monerod's chain has no block at {height} any more", reason="syncing") from None

    def had(self, block_hash: str) -> bool:
        """Whether this block is in the best chain or in one that it replaced."""
        try:
            self._header("get_block_header_by_hash", hash=block_hash)
        except RpcRefused as refusal:
            if refusal.rpc_code != _NO_SUCH_BLOCK:
                raise
            return False
        return True

    def _header(self, method: str, **params: object) -> Record:
        return Record(self._client.daemon(method, **params), method).record("block_header")

    def whereabouts(self, txids: Iterable[str]) -> Mapping[str, Whereabouts]:
        """Where each of these is; one that is in neither pool nor chain is left out."""
        return {entry.text("tx_hash"): _whereabouts(entry) for entry in self._transactions(txids)}

    def find(self, txid: str) -> Record | None:
        """monerod's record of a transaction in pool or chain, without its content; None when it is in neither."""
        return next(self._transactions([txid]), None)

    def key_images(self, txid: str) -> tuple[str, ...]:
        """What a transaction in pool or chain spends, whoever made it; empty when it is in neither."""
        return next((_key_images(entry) for entry in self._transactions([txid], decoded=True)), ())

    def spenders(self, key_images: Iterable[str], txids: Iterable[str]) -> Mapping[str, int]:
        """Those of these transactions that a block holds and that spend any of these outputs: the height of each.

        They are read in their order, whoever made them, and only until it is known of each output what spent it.
        """
        wanted, found = set(key_images), dict[str, int]()
        for entry in self._transactions(txids, decoded=True):
            if entry.boolean("in_pool") or wanted.isdisjoint(spent := _key_images(entry)):
                continue
            found[entry.text("tx_hash")] = entry.units("block_height")
            wanted -= set(spent)
            if not wanted:
                break
        return found

    def given_up(self, txid: str) -> bool:
        """Whether the pool has a transaction that the daemon will not mine: it was not valid when a block was made, as
        after a reorganisation that put it back while the chain was too short for it. While that block stands it is not
        tried again, valid or not, and is kept for a week unless `flush_txpool` has the daemon forget it."""
        path = "get_transaction_pool"
        stats = Record(self._client.daemon_path(f"{path}_stats"), f"{path}_stats").record("pool_stats")
        if not stats.units("num_failing"):
            return False  # the whole pool is much to ask for
        for entry in Record(self._client.daemon_path(path), path).some_records("transactions"):
            if entry.text("id_hash") == txid:
                height = entry.units("last_failed_height")
                return bool(height) and self._stands(height, entry.text("last_failed_id_hash"))
        return False

    def _stands(self, height: int, block_hash: str) -> bool:
        try:
            return self.hash_at(height) == block_hash
        except NodeNotReady:
            return False  # the chain is shorter by now

    def _transactions(self, txids: Iterable[str], *, decoded: bool = False) -> Iterator[Record]:
        """Those of these that monerod has, asked for in pieces.

        Asked for without signatures and proofs (`prune`), which a pruned node lacks for most of the chain. `decoded`
        adds monerod's own reading of the rest, which it has for transactions of every kind.
        """
        path, remaining = "get_transactions", iter(dict.fromkeys(txids))
        while batch := list(islice(remaining, TRANSACTIONS_MAX)):
            answer = self._client.daemon_path(path, txs_hashes=batch, decode_as_json=decoded, prune=True)
            reply = Record(answer, path)
            found = reply.some_records("txs")
            if sorted([*(entry.text("tx_hash") for entry in found), *reply.some_texts("missed_tx")]) != sorted(batch):
                raise NodeProtocolError(f"{path}: not every transaction is answered for, once")
            yield from found


def _whereabouts(entry: Record) -> Whereabouts:
    contested = entry.boolean("double_spend_seen")
    return Whereabouts(None if entry.boolean("in_pool") else entry.units("block_height"), contested)


def _key_images(entry: Record) -> tuple[str, ...]:
    """What a decoded transaction spends; a mined coin spends nothing."""
    try:
        body = json.loads(entry.text("as_json"))
        return tuple(str(spent["key"]["k_image"]) for spent in body["vin"] if "key" in spent)
    except (ValueError, KeyError, TypeError):
        raise NodeProtocolError("get_transactions: a transaction that cannot be read") from None


def _tip(header: Record) -> Tip:
    return Tip(header.units("height"), header.text("hash"))
