"""Which nonce a payment gets: the resource that makes two payments exclude each other.

A nonce is used once on chain, so that of all transactions signed for one only one can ever count. The smallest free
one is taken, which also fills the gap that a payment leaves that was let go unsent: until it is filled nothing above
it can be mined.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from ledger.errors import WalletBusy
from wallets.ethereum.client import EthereumClient
from wallets.ethereum.reply import quantity_of
from wallets.ethereum.transaction import resource

#: Transactions of one address on their way at once. geth keeps 16 of an account for sure, and 64 behind a gap that it
#: may drop (FAULTS E11).
IN_FLIGHT_MAX = 16


@dataclass(frozen=True, slots=True)
class Nonce:
    """The next nonce of an address, and the resources that the chain and the pool show as used before it."""

    value: int
    used: tuple[str, ...]


def next_nonce(client: EthereumClient, address: str, excluded: Collection[str]) -> Nonce:
    """Raises `WalletBusy` when too many transactions of this address are on their way."""
    mined, used = used_nonces(client, address)
    taken = {nonce for nonce in range(mined, mined + IN_FLIGHT_MAX) if resource(address, nonce) in excluded}
    if len(taken) == IN_FLIGHT_MAX:
        raise WalletBusy(f"{IN_FLIGHT_MAX} transactions of {address} are on their way")
    return Nonce(next(nonce for nonce in range(mined, mined + IN_FLIGHT_MAX) if nonce not in taken), used)


def used_nonces(client: EthereumClient, address: str) -> tuple[int, tuple[str, ...]]:
    """How many transactions of this address are mined, and the resources last used in chain and pool.

    What waits in the pool counts like what is mined: a database that was restored from yesterday knows neither.
    """
    answers = client.read_many([("eth_getTransactionCount", [address, tag]) for tag in ("latest", "pending")])
    counts = [quantity_of(answer, "eth_getTransactionCount") for answer in answers]
    return counts[0], tuple(resource(address, count - 1) for count in sorted(set(counts)) if count > 0)


def has_gap(client: EthereumClient, address: str, live: Collection[str]) -> bool:
    """Whether a nonce that nobody has comes before one of these resources that waits."""
    mined = quantity_of(client.read("eth_getTransactionCount", address, "latest"), "eth_getTransactionCount")
    start = resource(address, 0)[:-1]
    taken = {int(key.removeprefix(start)) for key in live if key.startswith(start)}
    return any(nonce not in taken for nonce in range(mined, max(taken, default=mined)))
