"""Proposals, signatures and replacements: nothing here sends.

The node chooses inputs and signs; every result is decoded and compared with what was asked before it is returned.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial

from ledger.errors import InsufficientHotFunds, InvalidAddress, InvalidAmount, NodeProtocolError, ResourceTaken
from wallets.bitcoin.client import BitcoinClient, RpcRefused
from wallets.bitcoin.holds import Holds
from wallets.bitcoin.keys import WalletKeys
from wallets.bitcoin.psbt import SEQUENCE, DecodedPsbt, decode_psbt, decode_raw, outpoint_of
from wallets.bitcoin.reply import Record, btc_of, records_of, text_of
from wallets.protocol import Output, Proposal, SignedTransaction

#: The node's usual bound for what it sends, 0.10 BTC per 1000 vB: no honest market was ever near it.
RATE_MAX = 10_000_000
#: A P2WPKH output below this is not relayed (Bitcoin Core's -dustrelayfee, 3 sat/vB).
CHANGE_MIN_UNITS = 294
_EXCLUSION_ROUNDS = 5

_INVALID_ADDRESS = -5
#: What funding answers when it finds no coins: wallet error, insufficient funds, and -1 `map::at` after about 500
#: unconfirmed own transactions in a row (NODES 0.9).
_NO_FUNDS = {-4, -6, -1}


class Spending:
    """The outgoing side of one wallet, up to the signature."""

    def __init__(self, client: BitcoinClient, keys: WalletKeys, holds: Holds) -> None:
        self._client = client
        self._keys = keys
        self._holds = holds

    def propose(self, outputs: Sequence[Output], rate: int, rate_max: int, excluded: Collection[str]) -> Proposal:
        if len({output.address for output in outputs}) != len(outputs) or not outputs:
            raise ValueError("a transaction pays one to many different addresses")
        rate_max = min(rate_max, RATE_MAX)
        rate = min(rate, rate_max)
        payload, decoded = self._fund_without(outputs, rate, frozenset(excluded))
        change = decoded.change(outputs)
        self._check_form(decoded, change)
        ceiling = -(-decoded.tx.signed_vsize * rate_max // 1000)
        bearable = decoded.fee_units + (change.units - CHANGE_MIN_UNITS if change else 0)
        fee_max = max(decoded.fee_units, min(ceiling, bearable))
        own = tuple(output.address for output in outputs if output.address in decoded.own)
        coins = decoded.tx.resources  # on this chain what is spent and what is exclusive are the same
        return Proposal(coins, decoded.fee_units, payload, fee_max, own, spends=coins)

    def _fund_without(self, outputs: Sequence[Output], rate: int, excluded: frozenset[str]) -> tuple[str, DecodedPsbt]:
        """The node has no option to leave coins out: those that it proposes against the rules are locked in its
        memory, only while it proposes again. A kill in between leaves such locks until `free` or a restart."""
        locked: set[str] = set()
        try:
            for _ in range(_EXCLUSION_ROUNDS):
                payload = self._fund(outputs, rate)
                decoded = decode_psbt(self._client, payload)
                unwanted = set(decoded.tx.resources) & excluded | decoded.unconfined
                if not unwanted:
                    return payload, decoded
                # All that are excluded and unspent at once, so that few rounds are enough.
                unspent = records_of(self._client.read("listunspent", 0), "listunspent")
                coins = {f"{coin.text('txid')}:{coin.integer('vout')}" for coin in unspent}
                batch = (unwanted | excluded & coins) - locked
                self._holds.lock_in_memory(batch)
                locked |= batch
        finally:
            self._holds.free(locked)
        raise InsufficientHotFunds("the node keeps proposing coins that may not be spent")

    def _fund(self, outputs: Sequence[Output], rate: int) -> str:
        options = {
            "fee_rate": f"{rate // 1000}.{rate % 1000:03d}",  # sat/vB
            "replaceable": True,
            # Left to itself the node imitates the payees, down to legacy change whose spender could be malleated.
            "change_type": "bech32",
            "include_unsafe": False,
            "lockUnspents": False,
        }
        amounts = [{output.address: btc_of(output.units)} for output in outputs]
        try:
            answer = self._client.change("walletcreatefundedpsbt", [], amounts, 0, options)
        except RpcRefused as refusal:
            if refusal.rpc_code == _INVALID_ADDRESS:
                raise InvalidAddress("/address", refusal.message) from None
            if "amount too small" in refusal.message:
                raise InvalidAmount("/amount", "is too small an output to be relayed (dust)") from None
            if refusal.rpc_code in _NO_FUNDS:
                raise InsufficientHotFunds(refusal.message) from None
            raise
        return Record(answer, "walletcreatefundedpsbt").text("psbt")

    def _check_form(self, decoded: DecodedPsbt, change: Output | None) -> None:
        """What every transaction of ours looks like, whoever built it. Raises `NodeProtocolError`."""
        if decoded.unconfined:
            raise NodeProtocolError("an input is not native segwit: its spender's txid could be changed by others")
        if decoded.tx.sequences != {SEQUENCE} or decoded.tx.locktime != 0:
            raise NodeProtocolError("the transaction has another sequence or locktime than we give")
        if decoded.fee_units <= 0:
            raise NodeProtocolError("the transaction's inputs do not cover its outputs and a fee")
        if change is not None and not self._is_our_change(change.address):
            raise NodeProtocolError("the transaction's change does not come back to us")

    def _is_our_change(self, address: str) -> bool:
        """`ischange` only means that nobody labelled the address; the descriptor it comes from is what counts."""
        info = Record(self._client.read("getaddressinfo", address), "getaddressinfo")
        if not info.boolean("ismine") or not info.boolean("solvable"):
            return False
        return info.text("parent_desc").startswith("wpkh(") and "/1/*)" in info.text("parent_desc")

    def sign(self, proposal: Proposal, outputs: Sequence[Output]) -> SignedTransaction:
        decoded = decode_psbt(self._client, proposal.payload)
        self._check_form(decoded, decoded.change(outputs))
        if set(decoded.tx.resources) != set(proposal.resources):
            raise NodeProtocolError("the transaction spends other inputs than the proposal names")
        if decoded.fee_units != proposal.fee_units:
            raise NodeProtocolError("the transaction pays another fee than the proposal names")
        raw = self._signed_bytes(proposal.payload)
        final = decode_raw(self._client, raw)
        # Signatures are no part of a segwit txid (BIP-141), so an equal txid means an equal transaction.
        if final.txid != decoded.tx.txid or final.outputs != decoded.tx.outputs:
            raise NodeProtocolError("the node signed something else than the proposal")
        return SignedTransaction(final.txid, raw, decoded.fee_units, proposal.resources, proposal.payload)

    def _signed_bytes(self, payload: str) -> str:
        # psbt, sign, sighashtype, bip32derivs, finalize. DEFAULT commits to all inputs and outputs.
        sign = partial(self._client.change, "walletprocesspsbt", payload, True, "DEFAULT", True, True)
        reply = Record(self._keys.unlocked(sign), "walletprocesspsbt")
        if not reply.boolean("complete"):
            raise NodeProtocolError("the wallet cannot sign every input of the proposal")
        return reply.text("hex")

    def reprice(self, signed: SignedTransaction, outputs: Sequence[Output], rate: int, fee_max_units: int) -> Proposal:
        """BIP-125 by hand, since `psbtbumpfee` knows only what was sent, guards nothing, and may add inputs."""
        old = decode_psbt(self._client, signed.payload)
        change = old.change(outputs)
        if old.tx.txid != signed.txid or set(old.tx.resources) != set(signed.resources):
            raise NodeProtocolError("the stored proposal is not the one that was signed")
        size = old.tx.signed_vsize
        fee = max(-(-size * rate // 1000), signed.fee_units - (-size * self._rate_step() // 1000))
        left = (change.units if change else 0) - (fee - old.fee_units)
        if change is None or left < CHANGE_MIN_UNITS or fee > fee_max_units:
            raise InsufficientHotFunds(f"a fee of {fee} satoshi is more than the change or the ceiling bears")
        self._check_childless(signed.txid, old.tx.outputs.index(change))
        paid = [replace(output, units=left) if output == change else output for output in old.tx.outputs]
        payload = self._rebuild(old.tx.resources, paid)
        decoded = decode_psbt(self._client, payload)
        if decoded.tx.resources != old.tx.resources or decoded.fee_units != fee:
            raise NodeProtocolError("the replacement differs from its original in more than the fee")
        self._check_form(decoded, decoded.change(outputs))
        return Proposal(decoded.tx.resources, fee, payload, fee_max_units, spends=decoded.tx.resources)

    def _rate_step(self) -> int:
        """What a replacement must add for its own relay (BIP-125 rule 4), in satoshi per 1000 vB."""
        return Record(self._client.read("getmempoolinfo"), "getmempoolinfo").units("incrementalrelayfee")

    def _check_childless(self, txid: str, vout: int) -> None:
        """Replacing a transaction kills whatever spends its change, sent or merely prepared. Raises `ResourceTaken`."""
        resource = f"{txid}:{vout}"
        answer = self._client.read("gettxspendingprevout", [outpoint_of(resource)])
        spent = any("spendingtxid" in entry for entry in records_of(answer, "gettxspendingprevout"))
        if spent or resource in self._holds.held():
            raise ResourceTaken(
                f"the change {resource} already serves another payment; bump that one: it pays for both"
            )

    def _rebuild(self, resources: Sequence[str], paid: Sequence[Output]) -> str:
        inputs = [{**outpoint_of(resource), "sequence": SEQUENCE} for resource in resources]
        amounts = [{output.address: btc_of(output.units)} for output in paid]
        bare = text_of(self._client.read("createpsbt", inputs, amounts, 0, True), "createpsbt")
        # Unsigned still: the wallet only adds what it knows of the coins, without which the fee cannot be checked.
        filled = Record(
            self._client.read("walletprocesspsbt", bare, False, "DEFAULT", True, False), "walletprocesspsbt"
        )
        return filled.text("psbt")
