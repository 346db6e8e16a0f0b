"""Which adapter serves a chain. Adding a coin is one line in each table.

Adapters are imported when first asked for, so that the API process, which asks for address books only, never
loads an RPC library or reads a node's credentials.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from ledger.errors import NodeNotReady, WrongNetwork
from wallets.files import WalletFiles
from wallets.protocol import AddressBook, ChainWallet, Directory, Witness

if TYPE_CHECKING:
    from settings import Settings
    from wallets.ethereum.transaction import Keys

_T = TypeVar("_T")


def address_book(chain: str, settings: Settings) -> AddressBook:
    """The addresses of a chain: no node, no secret. Raises `LookupError` for a chain nobody serves."""
    return _find(_ADDRESS_BOOKS, chain)(settings)


def wallet(chain: str, settings: Settings, directory: Directory) -> ChainWallet:
    """The master wallet of a chain; connects to nothing before its first call. Raises `LookupError`."""
    return _find(_WALLETS, chain)(settings, directory)


def listener(chain: str, settings: Settings) -> Callable[[Callable[[], None], Event], None] | None:
    """What calls back at each new block until told to stop; None where the settings name nothing that could."""
    if chain == "bitcoin" and settings.bitcoin_zmq_url is not None:
        from wallets.bitcoin import push as zmq_push

        return partial(zmq_push.listen, settings.bitcoin_zmq_url)
    if chain == "ethereum" and settings.ethereum_ws_url is not None:
        from wallets.ethereum import push as ws_push

        return partial(ws_push.listen, settings.ethereum_ws_url.get_secret_value())
    return None


def wallet_files(chain: str, settings: Settings) -> WalletFiles:
    """Where a chain's wallet lies, for backups. Raises `NodeNotReady` naming the variable that is missing."""
    return _find(_FILES, chain)(settings)


def witness(chain: str, settings: Settings) -> Witness | None:
    """The second node of a chain; None where the settings name none."""
    secret = getattr(settings, f"{chain}_witness_url")
    if secret is None:
        return None
    url, seconds = secret.get_secret_value(), getattr(settings, f"{chain}_rpc_timeout_seconds")
    if url.startswith("fake:") and _fake_file(settings, chain) is not None:
        from wallets.fake import FakeChain
        from wallets.fake.witness import FakeWitness

        return FakeWitness(FakeChain(url.removeprefix("fake:")))
    return _find(_WITNESSES, chain)(url, seconds)


def chains() -> tuple[str, ...]:
    """Every chain that can be asked for."""
    return tuple(_WALLETS)


def _bitcoin_addresses(settings: Settings) -> AddressBook:
    if _fake_file(settings, "bitcoin") is not None:
        from wallets.fake import FakeAddressBook

        return FakeAddressBook()
    from wallets.bitcoin.addresses import BitcoinAddressBook

    return BitcoinAddressBook(settings.bitcoin_network)


def _bitcoin_wallet(settings: Settings, directory: Directory) -> ChainWallet:
    fake_file = _fake_file(settings, "bitcoin")
    if fake_file is not None:
        from wallets.fake import FakeChain, FakeWallet

        return FakeWallet(FakeChain(fake_file), settings.bitcoin_wallet)
    from wallets.bitcoin.client import BitcoinClient
    from wallets.bitcoin.wallet import BitcoinWallet

    if settings.bitcoin_rpc_url is None:
        raise NodeNotReady("COFFER_BITCOIN_RPC_URL is not set: this process has no Bitcoin node")
    url, secret = settings.bitcoin_rpc_url.get_secret_value(), settings.bitcoin_wallet_passphrase
    client = BitcoinClient(url, settings.bitcoin_wallet, settings.bitcoin_rpc_timeout_seconds)
    passphrase = None if secret is None else secret.get_secret_value()
    return BitcoinWallet(client, settings.bitcoin_network, settings.bitcoin_wallet, passphrase)


def _bitcoin_files(settings: Settings) -> WalletFiles:
    fake_file = _fake_file(settings, "bitcoin")
    if fake_file is not None:
        from wallets.fake import FakeChain
        from wallets.fake.files import FakeFiles

        return FakeFiles(FakeChain(fake_file), settings.bitcoin_wallet)
    from wallets.bitcoin.client import BitcoinClient
    from wallets.bitcoin.files import BitcoinFiles

    url = settings.bitcoin_backup_rpc_url or settings.bitcoin_rpc_url
    if url is None:
        raise NodeNotReady("COFFER_BITCOIN_BACKUP_RPC_URL is not set: only the node can copy its wallet")
    client = BitcoinClient(url.get_secret_value(), settings.bitcoin_wallet, settings.bitcoin_rpc_timeout_seconds)
    return BitcoinFiles(client, settings.bitcoin_wallet, settings.bitcoin_backup_dir)


def _fake_file(settings: Settings, chain: str) -> Path | None:
    """`fake:/path` as COFFER_BITCOIN_RPC_URL or COFFER_MONERO_DAEMON_URL puts a test installation on a model chain in
    a file; live ones refuse it."""
    secret = settings.bitcoin_rpc_url if chain == "bitcoin" else settings.monero_daemon_url
    url = "" if secret is None else secret.get_secret_value()
    if not url.startswith("fake:"):
        return None
    network = settings.bitcoin_network if chain == "bitcoin" else settings.monero_network
    if settings.mode != "test" or network != "regtest":
        raise WrongNetwork("the fake chain serves only test mode on regtest")
    return Path(url.removeprefix("fake:"))


def _monero_addresses(settings: Settings) -> AddressBook:
    if _fake_file(settings, "monero") is not None:
        from wallets.fake.addresses import MONERO_PREFIX, FakeAddressBook

        return FakeAddressBook(MONERO_PREFIX, 12)
    from wallets.monero.addresses import MoneroAddressBook

    return MoneroAddressBook(settings.monero_network, settings.monero_layout)


def _monero_wallet(settings: Settings, directory: Directory) -> ChainWallet:
    fake_file = _fake_file(settings, "monero")
    if fake_file is not None:
        from wallets.fake import FakeChain, FakeWallet
        from wallets.fake.addresses import MONERO_PREFIX

        return FakeWallet(FakeChain(fake_file, MONERO_PREFIX), f"{settings.monero_wallet}-xmr", "monero")
    from wallets.monero.wallet import MoneroWallet

    if settings.monero_wallet_rpc_url is None or settings.monero_daemon_url is None:
        raise NodeNotReady("COFFER_MONERO_WALLET_RPC_URL and COFFER_MONERO_DAEMON_URL: this process has no Monero node")
    return MoneroWallet(
        settings.monero_wallet_rpc_url.get_secret_value(),
        settings.monero_daemon_url.get_secret_value(),
        network=settings.monero_network,
        name=settings.monero_wallet,
        password=_monero_password(settings),
        layout=settings.monero_layout,
        timeout_seconds=settings.monero_rpc_timeout_seconds,
    )


def _monero_files(settings: Settings) -> WalletFiles:
    fake_file = _fake_file(settings, "monero")
    if fake_file is not None:
        from wallets.fake import FakeChain
        from wallets.fake.addresses import MONERO_PREFIX
        from wallets.fake.files import FakeFiles

        return FakeFiles(FakeChain(fake_file, MONERO_PREFIX), f"{settings.monero_wallet}-xmr")
    from wallets.monero.client import MoneroClient
    from wallets.monero.files import MoneroFiles

    if settings.monero_wallet_rpc_url is None or settings.monero_daemon_url is None:
        raise NodeNotReady("COFFER_MONERO_WALLET_RPC_URL and COFFER_MONERO_DAEMON_URL: this process has no Monero node")
    if settings.monero_wallet_dir is None:
        raise NodeNotReady("COFFER_MONERO_WALLET_DIR is not set: it names the folder of the wallet's files")
    client = MoneroClient(
        settings.monero_wallet_rpc_url.get_secret_value(),
        settings.monero_daemon_url.get_secret_value(),
        settings.monero_wallet,
        _monero_password(settings),
        settings.monero_rpc_timeout_seconds,
    )
    return MoneroFiles(client, settings.monero_wallet_dir)


def _monero_password(settings: Settings) -> str:
    password = settings.monero_wallet_password
    return "" if password is None else password.get_secret_value()


def _ethereum_addresses(settings: Settings) -> AddressBook:
    from wallets.ethereum.addresses import EthereumAddressBook

    return EthereumAddressBook(settings.ethereum_chain_id)


def _ethereum_wallet(settings: Settings, directory: Directory) -> ChainWallet:
    from wallets.ethereum.client import EthereumClient
    from wallets.ethereum.wallet import EthereumWallet

    if settings.ethereum_rpc_url is None:
        raise NodeNotReady("COFFER_ETHEREUM_RPC_URL is not set: this process has no Ethereum node")
    return EthereumWallet(
        EthereumClient(settings.ethereum_rpc_url.get_secret_value(), settings.ethereum_rpc_timeout_seconds),
        _ethereum_keys(settings, directory),
        directory,
        settings.ethereum_chain_id,
        sweeper=settings.ethereum_sweeper,
        trace=settings.ethereum_trace == "auto",
    )


def _ethereum_keys(settings: Settings, directory: Directory) -> Keys:
    """The keys of the seed file; without one only what the public key tells, which signs nothing."""
    if settings.ethereum_seed_file is None:
        from wallets.ethereum.keys import PublicKeys

        public_key = directory.account_public_key()
        if public_key is None:
            raise NodeNotReady("COFFER_ETHEREUM_SEED_FILE is not set, and this database knows no public key yet")
        return PublicKeys(public_key)
    from wallets.ethereum.seed import open_keys
    from wallets.ethereum.seed_keys import LocalKey, VaultKey

    if settings.ethereum_vault_url is not None:
        if settings.ethereum_vault_token_file is None:
            raise NodeNotReady("COFFER_ETHEREUM_VAULT_TOKEN_FILE is needed beside COFFER_ETHEREUM_VAULT_URL")
        vault = VaultKey(settings.ethereum_vault_url, settings.ethereum_vault_key, settings.ethereum_vault_token_file)
        return open_keys(settings.ethereum_seed_file, vault)
    if settings.ethereum_seed_key is None:
        raise NodeNotReady("COFFER_ETHEREUM_SEED_KEY (or a Vault) is needed to open the seed file")
    key = LocalKey.from_hex(settings.ethereum_seed_key.get_secret_value())
    return open_keys(settings.ethereum_seed_file, key)


def _ethereum_files(settings: Settings) -> WalletFiles:
    from wallets.ethereum.files import EthereumFiles

    if settings.ethereum_seed_file is None:
        raise NodeNotReady("COFFER_ETHEREUM_SEED_FILE is not set: without it a backup holds no key of Ethereum")
    return EthereumFiles(settings.ethereum_seed_file)


def _bitcoin_witness(url: str, seconds: int) -> Witness:
    from wallets.bitcoin.client import BitcoinClient
    from wallets.bitcoin.witness import BitcoinWitness

    return BitcoinWitness(BitcoinClient(url, "", seconds))


def _monero_witness(url: str, seconds: int) -> Witness:
    from wallets.monero.client import MoneroClient
    from wallets.monero.witness import MoneroWitness

    return MoneroWitness(MoneroClient(url, url, "", "", seconds))


def _ethereum_witness(url: str, seconds: int) -> Witness:
    from wallets.ethereum.client import EthereumClient
    from wallets.ethereum.witness import EthereumWitness

    return EthereumWitness(EthereumClient(url, seconds))


_WITNESSES: dict[str, Callable[[str, int], Witness]] = {
    "bitcoin": _bitcoin_witness,
    "monero": _monero_witness,
    "ethereum": _ethereum_witness,
}
_ADDRESS_BOOKS: dict[str, Callable[[Settings], AddressBook]] = {
    "bitcoin": _bitcoin_addresses,
    "monero": _monero_addresses,
    "ethereum": _ethereum_addresses,
}
_WALLETS: dict[str, Callable[[Settings, Directory], ChainWallet]] = {
    "bitcoin": _bitcoin_wallet,
    "monero": _monero_wallet,
    "ethereum": _ethereum_wallet,
}
_FILES: dict[str, Callable[[Settings], WalletFiles]] = {
    "bitcoin": _bitcoin_files,
    "monero": _monero_files,
    "ethereum": _ethereum_files,
}


def _find(table: dict[str, _T], chain: str) -> _T:
    try:
        return table[chain]
    except KeyError:
        raise LookupError(f"no adapter for chain {chain!r}") from None
