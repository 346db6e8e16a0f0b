"""Proposals, signatures and new attempts: nothing here sends.

The wallet chooses outputs and signs in one step. What it made is kept whole, and checked by its bytes and keys before
it may be sent. Nobody's money has moved until then: a kill in between leaves a transaction that nobody knows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from ledger.errors import (
    InsufficientHotFunds,
    InvalidAddress,
    InvalidAmount,
    NodeProtocolError,
    ResourceTaken,
    TransactionRefused,
    WalletBusy,
)
from wallets.monero.client import MoneroClient, RpcRefused
from wallets.monero.coins import Coin, Coins
from wallets.monero.daemon import Daemon
from wallets.monero.holds import Holds
from wallets.monero.marks import Marks
from wallets.monero.own import OwnAddresses
from wallets.monero.prepared import Prepared
from wallets.monero.reply import Record
from wallets.monero.sending import Sending
from wallets.monero.shortage import shortage
from wallets.monero.sync import Sync
from wallets.monero.verify import check_payees
from wallets.protocol import HOT, Output, Proposal, SignedTransaction, Spend, TxState

#: More need several transactions (NODES 3.3): 16 outputs, change included.
PAYEES_MAX = 15
#: The network rounds fees up to this (`quantization_mask` of get_fee_estimate).
FEE_STEP_UNITS = 10_000
#: The wallet pays for a somewhat larger transaction than it then makes: one part in so many is let pass.
_FEE_SLACK = 20

_WRONG_ADDRESS, _ZERO_AMOUNT, _TOO_LARGE = -2, -46, -18
#: Not enough money, not enough unlocked money, not enough for the fee on top.
_NO_FUNDS = {-17, -37, -16}


class Spending:
    """The outgoing side of one wallet, up to what may be sent."""

    def __init__(
        self, client: MoneroClient, coins: Coins, holds: Holds, marks: Marks, own: OwnAddresses, sending: Sending
    ) -> None:
        self._client = client
        self._sync = Sync(client, Daemon(client))
        self._coins = coins
        self._holds = holds
        self._marks = marks
        self._own = own
        self._sending = sending

    def propose(self, spend: Spend, rate: int, rate_max: int, excluded: Collection[str]) -> Proposal:
        outputs, account = _payable(spend), self._own.account_of(spend.sources)
        with self._holds.turn:
            self._sync.caught_up()
            priority = self._priority(rate, rate_max)
            coins = self._coins.unspent(account)
            barred = [coin for coin in coins if coin.key_image in excluded or coin.key in excluded]
            self._holds.expect(account)
            with self._holds.meanwhile([coin for coin in barred if coin.unlocked and not coin.frozen]):
                prepared = self._prepare(outputs, account, priority, coins, barred)
        spent = {coin.key_image: coin for coin in coins}
        self._check_choice(prepared, spent, {coin.key_image for coin in barred})
        ceiling = _fee_ceiling(prepared.weight, rate_max)
        if prepared.fee_units > ceiling + ceiling // _FEE_SLACK:
            raise WalletBusy(f"the fee would be {prepared.fee_units} piconero, the ceiling is {ceiling}")
        return Proposal(
            prepared.key_images,
            prepared.fee_units,
            prepared.payload(),
            max(ceiling, prepared.fee_units),
            own_payees=tuple(output.address for output in outputs if self._own.holds(output.address)),
            spends=tuple(spent[image].key for image in prepared.key_images),
        )

    def _priority(self, rate: int, rate_max: int) -> int:
        """The dearest of the wallet's four classes that costs no more than the rate (piconero a byte); 1 at least."""
        reply = Record(self._client.daemon("get_fee_estimate"), "get_fee_estimate")
        rates = reply.integers("fees")
        if not rates or rates != sorted(rates) or rates[0] <= 0:
            raise NodeProtocolError("get_fee_estimate.fees is not a list of rising rates")
        if rates[0] > rate_max:
            raise WalletBusy(f"the network asks {rates[0]} piconero a byte, the ceiling is {rate_max}")
        affordable = [place for place, each in enumerate(rates[:4], 1) if each <= min(rate, rate_max)]
        return max(affordable, default=1)

    def _prepare(
        self, outputs: Sequence[Output], account: int, priority: int, coins: list[Coin], barred: list[Coin]
    ) -> Prepared:
        destinations = tuple((output.address, output.units) for output in outputs)
        name = self._marks.name_file()
        try:
            answer = self._transfer(destinations, account, priority)
        except RpcRefused as refusal:
            if refusal.rpc_code == _WRONG_ADDRESS:
                raise InvalidAddress("/address", "is refused by the wallet") from None
            if refusal.rpc_code == _ZERO_AMOUNT:
                raise InvalidAmount("/amount", "must be more than zero") from None
            if refusal.rpc_code == _TOO_LARGE:
                raise InsufficientHotFunds("the outputs at hand are too small: it would take too many") from None
            if refusal.rpc_code in _NO_FUNDS:
                needed = sum(output.units for output in outputs)
                usable = [coin for coin in coins if coin not in barred]
                raise shortage(self._client, self._coins, account, needed, usable, refusal.message) from None
            raise
        return Prepared.of(Record(answer, "transfer"), account, destinations, name)

    def _transfer(self, destinations: Sequence[tuple[str, int]], account: int, priority: int) -> Any:
        return self._client.change(
            "transfer",
            destinations=[{"address": address, "amount": units} for address, units in destinations],
            account_index=account,
            priority=priority,
            unlock_time=0,
            do_not_relay=True,
            get_tx_key=True,
            get_tx_hex=True,
            get_tx_metadata=True,
        )

    def _check_choice(self, prepared: Prepared, known: Collection[str], barred: Collection[str]) -> None:
        prepared.checked()
        chosen = set(prepared.key_images)
        if not chosen or not chosen <= set(known) or chosen & set(barred):
            raise NodeProtocolError("the wallet chose outputs that it should not, or does not have")

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        outputs, account = _payable(spend, NodeProtocolError), self._own.account_of(spend.sources)
        prepared = Prepared.read(proposal.payload)
        blob = prepared.checked()
        if set(prepared.key_images) != set(proposal.resources):
            raise NodeProtocolError("the transaction spends other outputs than the proposal names")
        if prepared.fee_units != proposal.fee_units:
            raise NodeProtocolError("the transaction pays another fee than the proposal names")
        self._check_targets(spend)
        if not check_payees(blob, prepared.tx_key, outputs, self._own.ours(account)):
            self._check_nothing_left(prepared, account, outputs)
        return SignedTransaction(prepared.txid, prepared.blob, prepared.fee_units, proposal.resources, proposal.payload)

    def _check_targets(self, spend: Spend) -> None:
        for output, target in zip(spend.outputs, spend.targets, strict=True) if spend.targets else ():
            if self._own.at_target(target) != output.address:
                raise NodeProtocolError("money that should stay ours would go to an address that is not the one named")

    def _check_nothing_left(self, prepared: Prepared, account: int, outputs: Sequence[Output]) -> None:
        """Without change the wallet adds an output of nothing to nobody, whose amount no key of ours opens. It is
        nothing if what is spent is what is paid."""
        units = self._coins.units_of(account, prepared.key_images)
        if units != sum(output.units for output in outputs) + prepared.fee_units:
            raise NodeProtocolError("the transaction's change does not come back to us")

    def reprice(self, signed: SignedTransaction, spend: Spend, fee_max_units: int) -> Proposal:
        """A pool takes no replacement. What can never confirm is made anew from some of the very same outputs, all
        others being frozen meanwhile, so that at most one of the two can ever be in a chain (FAULTS E10)."""
        old = Prepared.read(signed.payload)
        if (
            self.sign(Proposal(old.key_images, signed.fee_units, signed.payload, fee_max_units), spend).txid
            != signed.txid
        ):
            raise NodeProtocolError("the stored proposal is not the one that was signed")
        if not set(old.key_images) <= set(signed.resources):
            raise NodeProtocolError("the stored proposal spends other outputs than were bound to it")
        self._check_dead(signed)
        account = self._own.account_of(spend.sources)
        with self._holds.turn:
            self._sync.caught_up()
            coins = self._coins.unspent(account)
            same = [coin for coin in coins if coin.key_image in old.key_images]
            if not same:
                raise ResourceTaken("none of the outputs that it spends can be spent any more")
            others = [coin for coin in coins if coin not in same and not coin.frozen]
            with self._holds.meanwhile(others, [coin for coin in same if coin.frozen]):
                prepared = self._prepare(_payable(spend), account, 1, coins, others)
        if not set(prepared.key_images) <= {coin.key_image for coin in same}:
            raise ResourceTaken("the new transaction shares too little with the one that it stands for")
        prepared.checked()
        if prepared.fee_units > fee_max_units:
            raise InsufficientHotFunds(f"a fee of {prepared.fee_units} piconero is more than the ceiling bears")
        keys = {coin.key_image: coin.key for coin in same}
        spends = tuple(keys[image] for image in prepared.key_images)
        return Proposal(prepared.key_images, prepared.fee_units, prepared.payload(), fee_max_units, spends=spends)

    def _check_dead(self, signed: SignedTransaction) -> None:
        """Raises `ResourceTaken` unless the daemon, which sees its outputs unspent, calls the very bytes invalid now.

        Its bytes are sent once more to learn that: this is asked only for what was meant to be sent.
        """
        try:
            self._sending.push(signed)
        except TransactionRefused as refusal:
            status = self._sending.look_up(signed)
            if refusal.invalid and status.state is TxState.UNKNOWN and not status.conflicting:
                return
            raise ResourceTaken(f"it is not proven dead: {refusal.detail}") from None
        raise ResourceTaken("the transaction is on its way, and the pool takes no replacement")


def _payable(spend: Spend, wrong: type[Exception] = ValueError) -> tuple[Output, ...]:
    """The outputs of a spend that this chain can make. Raises `ValueError` (or `wrong`) for any other."""
    if spend.token is not None or spend.call is not None or spend.batched:
        raise ValueError("this chain moves its own coin and nothing else")
    if spend.targets and len(spend.targets) != len(spend.outputs):
        raise ValueError("each output that stays ours needs its target")
    addresses = [output.address for output in spend.outputs]
    split = bool(spend.targets) and all(target == HOT for target in spend.targets)
    if not 0 < len(addresses) <= PAYEES_MAX or (len(set(addresses)) != len(addresses) and not split):
        raise wrong("a transaction pays one to fifteen different addresses")
    return spend.outputs


def _fee_ceiling(weight: int, rate_max: int) -> int:
    return -(-weight * rate_max // FEE_STEP_UNITS) * FEE_STEP_UNITS
