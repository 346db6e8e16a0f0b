"""The demo: once for real, broken off once, and what it does when a figure is not as expected."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.demo import main as demo
from devstack.demo import trading
from devstack.demo.figures import BTC, COINS, ETH, USDT, XMR, Checks, Coin, Customer, Deviation, House, Purse, Totals
from devstack.demo.teller import Teller
from devstack.programs import ROOT

#: The promise is two minutes and a half for a set-up checkout on two free cores; the suite shares them with others.
SECONDS_MAX = 900


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="cf-demo-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def child(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A demo that was just started; ended when the test is over, whatever became of it."""
    command = [sys.executable, "-u", "-m", "cli.main", "demo"]
    environ = os.environ | {"TMPDIR": str(folder)}
    running = subprocess.Popen(
        command, cwd=ROOT, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    yield running
    if running.poll() is None:
        running.terminate()
        running.communicate(timeout=60)


def processes_of(folder: Path) -> list[str]:
    """Running processes whose command line, environment or working directory names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if str(folder) in told.decode(errors="replace") + str((entry / "cwd").readlink()):
                    found.append((entry / "cmdline").read_text().replace("\0", " "))
            except OSError:
                continue  # gone, or not ours
    return found


@pytest.mark.slow
@pytest.mark.timeout(SECONDS_MAX + 30)
def test_the_demo_ends_with_every_figure_as_expected_and_leaves_nothing(
    folder: Path, child: subprocess.Popen[str]
) -> None:
    told, _ = child.communicate(timeout=SECONDS_MAX)
    assert child.returncode == 0, told
    assert re.search(r"\n\d+ figures compared, all as expected\. \d+ s\.\n$", told)
    for coin in COINS:
        assert re.search(rf"ledger {coin.code} +difference +{re.escape(coin.show(0))}\n", told)
    assert "\x1b" not in told  # a log is no terminal
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_breaking_off_ends_every_process(folder: Path, child: subprocess.Popen[str], how: signal.Signals) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if "Coffer: api, workers, scheduler" in line:
            break
    assert len(processes_of(folder)) >= 4
    child.send_signal(how)
    rest, _ = child.communicate(timeout=60)
    assert (child.returncode, "every process is ended" in rest) == (130, True), rest
    assert processes_of(folder) == []
    assert list(folder.iterdir()) == []


def test_a_difference_is_shown_and_keeps_the_logs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def play(*_: object) -> int:
        Checks().same("Anna: available", "0.50000000", "0.40000000")
        return 1

    monkeypatch.setattr(demo, "_play", play)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    assert demo.demo() == 1
    told = capsys.readouterr().out
    assert "NOT AS EXPECTED: Anna: available" in told
    assert "expected: 0.40000000" in told
    assert "found:    0.50000000" in told
    assert len(list(folder.iterdir())) == 1


def test_handlers_are_as_before_after_a_demo(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_play", lambda *_: 1)
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    before = signal.getsignal(signal.SIGINT)
    assert demo.demo() == 0
    assert signal.getsignal(signal.SIGINT) is before


def test_the_expected_total_is_what_is_owed_and_what_is_the_houses() -> None:
    anna = Purse(deposited=100, sent=10, withdrawn=20, fees=2, held=5)
    ben = Purse(received=10)
    people = {"Anna": Customer("Anna", purses={BTC: anna, ETH: Purse()}), "Ben": Customer("Ben", purses={BTC: ben})}
    totals = Totals(people, {BTC: House(capital=50, fees_earned=2, network_fees=1, dust=3)})
    assert (anna.available, ben.available, totals.owed(BTC)) == (63, 10, 78)
    assert totals.on_chain(BTC) == 78 + 50 + 2 - 1 + 3


def test_money_in_escrow_is_owed_and_a_swap_moves_the_houses_inventory() -> None:
    anna, vera = Purse(deposited=100, sent=30, escrowed=20), Purse(received=30, fees=1, swapped=-29)
    totals = Totals({"Anna": Customer("Anna", purses={BTC: anna}), "Vera": Customer("Vera", purses={BTC: vera})})
    totals.houses[BTC] = House(fees_earned=1, traded=29)
    assert (anna.available, vera.available, totals.owed(BTC)) == (50, 0, 70)
    assert totals.on_chain(BTC) == 100


def test_a_price_is_what_the_rate_gives_less_spread_and_fees_rounded_against_the_customer() -> None:
    # 0.00099 BTC at 400 XMR: 0.396; 0.39402 after the spread, of which 0.25 % and the payout's fee go off.
    price = trading.priced(BTC, XMR, 99_000)
    assert (price.buy, price.service, price.out(XMR)) == (392_534_950_000, 985_050_000, 394_020_000_000)
    sell = next(n for n in range(98_990, 99_001) if trading.priced(BTC, XMR, n).buy >= 392_534_950_000)
    assert sell == 99_000
    wanted = trading.priced_to_get(BTC, XMR, 99_000, 392_534_949_999)
    assert (wanted.buy, wanted.rounding) == (392_534_949_999, 1)
    with pytest.raises(Deviation, match="not the least"):
        trading.priced_to_get(BTC, XMR, 99_001, 392_534_949_999)


@pytest.mark.parametrize(
    ("coin", "units", "shown"),
    [
        (BTC, 0, "0.00000000"),
        (BTC, 1, "0.00000001"),
        (BTC, -2_000, "-0.00002000"),
        (BTC, 150_000_000, "1.50000000"),
        (USDT, -1_000_001, "-1.000001"),
        (ETH, 1, "0.000000000000000001"),
        (ETH, 5 * 10**17, "0.50000000"),
    ],
)
def test_amounts_are_shown_to_the_last_unit(coin: Coin, units: int, shown: str) -> None:
    assert coin.show(units) == shown
    assert coin.units(coin.show(abs(units))) == abs(units)


def test_a_wait_in_vain_is_a_deviation() -> None:
    out = io.StringIO()
    with pytest.raises(Deviation, match="in vain for: the moon"):
        Teller(out).until("the moon", lambda: None, timeout_seconds=0)
    assert "\x1b" not in out.getvalue()
