"""A stub resolver's rules, row by row from resolv.conf(5) and what Kubernetes writes there."""

import dnslib
import pytest

from netemu.probe import names, questions, spread

POD = """\
search shop.svc.cluster.local svc.cluster.local cluster.local
nameserver 10.96.0.10
nameserver fd00:96::a
options ndots:5 timeout:1
"""


def test_a_pods_resolv_conf():
    assert names.parse(POD) == names.ResolvConf(
        nameservers=("10.96.0.10", "fd00:96::a"),
        search=("shop.svc.cluster.local", "svc.cluster.local", "cluster.local"),
        ndots=5,
    )


def test_comments_late_search_and_a_fourth_server_do_not_count():
    text = "; c\nsearch a\nsearch b. # later wins\n" + "".join(
        f"nameserver {n}.1.1.1\n" for n in (1, 2, 3, 4)
    )
    assert names.parse(text) == names.ResolvConf(("1.1.1.1", "2.1.1.1", "3.1.1.1"), ("b",), 1)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("web", ("web.shop.svc.cluster.local", "web.svc.cluster.local", "web.cluster.local", "web")),
        ("a.b", ("a.b.shop.svc.cluster.local", "a.b.svc.cluster.local", "a.b.cluster.local", "a.b")),
        ("web.other.svc.cluster.local.", ("web.other.svc.cluster.local",)),
    ],
)
def test_the_search_path_comes_first_below_ndots(name, asked):
    assert names.candidates(name, names.parse(POD)) == asked


def test_a_name_with_ndots_dots_is_asked_for_as_given_first():
    assert names.candidates("a.b.c.d.e.f", names.parse(POD))[:2] == (
        "a.b.c.d.e.f",
        "a.b.c.d.e.f.shop.svc.cluster.local",
    )


def test_what_the_hosts_file_says_needs_no_query():
    text = "127.0.0.1\tlocalhost\n10.244.1.5\tdb-0.db.shop.svc db-0  # own\nfd00::5\tDB-0\n# 10.0.0.1 db-1\n"
    assert names.listed(text, "db-0", 4) == ("10.244.1.5",)
    assert names.listed(text, "Db-0.", 6) == ("fd00::5",)
    assert names.listed(text, "localhost", 6) == names.listed(text, "db-1", 4) == ()


def test_a_reply_to_something_else_is_no_reply():
    asked = names.query("web.shop.svc.cluster.local", 4)
    stranger = dnslib.DNSRecord.question("web.shop.svc.cluster.local").reply()
    stranger.header.id = dnslib.DNSRecord.parse(asked).header.id ^ 1
    assert names.reply(stranger.pack(), asked, 4) is None
    assert names.reply(b"garbage", asked, 4) is None


def test_a_reply_gives_the_addresses_of_the_asked_family_only():
    record = dnslib.DNSRecord.parse(names.query("web.shop", 6)).reply()
    record.add_answer(*dnslib.RR.fromZone("web.shop 5 IN AAAA fd00:96::1\nweb.shop 5 IN A 10.96.0.1"))
    asked = dnslib.DNSRecord.question("web.shop", "AAAA")
    asked.header.id = record.header.id
    assert names.reply(record.pack(), asked.pack(), 6) == names.Reply(
        ("fd00:96::1",), "NOERROR", False, "web.shop"
    )


@pytest.mark.parametrize("shares", [[1 / 2] * 2, [1 / 3] * 3, [1 / 10] * 10, [0.9, 0.1]])
@pytest.mark.parametrize("miss", [1e-6, 1e-9])
def test_enough_requests_leave_no_endpoint_unseen(shares, miss):
    needed = spread.requests_needed(shares, miss=miss)
    unseen = len(shares) * (1 - min(shares)) ** needed
    assert unseen <= miss < unseen / (1 - min(shares))


def test_one_endpoint_needs_one_request():
    assert spread.requests_needed([1.0]) == 1


def test_shares_that_are_not_known_are_taken_for_equal_ones():
    assert spread.requests_needed([1.0, 1.0]) == spread.requests_needed([0.5, 0.5])


def test_translation_is_a_difference_between_real_and_seen_address():
    ok = questions.Outcome.OK
    assert questions.Answer(ok, seen="10.0.0.1", local="10.0.0.2").translated
    assert not questions.Answer(ok, seen="10.0.0.2", local="10.0.0.2").translated
    assert not questions.Answer(ok, local="10.0.0.2").translated
