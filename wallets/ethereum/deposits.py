"""Deposits: what arrived in the blocks after a cursor (`wallets.ethereum.presence` tells what became of it).

Native coin is read from receipts (who was paid, and that it succeeded) and the transactions behind them, tokens from
`Transfer` events of listed contracts only, and what contracts send on from traces. Whose an address is the directory
says, for all candidates of a page at once: a million of ours cost no more than ten.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache

from ledger.errors import NodeProtocolError
from ledger.money import UNITS_BOUND
from wallets.ethereum.addresses import HOT_INDEX
from wallets.ethereum.blocks import Moved, follow, header, settled, with_receipts
from wallets.ethereum.client import Call, EthereumClient, RpcRefused
from wallets.ethereum.hd import checksummed
from wallets.ethereum.incoming import UNKNOWN, Found, payments_in, senders_in
from wallets.ethereum.internal import Internal
from wallets.ethereum.locator import Mark, read, thinned, written
from wallets.ethereum.nonces import used_nonces
from wallets.ethereum.reply import Record
from wallets.ethereum.state import final_height, latest
from wallets.ethereum.tokens import balance_call, uint_or_none
from wallets.ethereum.transaction import Keys, resource
from wallets.protocol import DepositPage, DepositStatus, Directory, SeenDeposit, SeenSpend, Tip

#: Blocks read in one page.
PAGE_BLOCKS = 100
#: A first page begins this far below the tip: nobody had an address of ours before.
FIRST_OVERLAP = 100
_ASKED_AT_ONCE = 1_000


class Deposits:
    """The incoming side of one wallet. `start_block` is where a first page begins instead of near the tip."""

    def __init__(
        self,
        client: EthereumClient,
        keys: Keys,
        directory: Directory,
        internal: Internal,
        start_block: int | None = None,
    ) -> None:
        self._client = client
        self._keys = keys
        self._directory = directory
        self._internal = internal
        self._start_block = start_block

    def since(self, cursor: str | None) -> DepositPage:
        """The blocks after the cursor, `PAGE_BLOCKS` of them. After a reorganisation it goes on at the newest block
        that both branches share, and reads at least as far as before."""
        return settled(lambda: self._since(cursor))

    def _since(self, cursor: str | None) -> DepositPage:
        head = latest(self._client)
        final = final_height(self._client)
        if cursor is None:
            first, reached = self._first(head.number), 0
            shared = self._anchor(first, final)
        else:
            marks = read(cursor)
            shared = self._shared(marks)
            first, reached = shared[0].height + 1, marks[0].height
        last = min(head.number, max(first + PAGE_BLOCKS - 1, reached))
        blocks = follow(self._client, shared, first, last) if first <= last else []
        tokens = {token.lower(): token for token in self._directory.tokens()}
        found: list[Found] = []
        signed: list[tuple[str, str, int]] = []
        for each in with_receipts(self._client, blocks):
            found += payments_in(each, tokens, self._internal)
            signed += [(txid, sender, each.block.number) for txid, sender in senders_in(each)]
        ours = self._ours([each.payee for each in found] + [sender for _, sender, _ in signed])
        deposits = self._deposits(found, ours, tokens, {block.hash: block.parent for block in blocks})
        sent = [SeenSpend(txid, height) for txid, sender, height in signed if sender in ours]
        read_now = [Mark(block.number, block.hash) for block in reversed(blocks)]
        known = thinned([*read_now, *shared], final)
        tip = Tip(known[0].height, known[0].hash)
        outgoing = (*sent, *self._used())
        return DepositPage(tuple(deposits), written(known), tip, final, more=last < head.number, outgoing=outgoing)

    def _used(self) -> list[SeenSpend]:
        """The hot wallet's last nonces, in the chain and in the pool."""
        _, used = used_nonces(self._client, self._keys.address(HOT_INDEX))
        return [SeenSpend(None, resource=name) for name in used]

    def resources_of(self, txid: str) -> tuple[str, ...]:
        answer = self._client.read("eth_getTransactionByHash", txid)
        if answer is None:
            return ()
        record = Record(answer, "eth_getTransactionByHash")
        return (resource(record.address("from"), record.quantity("nonce")),)

    def bytes_of(self, txid: str) -> str | None:
        try:
            answer = self._client.read("eth_getRawTransactionByHash", txid)
        except RpcRefused:
            return None  # a node that does not offer it
        return answer if isinstance(answer, str) and len(answer) > len("0x") else None

    def _first(self, head: int) -> int:
        if self._start_block is not None:
            return min(self._start_block, head)
        return max(0, head - FIRST_OVERLAP)

    def _anchor(self, first: int, final: int | None) -> Sequence[Mark]:
        """A block below the first one to be read that stays: where to go back to should they all be replaced."""
        height = min(first - 1, final or 0)
        block = header(self._client, height) if height >= 0 else None
        return [] if block is None else [Mark(block.number, block.hash)]

    def _shared(self, marks: Sequence[Mark]) -> Sequence[Mark]:
        """The marks that are in the best chain, which are the last ones. Raises if none is."""
        for place, mark in enumerate(marks):
            block = header(self._client, mark.height)
            if block is not None and block.hash == mark.hash:
                return marks[place:]
        raise NodeProtocolError("no block of the cursor is in the node's chain: it follows another one")

    def _deposits(
        self, found: Sequence[Found], ours: Collection[str], tokens: Mapping[str, str], parents: Mapping[str, str]
    ) -> list[SeenDeposit]:
        """Those that pay us and do not come from us."""
        paid = [each for each in found if each.payee in ours]
        senders = self._ours(each.sender for each in paid)
        paid = [each for each in paid if each.sender not in senders]
        valued = [each for each in self._with_values(paid) if each.units]
        odd = self._odd(valued, found, parents)
        return [_seen(each, tokens, odd) for each in valued]

    def _ours(self, addresses: Iterable[str]) -> set[str]:
        """Of these (in lower case) the ones that were handed out, and the hot wallet's."""
        asked = set(addresses)
        canonical = {_canonical(address): address for address in asked}
        names = sorted(canonical)
        ours: set[str] = set()
        for start in range(0, len(names), _ASKED_AT_ONCE):
            ours |= {canonical[name] for name in self._directory.ours(names[start : start + _ASKED_AT_ONCE])}
        hot = self._keys.address(HOT_INDEX).lower()
        return ours | ({hot} & asked)

    def _with_values(self, paid: Sequence[Found]) -> list[Found]:
        """Receipts do not say how much: the transactions do."""
        unknown = [each for each in paid if each.units is None]
        answers = self._client.read_many([("eth_getTransactionByHash", [each.txid]) for each in unknown])
        values: dict[str, int] = {}
        for each, answer in zip(unknown, answers, strict=True):
            if answer is None:
                raise Moved
            record = Record(answer, "eth_getTransactionByHash")
            if record.hash("hash") != each.txid or record.address_or_none("to") != each.payee:
                raise NodeProtocolError("eth_getTransactionByHash: the node gave another transaction")
            values[each.key] = record.quantity("value")
        return [replace(each, units=values[each.key]) if each.units is None else each for each in paid]

    def _odd(
        self, paid: Sequence[Found], found: Sequence[Found], parents: Mapping[str, str]
    ) -> dict[tuple[str, str, str], str]:
        """Where a token's events and its balances tell different stories, by (token, address, block): tokens that
        take a fee, change balances by themselves, or lie (FAULTS F1, E14)."""
        told: dict[tuple[str, str, str], int] = {}
        for each in paid:
            if each.token is not None:
                told[each.token, each.payee, each.block_hash] = 0
        for each in found:
            if each.token is None or each.units is None:
                continue
            for address, change in ((each.payee, each.units), (each.sender, -each.units)):
                if (each.token, address, each.block_hash) in told:
                    told[each.token, address, each.block_hash] += change
        calls: list[Call] = []
        for token, address, block_hash in told:
            calls += [balance_call(token, address, {"blockHash": at}) for at in (parents[block_hash], block_hash)]
        answers = self._client.try_many(calls)
        odd = {}
        for place, (key, change) in enumerate(told.items()):
            before, after = (_balance(answer) for answer in answers[2 * place : 2 * place + 2])
            if before is None or after is None:
                odd[key] = UNKNOWN
            elif after - before != change:
                odd[key] = "balance_mismatch"
        return odd


def _balance(answer: object) -> int | None:
    """None when it cannot be known: the node does not keep the state of that block any more, the contract refuses to
    say, or there was none yet. One token's contract must not stop the reading of all else."""
    return None if isinstance(answer, RpcRefused) else uint_or_none(answer, "balanceOf")


@lru_cache(maxsize=65_536)  # exchanges and big tokens are in every block, and each checksum is a hash
def _canonical(address: str) -> str:
    return checksummed(bytes.fromhex(address[2:]))


def _seen(found: Found, tokens: Mapping[str, str], odd: Mapping[tuple[str, str, str], str]) -> SeenDeposit:
    suspect = "" if found.token is None else odd.get((found.token, found.payee, found.block_hash), "")
    units = found.units or 0
    if units >= UNITS_BOUND:
        units, suspect = UNITS_BOUND - 1, "amount_too_large"
    return SeenDeposit(
        key=found.key,
        txid=found.txid,
        address=_canonical(found.payee),
        units=units,
        status=DepositStatus.CONFIRMED,
        height=found.height,
        block_hash=found.block_hash,
        token=None if found.token is None else tokens[found.token],
        suspect=suspect,
    )
