"""Quantities, times and ages, names and addresses: rows from upstream's rules."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netemu.api import addresses, names, quantities, times

# --- quantities ---

CANONICAL = [
    ("0", "0"), ("0Gi", "0"), ("-0", "0"), ("1", "1"), ("1000", "1k"), ("1024", "1024"), ("1500m", "1500m"),
    ("1.5", "1500m"), ("0.5", "500m"), (".5", "500m"), ("1.", "1"), ("1000m", "1"), ("0.001", "1m"),
    ("1Ki", "1Ki"), ("1024Ki", "1Mi"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("0.5Ki", "512"),
    ("100Ki", "100Ki"),
    ("1000M", "1G"), ("1e3", "1e3"), ("1E3", "1e3"), ("1e4", "10e3"), ("12345e-3", "12345e-3"), ("1E", "1E"),
    ("1000E", "1000E"), (".001Ki", "1024m"), (".000001Ki", "1024u"), (".000000000001Ki", "2n"),
    ("3.001n", "4n"),
    ("-1.5", "-1500m"), ("+2", "2"), ("100.035Ki", "102436"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CANONICAL)
def test_canonical_quantity(text: str, expected: str) -> None:
    assert quantities.canonical(text) == expected
    assert quantities.canonical(expected) == expected


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 ", "x", "1KI", "1ki", "1mi", "--1", "1.2.3", ".", "1e", "1e+", "1e99999", "٣", "1" * 101],
)
def test_no_quantity(text: str) -> None:
    with pytest.raises(quantities.Malformed, match="must match the regular expression"):
        quantities.parse(text)


def test_values_are_exact_and_rounded_up() -> None:
    assert quantities.parse("0.1") + quantities.parse("0.2") == Fraction(3, 10)
    assert quantities.parse("1Ei") == 2**60
    assert quantities.milli("0.1") == 100
    assert quantities.milli("1u") == 1
    assert quantities.whole("1.5Ki") == 1536
    assert quantities.whole("100m") == 1
    assert quantities.total(["1Gi", "512Mi"]) == "1536Mi"
    assert quantities.total(["100m", "900m"]) == "1"
    assert quantities.total([]) == "0"


SUFFIXES = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei", "e3", "E-2"]


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**6), st.sampled_from(SUFFIXES))
def test_canonical_form_keeps_the_value(whole: int, part: int, suffix: str) -> None:
    text = f"{whole}.{part}{suffix}"
    canonical = quantities.canonical(text)
    assert quantities.canonical(canonical) == canonical
    assert 0 <= abs(quantities.parse(canonical)) - abs(quantities.parse(text)) < 1
    assert "." not in canonical


# --- times ---

AGES = [
    (-5, "<invalid>"), (-1, "0s"), (0, "0s"), (59, "59s"), (119, "119s"), (120, "2m"), (125, "2m5s"),
    (599, "9m59s"), (600, "10m"), (3600, "60m"), (3 * 3600 - 1, "179m"), (3 * 3600, "3h"),
    (3 * 3600 + 120, "3h2m"),
    (8 * 3600, "8h"), (47 * 3600, "47h"), (48 * 3600, "2d"), (50 * 3600, "2d2h"), (8 * 86400, "8d"),
    (729 * 86400, "729d"), (730 * 86400, "2y"), (735 * 86400, "2y5d"), (8 * 365 * 86400, "8y"),
]  # fmt: skip


@pytest.mark.parametrize(("length", "expected"), AGES)
def test_ages_read_as_kubectl_prints_them(length: float, expected: str) -> None:
    assert times.duration(length) == expected
    start = "2026-01-02T03:04:05Z"
    assert times.age(start, times.seconds(start) + length) == expected


def test_times_are_written_in_utc() -> None:
    assert times.canonical("2026-01-02T03:04:05.9+02:00") == "2026-01-02T01:04:05Z"
    assert times.canonical_micro("2026-01-02T03:04:05.9Z") == "2026-01-02T03:04:05.900000Z"
    assert times.canonical_micro("2026-01-02T03:04:05.123456789Z") == "2026-01-02T03:04:05.123456Z"
    assert times.age("", 0) == "<unknown>"


@pytest.mark.parametrize(
    "text", ["", "2026-01-02", "2026-13-02T03:04:05Z", "2026-01-02T03:04:05", "2026-01-02 03:04:05Z", "now"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(times.Malformed, match="parsing time"):
        times.seconds(text)


# --- names: the forms of RFC 1123, RFC 1035, RFC 6335 and of label syntax ---

GOOD = {
    names.label: ["a", "0", "a-b", "a" * 63],
    names.label_1035: ["a", "a-0"],
    names.subdomain: ["a", "a.b", "0.a-b.c", ".".join(["a" * 63] * 3)],
    names.qualified: ["a", "A_b.c-d", "example.com/a", "0/0"],
    names.label_value: ["", "a", "A_b.c-d", "1"],
    names.port_name: ["a", "serve-80-tcp", "1a"],
    names.environment: ["A", "_a.b-c", "1", "a b"],
    names.config_key: ["a.txt", "A_b", "-", "..."[:1] + "x"],
}
BAD = {
    names.label: {"": "regex used", "A": "regex used", "-a": "regex used", "a-": "regex used",
                  "a.b": "must not contain dots", "a" * 64: "no more than 63 characters",
                  "a\n": "regex used"},
    names.label_1035: {"0a": "DNS-1035", "a_b": "DNS-1035"},
    names.subdomain: {"": "RFC 1123 subdomain", "a..b": "RFC 1123", "a_b": "RFC 1123",
                      "a" * 254: "253 characters"},
    names.qualified: {"": "name part must be non-empty", "a/": "name part must be non-empty",
                      "/a": "prefix part must be non-empty", "a/b/c": "a qualified name must consist",
                      "A/b": "prefix part a lowercase RFC 1123",
                      "a" * 64: "name part must be no more than 63"},
    names.label_value: {"-": "a valid label must be", "a b": "a valid label", "a" * 64: "63 characters"},
    names.port_name: {"": "only alpha-numeric", "80": "at least one letter", "a--b": "consecutive hyphens",
                      "-a": "begin or end", "A": "alpha-numeric", "a" * 16: "no more than 15"},
    names.environment: {"": "non-empty", "a=b": "other than '='", "é": "printable ASCII"},
    names.config_key: {"": "a valid config key", "a/b": "a valid config key", ".": "must not be '.'",
                       "..": "must not be '..'", "..a": "must not start with '..'"},
}  # fmt: skip


def test_good_names() -> None:
    for check, texts in GOOD.items():
        for text in texts:
            assert check(text) == (), (check, text)


def test_bad_names_say_why() -> None:
    for check, rows in BAD.items():
        for text, message in rows.items():
            assert any(message in found for found in check(text)), (check, text, check(text))


def test_the_sentence_is_kubernetes_own() -> None:
    assert names.label("A") == (
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must "
        "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for "
        "validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
    )
    assert names.port(0) == ("must be between 1 and 65535, inclusive",)


# --- addresses ---


def test_addresses() -> None:
    assert addresses.family("10.0.0.1") == "IPv4"
    assert addresses.family("2001:db8::1") == "IPv6"
    assert addresses.family("10.0.0.0/8") == "IPv4"
    for text in ("", "10.0.0", "010.0.0.1", "10.0.0.256", "fe80::1%eth0", "10.0.0.1/8", "x"):
        assert addresses.parse(text) is None, text
    for text in ("10.0.0.1", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "10.0.0.0/255.0.0.0", "/8"):
        assert addresses.parse_cidr(text) is None, text
    assert str(addresses.parse_cidr("10.1.2.3/8")) == "10.0.0.0/8"


@pytest.mark.parametrize(
    ("text", "why"),
    [("0.0.0.0", "unspecified"), ("127.1.2.3", "loopback"), ("::1", "loopback"),
     ("169.254.1.1", "link-local"),
     ("fe80::1", "link-local"), ("224.0.0.5", "link-local multicast"), ("ff02::1", "link-local multicast"),
     ("x", "valid IP address")],
)  # fmt: skip
def test_addresses_no_endpoint_may_have(text: str, why: str) -> None:
    assert any(why in found for found in addresses.not_special(text))
    assert addresses.not_special("10.0.0.1") == ()
