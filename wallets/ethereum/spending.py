"""Proposals, signatures and replacements: nothing here sends.

Whatever is signed is derived again from the spend and the keys, and the signed bytes are decoded and compared.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from ledger.errors import (
    InsufficientHotFunds,
    InvalidAddress,
    InvalidAmount,
    InvalidInput,
    NodeProtocolError,
    WalletBusy,
)
from wallets.ethereum.addresses import HOT_INDEX, EthereumAddressBook
from wallets.ethereum.client import EthereumClient, RpcRefused
from wallets.ethereum.delegation import (
    AUTHORIZATION_GAS,
    Delegations,
    check_holdings,
    check_willing,
    cleared_gas,
    future_code,
)
from wallets.ethereum.nonces import Nonce, next_nonce
from wallets.ethereum.reply import base_fee_of, quantity_of
from wallets.ethereum.signing import signed_bytes
from wallets.ethereum.transaction import PLAIN_GAS, Delegation, Draft, Keys, Plan, plan, read_payload
from wallets.protocol import Directory, Proposal, SignedTransaction, Spend

#: What a contract needs can grow between the estimate and the block.
_GAS_MARGIN = (6, 5)
#: A pool takes a replacement that offers 10 % more (geth); an eighth more leaves no doubt about rounding.
_BUMP = (9, 8)
#: The most that the receiving side of a payment may use, margin included: the payee's code for the coin, the token's
#: contract besides. It is the house's money that it burns, and what no block can hold would wait in its nonce for ever.
PAYEE_GAS_MAX, TOKEN_GAS_MAX = 300_000, 1_000_000
#: The limit of one transaction (EIP-7825).
TX_GAS_MAX = 1 << 24
#: What a tip may be at most, in wei per gas, whatever the node suggests.
TIP_MAX = 50 * 10**9


class Spending:
    """The outgoing side of one wallet, up to the signature."""

    def __init__(
        self, client: EthereumClient, keys: Keys, directory: Directory, chain_id: int, sweeper: str | None
    ) -> None:
        self._client = client
        self._keys = keys
        self._directory = directory
        self._chain_id = chain_id
        self._sweeper = sweeper
        self._delegations = Delegations(client, keys, sweeper)
        self._book = EthereumAddressBook(chain_id)

    def propose(self, spend: Spend, rate: int, rate_max: int, excluded: Collection[str]) -> Proposal:
        """`rate` and `rate_max` are wei per gas, tip included. `fee_units` is the most that the transaction can cost
        (its gas limit at its price cap); what it really took is known from its receipt."""
        self._check_payees(spend)
        what = plan(spend, self._keys, self._sweeper)
        sender = self._keys.address(what.index)
        nonce = next_nonce(self._client, sender, excluded)
        delegations = self._delegations.needed(spend, excluded) if spend.batched else ()
        fee_cap, tip = self._price(rate, rate_max)
        coins = self._check_funds(what, sender)
        gas = self._gas(spend, what, sender, delegations)
        draft = Draft(self._chain_id, sender, nonce.value, what, gas, fee_cap, tip, delegations)
        return self._proposal(spend, draft, rate_max, coins, nonce)

    def _proposal(self, spend: Spend, draft: Draft, rate_max: int, coins: int, nonce: Nonce) -> Proposal:
        bearable = coins - draft.plan.value
        if draft.fee_units > bearable:
            raise InsufficientHotFunds(
                f"{draft.sender} has {coins} wei; {draft.plan.value} and up to {draft.fee_units} for gas are asked"
            )
        return Proposal(
            draft.resources,
            draft.fee_units,
            draft.payload(),
            max(draft.fee_units, min(draft.gas * rate_max, bearable)),
            self._own_payees(spend),
            # Of other indices nothing is expected: what they pay stays ours, and a seed may have been used before.
            expects=nonce.used if draft.plan.index == HOT_INDEX else (),
        )

    def _check_payees(self, spend: Spend) -> None:
        for output in spend.outputs:
            self._book.parse(output.address)
            if output.units <= 0:
                raise InvalidAmount("/amount", "must be more than nothing")

    def _own_payees(self, spend: Spend) -> tuple[str, ...]:
        """Payees that are ours, where the spend does not say so itself."""
        if spend.targets:
            return ()
        payees = [output.address for output in spend.outputs]
        ours = {*self._directory.ours(payees), self._keys.address(0)} if payees else set()
        return tuple(payee for payee in payees if payee in ours)

    def _price(self, rate: int, rate_max: int) -> tuple[int, int]:
        """The price cap and the tip of a transaction that could be mined now. Raises `WalletBusy` when the market is
        above the ceiling: it waits (FAULTS E15)."""
        latest, suggested = self._client.read_many(
            [("eth_getBlockByNumber", ["latest", False]), ("eth_maxPriorityFeePerGas", [])]
        )
        base_fee = base_fee_of(latest, "eth_getBlockByNumber")
        if base_fee >= rate_max:
            raise WalletBusy(f"gas costs {base_fee} wei now, more than the ceiling of {rate_max}")
        tip = min(quantity_of(suggested, "eth_maxPriorityFeePerGas"), TIP_MAX, rate_max - base_fee)
        return min(max(rate, base_fee + tip), rate_max), tip

    def _check_funds(self, what: Plan, sender: str) -> int:
        """The coins of the sender in wei. Those that its own waiting transactions will use are not counted."""
        check_holdings(self._client, what)
        answers = self._client.read_many([("eth_getBalance", [sender, tag]) for tag in ("latest", "pending")])
        coins = min(quantity_of(answer, "eth_getBalance") for answer in answers)
        if coins < what.value:
            raise InsufficientHotFunds(f"{sender} has {coins} wei, {what.value} and the gas are asked")
        return coins

    def _gas(self, spend: Spend, what: Plan, sender: str, delegations: Sequence[Delegation]) -> int:
        """The gas limit. Funds were checked before: what the node refuses now, the receiving side refuses (E13)."""
        if spend.batched and not spend.outputs:
            return cleared_gas(delegations)
        if spend.batched:
            self._delegations.prove()
            check_willing(self._client, what)
        request = {"from": sender, "value": hex(what.value), "data": what.data}
        if what.to is not None:
            request["to"] = what.to
        overrides = [future_code(delegations)] if delegations else []
        try:
            gas = quantity_of(self._client.read("eth_estimateGas", request, "latest", *overrides), "eth_estimateGas")
        except RpcRefused as refusal:
            raise _not_payable(spend, refusal) from None
        if gas == PLAIN_GAS and what.data == "0x":
            return gas
        gas = _more(gas, _GAS_MARGIN) + AUTHORIZATION_GAS * len(delegations)
        most = _gas_max(spend)
        if gas <= most:
            return gas
        asked = f"needs {gas} gas, and at most {most} is given"
        raise (
            InvalidInput("/call", asked, "call_refused")
            if spend.call is not None
            else InvalidAddress("/address", asked)
        )

    def sign(self, proposal: Proposal, spend: Spend) -> SignedTransaction:
        draft = read_payload(proposal.payload)
        self._check_draft(draft, spend)
        if draft.resources != tuple(proposal.resources):
            raise NodeProtocolError("the transaction uses other nonces than the proposal names")
        if draft.fee_units != proposal.fee_units or draft.fee_units > proposal.fee_max_units:
            raise NodeProtocolError("the transaction may cost another fee than the proposal names")
        signed = signed_bytes(draft, self._keys)
        return SignedTransaction(signed.hash, signed.raw, draft.fee_units, draft.resources, proposal.payload)

    def _check_draft(self, draft: Draft, spend: Spend) -> None:
        """Everything about a draft that is not a matter of nonce and price follows from the spend and the keys."""
        try:
            what = plan(spend, self._keys, self._sweeper)
        except ValueError as error:
            raise NodeProtocolError(f"this is no payment of ours: {error}") from None
        if draft.plan != what:
            raise NodeProtocolError("the proposal does something else than the payment says")
        if draft.chain_id != self._chain_id or draft.sender != self._keys.address(what.index):
            raise NodeProtocolError("the proposal is for another chain or another sender")
        if draft.tip > draft.fee_cap or not PLAIN_GAS <= draft.gas <= _gas_max(spend):
            raise NodeProtocolError("the proposal has a form that we do not give")
        self._delegations.check(draft.delegations, spend)

    def reprice(self, signed: SignedTransaction, spend: Spend, rate: int, fee_max_units: int) -> Proposal:
        """The same transaction with a higher price cap and tip; neither may rise by less than an eighth."""
        old = read_payload(signed.payload)
        self._check_draft(old, spend)
        if old.resources != tuple(signed.resources) or old.fee_units != signed.fee_units:
            raise NodeProtocolError("the stored proposal is not the one that was signed")
        fee_cap = max(rate, _more(old.fee_cap, _BUMP))
        draft = replace(old, fee_cap=fee_cap, tip=min(fee_cap, max(_more(old.tip, _BUMP), self._tip(fee_cap))))
        coins = quantity_of(self._client.read("eth_getBalance", draft.sender, "latest"), "eth_getBalance")
        bearable = min(fee_max_units, coins - draft.plan.value)
        if draft.fee_units > bearable:
            raise InsufficientHotFunds(f"up to {draft.fee_units} wei for gas is more than may be paid ({bearable})")
        return Proposal(draft.resources, draft.fee_units, draft.payload(), fee_max_units)

    def _tip(self, fee_cap: int) -> int:
        suggested = self._client.read("eth_maxPriorityFeePerGas")
        return min(quantity_of(suggested, "eth_maxPriorityFeePerGas"), TIP_MAX, fee_cap)


def _gas_max(spend: Spend) -> int:
    if spend.call is not None or spend.sources or spend.batched:
        return TX_GAS_MAX  # our own work
    return PAYEE_GAS_MAX if spend.token is None else TOKEN_GAS_MAX


def _not_payable(spend: Spend, refusal: RpcRefused) -> InvalidInput:
    if spend.call is not None:
        return InvalidInput("/call", f"the chain refuses it: {refusal.message}", "call_refused")
    whose = "the contract there" if spend.token is None else "the token's contract"
    return InvalidAddress("/address", f"cannot be paid: {whose} refuses it ({refusal.message})")


def _more(number: int, factor: tuple[int, int]) -> int:
    """Rounded up, and more in any case."""
    return max(number + 1, -(-number * factor[0] // factor[1]))
