"""The node's wallet itself: found or made, unlocked when needed, watching enough addresses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ledger.errors import NodeNotReady, NodeProtocolError, WrongNetwork
from wallets.bitcoin.addresses import embit_network, mark_address
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.hd import account_key_of, receive_address
from wallets.bitcoin.reply import Record, list_of, text_of
from wallets.protocol import WalletIdentity

UNLOCK_SECONDS = 30
#: Addresses added in one call: the node derives about 20,000 keys a second, eight descriptors' worth in its own
#: default wallets, and must answer within the time-out.
WATCH_STEP = 5_000

_LOCKED, _WRONG_PASSPHRASE, _NOT_ENCRYPTED, _WALLET_ERROR = -13, -14, -15, -4

#: Before the public id of the installation that a wallet belongs to.
_MARK = "coffer-installation:"

_T = TypeVar("_T")


class WalletKeys:
    """The keys of one wallet, all of which stay in the node; this process knows the passphrase at most."""

    def __init__(self, client: BitcoinClient, network: str, name: str, passphrase: str | None) -> None:
        self._client = client
        self._network = network
        self._name = name
        self._passphrase = passphrase

    def open(self) -> WalletIdentity:
        """Check the chain, load the wallet (make it on a test network), check that both derive the same addresses."""
        chain = Record(self._client.read("getblockchaininfo"), "getblockchaininfo").text("chain")
        if chain != self._network:
            raise WrongNetwork(f"the node is on {chain!r}, the settings say {self._network!r}")
        info = self._load_or_create()
        if not info.boolean("descriptors") or not info.boolean("private_keys_enabled"):
            raise NodeNotReady(f"wallet {self._name!r} is not a descriptor wallet with private keys")
        if self._network == "main" and "unlocked_until" not in info:
            raise NodeNotReady(f"wallet {self._name!r} has no passphrase; a wallet with real money must have one")
        self.unlock()
        account_key = account_key_of(self._external().text("desc"), embit_network(self._network))
        self._compare_derivation(account_key)
        genesis = text_of(self._client.read("getblockhash", 0), "getblockhash")
        return WalletIdentity(genesis, account_key)

    def mark(self, text: str) -> None:
        """As the label of an address that nobody can ever spend from: the node keeps labels in the wallet's file."""
        self._client.change("setlabel", mark_address(self._network), f"{_MARK}{text}")

    def marked(self) -> str | None:
        labels = list_of(self._client.read("listlabels", "send"), "listlabels")
        found = [label.removeprefix(_MARK) for label in labels if isinstance(label, str) and label.startswith(_MARK)]
        if len(found) > 1:
            raise NodeProtocolError("the wallet carries the marks of two installations")
        return found[0] if found else None

    def _load_or_create(self) -> Record:
        try:
            return Record(self._client.read("getwalletinfo"), "getwalletinfo")
        except NodeNotReady:
            if self._network == "main" or self._exists():
                raise NodeNotReady(
                    f"the node has no usable wallet {self._name!r}. On main it is never created here: make one with a "
                    f"passphrase (bitcoin-cli -named createwallet wallet_name={self._name} passphrase=… "
                    "load_on_startup=true), back it up, then start again"
                ) from None
        # name, disable_private_keys, blank, passphrase, avoid_reuse, descriptors, load_on_startup
        try:
            self._client.change("createwallet", self._name, False, False, self._passphrase or "", False, True, True)
        except RpcRefused as refusal:
            if refusal.rpc_code != _WALLET_ERROR:
                raise
            self._client.load_wallet()  # another process made it at the same moment
        return Record(self._client.read("getwalletinfo"), "getwalletinfo")

    def _exists(self) -> bool:
        listing = Record(self._client.read("listwalletdir"), "listwalletdir")
        return any(wallet.text("name") == self._name for wallet in listing.records("wallets"))

    def _external(self) -> Record:
        """The one active descriptor that receiving addresses come from: wpkh of m/84h/coin/0h/0."""
        found = Record(self._client.read("listdescriptors"), "listdescriptors").records("descriptors")
        external = [
            descriptor
            for descriptor in found
            if descriptor.boolean("active")
            and descriptor.text("desc").startswith("wpkh(")
            and not descriptor.boolean("internal")
        ]
        if len(external) != 1:
            raise NodeNotReady(f"wallet {self._name!r} has {len(external)} active external wpkh descriptors, not one")
        return external[0]

    def _compare_derivation(self, account_key: str) -> None:
        """A difference would mean addresses handed out that the node does not own."""
        descriptor = self._external().text("desc")
        derived = list_of(self._client.read("deriveaddresses", descriptor, [0, 1]), "deriveaddresses")
        ours = [receive_address(account_key, index, embit_network(self._network)) for index in (0, 1)]
        if derived != ours:
            raise NodeProtocolError("the node derives other addresses from this wallet's key than we do")

    def watch(self, count: int) -> int:
        """Extend the watched range to at least `count` addresses; on the node's disk when this returns.

        `importdescriptors` is no way: a wallet with private keys refuses descriptors without. `keypoolrefill` keeps
        as many addresses ready *after the last used one*, and does so for each active descriptor.
        """
        watched, used = self._range()
        while watched < count:
            goal = min(watched + WATCH_STEP, count)
            self.unlocked(partial(self._client.change, "keypoolrefill", goal - used))
            reached, used = self._range()
            if reached < goal:
                raise NodeProtocolError(f"the node watches {reached} addresses after it was told to watch {goal}")
            watched = reached
        return watched

    def recover(self, count: int, since_height: int) -> None:
        """A wallet that is put back reads the blocks that it missed by itself, but only for the addresses that it had
        then, and those a keypool's length after each one used."""
        self.watch(count)
        self._client.change("rescanblockchain", since_height)

    def _range(self) -> tuple[int, int]:
        """How many addresses are watched from 0 on, and the index after the last one used."""
        external = self._external()
        bounds = external.integers("range")
        if len(bounds) != 2 or bounds[0] != 0:
            raise NodeProtocolError("the range of the external descriptor does not start at 0")
        return bounds[1] + 1, external.integer("next_index")

    def unlock(self) -> None:
        """Open the wallet for UNLOCK_SECONDS; nothing to do for one without a passphrase."""
        if self._passphrase is None:
            return
        try:
            self._client.read("walletpassphrase", self._passphrase, UNLOCK_SECONDS)
        except RpcRefused as refusal:
            if refusal.rpc_code == _WRONG_PASSPHRASE:
                raise NodeNotReady(f"the passphrase of wallet {self._name!r} is wrong") from None
            if refusal.rpc_code != _NOT_ENCRYPTED:
                raise

    def unlocked(self, call: Callable[[], _T]) -> _T:
        """Do a call that needs the keys, unlocking first only if the node says that it must: that costs 0.1 s."""
        try:
            return call()
        except RpcRefused as refusal:
            if refusal.rpc_code != _LOCKED:
                raise
        if self._passphrase is None:
            raise NodeNotReady(f"wallet {self._name!r} is locked and no passphrase is configured")
        self.unlock()
        return call()
