"""A shop's URL leads to a public server or nowhere, however it is written and whatever its name server says."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

import pytest

from jobs.webhooks.urls import Forbidden, Guard, NoSuchName
from ledger.errors import InvalidInput

GOOD = {
    "https://shop.example/hooks": ("shop.example", 443, "/hooks", "shop.example"),
    "https://Shop.EXAMPLE": ("shop.example", 443, "/", "shop.example"),
    "https://shop.example:8443/a?b=c&d=%20": ("shop.example", 8443, "/a?b=c&d=%20", "shop.example:8443"),
    "https://shop.example?x=1": ("shop.example", 443, "/?x=1", "shop.example"),
    "https://8.8.8.8/": ("8.8.8.8", 443, "/", "8.8.8.8"),
    "https://[2606:4700::1111]/": ("2606:4700::1111", 443, "/", "[2606:4700::1111]"),
    "https://[2606:4700::1111]:8443/": ("2606:4700::1111", 8443, "/", "[2606:4700::1111]:8443"),
    "https://xn--mnchen-3ya.example/": ("xn--mnchen-3ya.example", 443, "/", "xn--mnchen-3ya.example"),
    "https://a.example/@user:pw": ("a.example", 443, "/@user:pw", "a.example"),
}

BAD = [
    "",
    "shop.example",
    "//shop.example/",
    "http://shop.example/",  # plain
    "ftp://shop.example/",
    "file:///etc/passwd",
    "gopher://shop.example/",
    "HTTPS://shop.example/",
    "https:/shop.example",
    "https:///shop.example",
    "https://",
    "https://localhost/",
    "https://redis/",
    "https://user@shop.example/",
    "https://user:password@shop.example/",
    "https://shop.example@127.0.0.1/",
    "https://127.0.0.1\\@shop.example/",
    "https://shop.example\\.evil/",
    "https://shop.example#@127.0.0.1/",
    "https://shop.example/#part",
    "https://shop.example:0/",
    "https://shop.example:22/",
    "https://shop.example:25/",
    "https://shop.example:80/",
    "https://shop.example:65536/",
    "https://shop.example:99999999/",
    "https://shop.example:/",
    "https://shop.example:443:443/",
    "https://shop.example:+443/",
    "https://shop.example:\u0664\u0664\u0663/",
    "https://shop .example/",
    " https://shop.example/",
    "https://shop.example/ ",
    "https://shop.example/\r\nX-Evil: 1",
    "https://shop.example/\n",
    "https://shop.example\t/",
    "https://shop.example/\x00",
    "https://shop.example./",
    "https://.shop.example/",
    "https://shop..example/",
    "https://-shop.example/",
    "https://" + "a" * 64 + ".example/",
    "https://" + ".".join(["a" * 60] * 5) + ".example/",
    "https://shop.example/" + "a" * 500,
    # numbers that some program takes for an address
    "https://127.0.0.1/",
    "https://127.1/",
    "https://127.0.1/",
    "https://2130706433/",
    "https://0x7f000001/",
    "https://0x7f.0.0.1/",
    "https://0X7F.1/",
    "https://0x/",
    "https://0177.0.0.1/",
    "https://017700000001/",
    "https://127.0.0.1.1/",
    "https://1.2.3.256/",
    "https://0/",
    "https://0.0.0.0/",
    "https://a.0x1/",
    # addresses that are not public
    "https://10.0.0.1/",
    "https://172.16.0.1/",
    "https://172.31.255.255/",
    "https://192.168.0.1/",
    "https://100.64.0.1/",
    "https://169.254.169.254/latest/meta-data/",
    "https://192.0.0.192/",
    "https://192.0.2.1/",
    "https://192.88.99.1/",
    "https://198.18.0.1/",
    "https://203.0.113.1/",
    "https://224.0.0.1/",
    "https://239.255.255.255/",
    "https://240.0.0.1/",
    "https://255.255.255.255/",
    "https://[::]/",
    "https://[::1]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:127.0.0.1]/",
    "https://[::ffff:7f00:1]/",
    "https://[0:0:0:0:0:ffff:10.0.0.1]/",
    "https://[64:ff9b::7f00:1]/",
    "https://[64:ff9b::169.254.169.254]/",
    "https://[64:ff9b:1::1]/",
    "https://[2002:7f00:1::]/",
    "https://[2002:a00:1::1]/",
    "https://[2001::1]/",
    "https://[2001:db8::1]/",
    "https://[fe80::1]/",
    "https://[fe80::1%25eth0]/",
    "https://[fc00::1]/",
    "https://[fd00:ec2::254]/",
    "https://[fec0::1]/",
    "https://[ff02::1]/",
    "https://[100::1]/",
    "https://[5f00::1]/",
    "https://[1.2.3.4]/",
    "https://[::1/",
    "https://::1/",
    "https://[v1.a]/",
    # hosts that are other hosts to other readers
    "https://m\u00fcnchen.example/",
    "https://\uff11\uff12\uff17.0.0.1/",
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460/",
    "https://127\u30020\u30020\u30021/",
    "https://shop.example\u3002evil/",
    "https://loc\u00adalhost.example/",
    "https://%6c%6f%63%61%6c%68%6f%73%74/",
    "https://127.0.0.1%2f.shop.example/",
    "https://shop.example%00.evil/",
]


@pytest.mark.parametrize("url", GOOD)
def test_a_public_url_is_taken_apart(url: str) -> None:
    target = Guard().check(url)
    assert (target.host, target.port, target.path, target.authority) == GOOD[url]


@pytest.mark.parametrize("url", BAD, ids=ascii)
def test_any_other_url_is_refused_by_name(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Guard().check(url)
    assert (caught.value.code, caught.value.pointer) == ("url_invalid", "/url")


#: What a hostile name server answers.
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "10.1.2.3",
    "172.20.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.100.100.200",
    "0.0.0.0",  # an answer of a name server
    "255.255.255.255",
    "224.0.0.251",
    "::1",
    "::",
    "::ffff:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "fe80::1%eth0",
    "fd12:3456::1",
    "ff05::2",
]


@pytest.mark.parametrize("answer", PRIVATE)
def test_a_name_that_leads_into_a_private_network_is_not_called(answer: str) -> None:
    guard = Guard(resolver=lambda *_: [answer])
    with pytest.raises(Forbidden):
        guard.addresses(guard.check("https://shop.example/"))


@pytest.mark.parametrize("answer", PRIVATE)
def test_one_private_address_among_public_ones_is_enough_to_refuse(answer: str) -> None:
    guard = Guard(resolver=lambda *_: ["8.8.8.8", answer, "2606:4700::1111"])
    with pytest.raises(Forbidden):
        guard.addresses(guard.check("https://shop.example/"))


def test_public_addresses_are_given_in_the_order_of_the_name_server() -> None:
    asked: list[tuple[str, int]] = []

    def resolver(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["2606:4700::1111", "8.8.8.8"]

    guard = Guard(resolver=resolver)
    assert guard.addresses(guard.check("https://shop.example:8443/")) == ["2606:4700::1111", "8.8.8.8"]
    assert asked == [("shop.example", 8443)]


@pytest.mark.parametrize("answers", [[], ["nonsense"]])
def test_a_name_without_an_address_is_no_name(answers: list[str]) -> None:
    guard = Guard(resolver=lambda *_: answers)
    with pytest.raises(NoSuchName):
        guard.addresses(guard.check("https://shop.example/"))


ALLOWED = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]


def test_an_allowed_network_is_called_also_by_plain_http_and_by_a_bare_name() -> None:
    guard = Guard(ALLOWED, resolver=lambda *_: ["10.1.2.3"])
    for url in ("http://10.1.2.3/", "http://10.1.2.3:8000/", "https://[fd00::1]/", "http://shop:8000/"):
        assert guard.check(url)
    assert guard.addresses(guard.check("http://shop/")) == ["10.1.2.3"]


@pytest.mark.parametrize("url", ["http://10.2.0.1/", "https://127.0.0.1/", "http://8.8.8.8/", "https://[::1]/"])
def test_allowing_one_network_allows_no_other(url: str) -> None:
    with pytest.raises(InvalidInput):
        Guard(ALLOWED).check(url)


@pytest.mark.parametrize("answer", ["10.2.0.1", "127.0.0.1", "8.8.8.8"])
def test_plain_http_goes_to_allowed_networks_only(answer: str) -> None:
    guard = Guard(ALLOWED, resolver=lambda *_: [answer])
    with pytest.raises(Forbidden):
        guard.addresses(guard.check("http://shop.example/"))


def test_a_mapped_address_is_allowed_as_the_address_it_carries() -> None:
    guard = Guard(ALLOWED, resolver=lambda *_: ["::ffff:10.1.0.9"])
    assert guard.addresses(guard.check("https://shop.example/")) == ["::ffff:a01:9"]
