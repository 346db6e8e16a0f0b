"""The wallet file: found, opened or made; and its subaddresses, stored on disk before anybody hears of them.

A subaddress follows from the keys and its place alone. One that was made and, killed with wallet-rpc, forgotten before
it was stored comes back the same at the same place; it must only not be given out twice (NODES 0.5), and it is not:
`watch` counts none that is not on the disk.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from ledger.errors import InvalidAddress, NodeNotReady, NodeProtocolError, WrongNetwork
from wallets.monero.addresses import Layout, MoneroAddressBook, index_of, subaddress_of
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.daemon import Daemon
from wallets.monero.reply import Record
from wallets.monero.sync import NAME_ATTRIBUTE, Sync
from wallets.protocol import WalletIdentity

#: What wallet-rpc makes in one call at most.
CREATE_MAX = 64
#: One `watch` makes no more after this: in a wallet with Monero's usual lookahead an account takes a quarter of a
#: second (NODES 3.1).
WATCH_SECONDS_MAX = 10.0

_ACCOUNT_OUT_OF_BOUND, _ADDRESS_OUT_OF_BOUND = -14, -15
#: wallet-rpc was started on one wallet file (`--wallet-file`) and opens no other.
_NO_WALLET_DIR = -23
_EXISTS = -21


class WalletKeys:
    """The keys of one wallet, all of which stay in wallet-rpc; this process knows the file's password at most."""

    def __init__(self, client: MoneroClient, network: str, layout: Layout) -> None:
        self._client = client
        self._network = network
        self._layout: Layout = layout
        self._book = MoneroAddressBook(network, layout)
        self._daemon = Daemon(client)
        self._sync = Sync(client, self._daemon)
        self._stored = 0  # addresses that this process knows to be on the disk

    def open(self) -> WalletIdentity:
        """Check the network, open the wallet (make it on a test network), check that its keys are of that network."""
        self._daemon.info(self._network)
        if self._open_name() != self._client.wallet:
            self._open_file()
            self._client.change("set_attribute", key=NAME_ATTRIBUTE, value=self._client.wallet)
            self._client.change("store")
        primary = self._address(0, 0)
        if primary is None:
            raise NodeProtocolError("the wallet has no primary address")
        # The genesis block of regtest is mainnet's; and another layout would give the same indices other addresses.
        key = f"monero:{self._network}:{self._layout}:{primary}"
        return WalletIdentity(self._daemon.hash_at(0), key)

    def _open_name(self) -> str | None:
        try:
            return self._sync.open_name()
        except NodeNotReady as error:
            if error.context.get("reason") != "no_wallet":
                raise
            return None  # there is no such file yet

    def _open_file(self) -> None:
        """Open the file, whatever else is open; on a test network make it if need be."""
        if self._network == "mainnet" and not self._client.has_password:
            raise NodeNotReady("a wallet with real money must have a password", reason="no_wallet")
        try:
            self._client.open_wallet()
        except NodeNotReady as error:
            if error.context.get("rpc_code") == _NO_WALLET_DIR:
                return
            if self._network == "mainnet" or not self._created():
                raise

    def _created(self) -> bool:
        try:
            self._client.create_wallet()
        except RpcRefused as refusal:
            if refusal.rpc_code != _EXISTS:
                raise
            return False  # the file is there; a wrong password, or another process has it open
        return True

    def watch(self, count: int) -> int:
        """Make subaddresses up to `count` indices, and store them. The number known to be on the disk: less than
        `count` if that took too long, more if more were made before.

        A wallet file that was restored from an older copy gets them again, the same ones at the same places. What
        was paid to them in blocks that the older copy had already read is found by `rescan_blockchain` only.
        """
        self._sync.check_wallet()
        deadline = time.monotonic() + WATCH_SECONDS_MAX
        there = max(count, self._stored)
        if there and self._at(there - 1) is None:
            there = self._present(there)
            self._stored = min(self._stored, there)
            while there < count and time.monotonic() < deadline:
                there = self._make(there, min(CREATE_MAX, count - there))
        if there > self._stored:
            self._client.change("store")
            self._stored = there
        return there

    def recover(self, count: int) -> None:
        """Make what subaddresses are missing, then read the chain from the start for them: what was paid to those that
        the file did not have in blocks that it has read since is found in no other way. What was frozen is thawed by
        it; the task `relock` freezes it again."""
        self._sync.check_wallet()
        while self.watch(count) < count:
            pass  # each call makes as many as its time allows
        self._client.change("rescan_blockchain")
        self._client.change("store")

    def _present(self, above: int) -> int:
        """How many indices there are: less than `above`, whose last one is not there. Two dozen questions at most."""
        low, high = 0, above - 1
        while low < high:
            middle = (low + high) // 2
            if self._at(middle) is None:
                high = middle
            else:
                low = middle + 1
        return low

    def _make(self, there: int, count: int) -> int:
        """Make the next subaddresses or account; how many indices there are then. Somebody may have made some since
        we looked: too many do no harm."""
        if self._layout == "account":
            made = Record(self._client.change("create_account"), "create_account")
            places = [(made.units("account_index"), 0)]
        else:
            made = Record(self._client.change("create_address", account_index=0, count=count), "create_address")
            places = [(0, minor) for minor in made.integers("address_indices")]
        last = index_of(*places[-1], self._layout) if places else None
        if last is None or last < there:
            raise NodeProtocolError(f"the wallet made {places[-1:]} where index {there} should follow")
        return last + 1

    def addresses(self, start: int, count: int) -> Sequence[str]:
        """The addresses of indices that `watch` has counted. Raises `LookupError` for others."""
        self._sync.check_wallet()
        found = self._subaddresses(start, count) if self._layout == "subaddress" else self._accounts(start, count)
        if len(set(found)) != count:
            raise NodeProtocolError("the wallet gives one address for two indices")
        return found

    def _subaddresses(self, start: int, count: int) -> list[str]:
        if not count:
            return []  # an empty list of places would mean all
        minors = [subaddress_of(index, self._layout)[1] for index in range(start, start + count)]
        found = self._get_address(0, minors)
        if found is None:
            raise LookupError(f"the wallet does not have all indices from {start} to {start + count - 1}")
        return found

    def _accounts(self, start: int, count: int) -> list[str]:
        found = [self._at(index) for index in range(start, start + count)]
        if None in found:
            raise LookupError(f"the wallet does not have all indices from {start} to {start + count - 1}")
        return [address for address in found if address is not None]

    def tag(self, index: int, text: str) -> None:
        """The account gets the tag, or the subaddress the label. On the disk with the next `store`."""
        major, minor = subaddress_of(index, self._layout)
        if self._layout == "account":
            self._client.change("tag_accounts", tag=text, accounts=[major])
        else:
            self._client.change("label_address", index={"major": major, "minor": minor}, label=text)

    def _at(self, index: int) -> str | None:
        return self._address(*subaddress_of(index, self._layout))

    def _address(self, major: int, minor: int) -> str | None:
        """A subaddress of the wallet; None for one that it has not made."""
        found = self._get_address(major, [minor])
        return None if found is None else found[0]

    def _get_address(self, major: int, minors: list[int]) -> list[str] | None:
        try:
            answer = self._client.read("get_address", account_index=major, address_index=minors)
        except RpcRefused as refusal:
            if refusal.rpc_code not in (_ACCOUNT_OUT_OF_BOUND, _ADDRESS_OUT_OF_BOUND):
                raise
            return None
        entries = Record(answer, "get_address").records("addresses")
        if [entry.units("address_index") for entry in entries] != minors:
            raise NodeProtocolError("get_address answers for other places than asked")
        found = [entry.text("address") for entry in entries]
        self._check_network(found[0])
        return found

    def _check_network(self, address: str) -> None:
        try:
            self._book.parse(address)
        except InvalidAddress as error:
            raise WrongNetwork(f"an address of the wallet {error.detail}") from None
