"""ERC-20: what is sent to a token's contract, and what its events and answers say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.errors import NodeProtocolError
from wallets.ethereum.client import Call, EthereumClient, RpcRefused
from wallets.ethereum.reply import Log, data_of
from wallets.protocol import TokenFacts

#: keccak256 of `Transfer(address,address,uint256)`.
TRANSFER = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"

_TRANSFER_CALL, _BALANCE_CALL, _DECIMALS_CALL, _SYMBOL_CALL = "0xa9059cbb", "0x70a08231", "0x313ce567", "0x95d89b41"
_UINT256 = 1 << 256
_WORD = 64  # hexadecimal digits of 32 bytes
_SYMBOL_MAX = 32


def transfer_call(payee: str, units: int) -> str:
    """The data of `transfer(payee, units)`."""
    return _TRANSFER_CALL + _address_word(payee) + _number_word(units)


def balance_call(contract: str, holder: str, at: object) -> Call:
    """The question for `balanceOf(holder)`; `at` is a block as JSON-RPC names it."""
    return ("eth_call", [{"to": contract, "data": _BALANCE_CALL + _address_word(holder)}, at])


def uint_of(value: object, where: str) -> int:
    """A uint256 that a contract gave back. A contract without code gives back nothing, which is not zero."""
    units = uint_or_none(value, where)
    if units is None:
        raise NodeProtocolError(f"{where} is not a number of 32 bytes")
    return units


def uint_or_none(value: object, where: str) -> int | None:
    """As `uint_of`, with None for what is no uint256, where that is the contract's fault and not the node's."""
    data = data_of(value, where)
    return int(data[2 : 2 + _WORD], 16) if len(data) >= 2 + _WORD else None


def transfers(logs: Sequence[Log]) -> Iterable[tuple[int, str, str, str, int]]:
    """The ERC-20 transfers among a receipt's logs: (place, contract, from, to, units), addresses in lower case.

    An ERC-721 transfer has the same first topic and one topic more: it is none.
    """
    for place, log in enumerate(logs):
        if len(log.topics) == 3 and log.topics[0] == TRANSFER and len(log.data) == 2 + _WORD:
            yield place, log.contract, "0x" + log.topics[1][-40:], "0x" + log.topics[2][-40:], int(log.data, 16)


def facts(client: EthereumClient, contract: str) -> TokenFacts:
    """What the contract says of itself. Raises `LookupError` where there is no code."""
    if data_of(client.read("eth_getCode", contract, "latest"), "eth_getCode") == "0x":
        raise LookupError(f"there is no contract at {contract}")
    asked = [("eth_call", [{"to": contract, "data": data}, "latest"]) for data in (_DECIMALS_CALL, _SYMBOL_CALL)]
    decimals, symbol = client.try_many(asked)
    return TokenFacts(_symbol(symbol), _decimals(decimals))


def _decimals(answer: object) -> int | None:
    if isinstance(answer, RpcRefused) or len(data_of(answer, "decimals()")) != 2 + _WORD:
        return None
    count = uint_of(answer, "decimals()")
    return count if count < 256 else None


def _symbol(answer: object) -> str | None:
    """A string as the ABI writes it, or 32 bytes as the first tokens had it; only what is printable."""
    if isinstance(answer, RpcRefused):
        return None
    raw = bytes.fromhex(data_of(answer, "symbol()")[2:])
    if len(raw) >= 64 and int.from_bytes(raw[:32]) == 32:
        raw = raw[64 : 64 + min(int.from_bytes(raw[32:64]), len(raw) - 64)]
    text = raw.rstrip(b"\0").decode(errors="replace")
    return text if text and text.isprintable() and len(text) <= _SYMBOL_MAX else None


def _address_word(address: str) -> str:
    return address[2:].lower().rjust(_WORD, "0")


def _number_word(units: int) -> str:
    if not 0 <= units < _UINT256:
        raise ValueError("not a uint256")
    return f"{units:0{_WORD}x}"
