"""Values of nft as the documents they are. Expected texts follow nft(8)."""

import pytest

from netemu.wire import nft

TABLE = nft.Table("ip", "t")


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (nft.Add(TABLE), "add table ip t"),
        (nft.Add(nft.Table("ip6", "t", "why")), 'add table ip6 t { comment "why" ; }'),
        (nft.Delete(nft.Table("ip", "t", "why")), "delete table ip t"),
        (nft.Add(nft.Chain("c")), "add chain ip t c"),
        (
            nft.Add(nft.Chain("c", nft.Hook("nat", "prerouting", -100))),
            "add chain ip t c { type nat hook prerouting priority -100 ; policy accept ; }",
        ),
        (nft.Delete(nft.Chain("c", nft.Hook("nat", "prerouting", -100))), "delete chain ip t c"),
        (nft.Flush(nft.Chain("c")), "flush chain ip t c"),
        (
            nft.Add(nft.Set("s", "type ipv4_addr", flags=("interval",))),
            "add set ip t s { type ipv4_addr ; flags interval ; }",
        ),
        (
            nft.Add(nft.Set("s", "type mark", ("dynamic", "timeout"), 9, "3h", "who")),
            'add set ip t s { type mark ; flags dynamic,timeout ; timeout 3h ; size 9 ; comment "who" ; }',
        ),
        (
            nft.Add(nft.Map("m", "type ipv4_addr . inet_service", to="mark")),
            "add map ip t m { type ipv4_addr . inet_service : mark ; }",
        ),
        (nft.Flush(nft.Map("m", "type mark")), "flush map ip t m"),
        (nft.Add(nft.Rule("c", "ip daddr 1.2.3.4 drop")), "add rule ip t c ip daddr 1.2.3.4 drop"),
        (nft.Add(nft.Rule("c", "drop", 'the "odd" one')), "add rule ip t c drop comment \"the 'odd' one\""),
        (nft.Add(nft.Element("s", "1.2.3.4")), "add element ip t s { 1.2.3.4 }"),
        (
            nft.Add(nft.Element("m", nft.key("1.2.3.4", "tcp", 80), "0x1", "ns/web")),
            'add element ip t m { 1.2.3.4 . tcp . 80 comment "ns/web" : 0x1 }',
        ),
        (nft.Delete(nft.Element("m", "1.2.3.4", "0x1", "ns/web")), "delete element ip t m { 1.2.3.4 }"),
    ],
)
def test_a_command_is_one_line(command, line):
    table = command.thing if isinstance(command.thing, nft.Table) else TABLE
    assert str(nft.Transaction(table, (command,))) == line + "\n"


def test_elements_of_one_set_share_a_line_as_long_as_nothing_comes_between():
    one, two, other = nft.Element("s", "1"), nft.Element("s", "2"), nft.Element("z", "1")
    commands = (nft.Delete(one), nft.Delete(two), nft.Add(one), nft.Add(two), nft.Add(other), nft.Add(one))
    assert str(nft.Transaction(TABLE, commands)).splitlines() == [
        "delete element ip t s { 1, 2 }",
        "add element ip t s { 1, 2 }",
        "add element ip t z { 1 }",
        "add element ip t s { 1 }",
    ]


def test_a_replacement_works_whether_the_table_was_there_or_not():
    document = str(nft.replacement(nft.Table("ip", "t", "new"), [nft.Chain("c")]))
    assert document.splitlines() == [
        "add table ip t",
        "delete table ip t",
        'add table ip t { comment "new" ; }',
        "add chain ip t c",
    ]


def test_a_comment_fits_into_what_the_kernel_keeps():
    text = nft.quoted("ü" * 100)
    assert text == f'comment "{"ü" * 63}"'  # 126 bytes: a letter is never cut in two


def test_an_empty_transaction_is_false_and_empty():
    assert not nft.Transaction(TABLE)
    assert str(nft.Transaction(TABLE)) == ""
