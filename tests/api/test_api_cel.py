"""CEL by its specification: what expressions mean, what they refuse, and that nothing breaks it."""

import contextlib
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netemu.api import re2
from netemu.api.cel import parsing, programs, values

SELF: dict[str, Any] = {
    "name": "web",
    "size": 5,
    "ratio": 0.5,
    "on": True,
    "none": None,
    "ports": [{"port": 80, "name": "http"}, {"port": 443, "name": "https"}],
    "words": ["a", "b", "c"],
    "labels": {"app": "web", "x-y": "z"},
    "if": 1,
    "a-b": 2,
    "a__b": 3,
    "raw": b"\x00\xff",
}
TRUE = """
1 + 2 * 3 == 7
(1 + 2) * 3 == 9
7 / 2 == 3 && -7 / 2 == -3 && -7 % 2 == -1
1.5 + 2.0 == 3.5 && 1 == 1.0 && 2u > 1
-9223372036854775808 < 0
0x10 == 16 && 5u + 3u == 8u
'a' + "b" == 'ab' && b'ab' == bytes('ab')
'tab\\tq\\'' == "tab\\u0009q'" && r'\\d' == '\\\\d' && '''x
y''' == 'x\\ny'
[1, 2] + [3] == [1, 2, 3] && [1, 2][1] == 2 && {'a': 1}['a'] == 1 && {'a': 1}.a == 1
'a' in self.labels == false && 'app' in self.labels && 2 in [1, 2.0]
true || 1 / 0 == 1
1 / 0 == 1 || true
!(false && 1 / 0 == 1)
self.size > 3 ? self.name == 'web' : false
has(self.name) && !has(self.missing) && has(self.labels.app) && has(self.none)
size(self.words) == 3 && self.words.size() == 3 && size('\\u00fc') == 1 && size({'a': 1}) == 1
self.ports.all(p, p.port > 0 && p.port < 65536)
self.ports.exists(p, p.name == 'http') && self.ports.exists_one(p, p.port == 80)
self.ports.map(p, p.port) == [80, 443] && self.ports.map(p, p.port > 100, p.name) == ['https']
self.ports.filter(p, p.port == 80).size() == 1 && self.labels.all(k, k != '')
self.ports.exists(p, p.missing == 1 || p.port == 80)
self.words.isSorted() && self.words.indexOf('b') == 1 && [1, 2, 3].sum() == 6 && [3, 1].min() == 1
'Hello'.lowerAscii() == 'hello' && ' x '.trim() == 'x' && 'a,b'.split(',') == ['a', 'b']
self.words.join('-') == 'a-b-c'
'hello'.substring(1, 3) == 'el' && 'hello'.replace('l', 'L') == 'heLLo' && 'hello'.charAt(1) == 'e'
'web-1'.matches('^[a-z]+-[0-9]+$') && 'abc 123'.find('[0-9]+') == '123' && 'web'.startsWith('w')
int('42') == 42 && string(42) == '42' && double('1.5') == 1.5 && uint(3) == 3u
int(2.9) == 2 && bool('true')
type(1) == int && type('a') == string && type([]) == list && type(1) != type(1.0) && type(null) == null_type
duration('1h30m') == duration('90m') && duration('90s') > duration('1m') && duration('1h').getMinutes() == 60
timestamp('2026-01-02T03:04:05Z') < timestamp('2026-01-02T03:04:05.5Z')
timestamp('2026-01-02T03:04:05Z') + duration('1h') == timestamp('2026-01-02T04:04:05Z')
timestamp('2026-01-02T03:04:05+02:00').getHours() == 1
timestamp('2026-01-02T00:00:00Z').getFullYear() == 2026
self.__if__ == 1 && self.a__dash__b == 2 && self.a__underscores__b == 3 && self.labels['x-y'] == 'z'
self.?missing.orValue('x') == 'x' && self.?name.hasValue() && self[?'name'].orValue('') == 'web'
optional.of(1).value() == 1 && !optional.none().hasValue() && self.?missing.?deep.orValue(3) == 3
self.?name.optMap(n, n + '!').orValue('') == 'web!' && [?self.?missing, ?optional.of(2)] == [2]
isIP('10.0.0.1') && !isIP('10.0.0.256') && ip('fd00::1').family() == 6 && ip.isCanonical('::1')
cidr('10.0.0.0/8').containsIP('10.1.2.3') && !cidr('10.0.0.0/8').containsIP(ip('11.0.0.1')) && isCIDR('::/0')
cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && cidr('10.1.2.3/8').prefixLength() == 8
url('https://example.com:80/p?q=1').getHostname() == 'example.com' && isURL('https://a/b') && !isURL('a b')
quantity('1Gi').isGreaterThan(quantity('500Mi'))
quantity('50k').add(quantity('20k')).compareTo(quantity('70k')) == 0
!format.dns1123Label().validate('web-1').hasValue()
format.dns1123Label().validate('Web').value().size() == 1
format.uuid().validate('no') != null && format.dns1123Label().validate('web') == null
sets.contains([1, 2, 3], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && !sets.intersects([1], [2])
[[1]].all(x, x.all(y, y == 1)) // a comment
"""
FAILS = [
    ("1 / 0 == 1", "division by zero"),
    ("1 % 0 == 1", "modulus by zero"),
    ("9223372036854775807 + 1 > 0", "integer overflow"),
    ("0u - 1u == 0u", "unsigned integer overflow"),
    ("1 + 1.0 == 2.0", "no such overload"),
    ("'a' + 1 == 'a1'", "no such overload"),
    ("'a' < 1", "no such overload"),
    ("self.missing == 1", "no such key: missing"),
    ("[1][5] == 1", "index out of bounds: 5"),
    ("!self.size", "no such overload"),
    ("int('x') == 1", "type conversion error"),
    ("'a'.matches('(')", "error parsing regexp"),
    ("optional.none().value() == 1", "dereference"),
    ("self.words.all(w, w == 1 / 0)", "division by zero"),
    ("false || 1 / 0 == 1", "division by zero"),
    (
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, "
        "[1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, a + b + c + d + e > 0)))))",
        "cost limit",
    ),
]
MALFORMED = [
    "", "1 +", "(1", "a b", "self..x", "self.", "'open", "nothing == 1", "self.size.nofunction()",
    "nofunction(1)", "[1, 2", "{1: }", "has(self)", "self.all(1, true)", "if == 1", "1 ? 2",
    "99999999999999999999", "'\\q'", "sets.nothing([1])", "(" * 3000 + "1" + ")" * 3000,
    "!" * 5000 + "true", "a" * 100,
]  # fmt: skip


@pytest.mark.parametrize("source", [line for line in TRUE.replace("\ny'''", "\0y'''").splitlines() if line])
def test_it_holds(source: str) -> None:
    source = source.replace("\0", "\n")
    assert programs.Program(source, ("self",)).evaluate({"self": SELF}) is True


@pytest.mark.parametrize(("source", "why"), FAILS)
def test_it_fails(source: str, why: str) -> None:
    program = programs.Program(source, ("self",))
    with pytest.raises(values.Failed, match=re.escape(why)):
        program.evaluate({"self": SELF})


@pytest.mark.parametrize("source", MALFORMED, ids=range(len(MALFORMED)))
def test_it_is_no_expression(source: str) -> None:
    with pytest.raises(parsing.Malformed):
        programs.Program(source, ("self",))


def test_variables_used_are_known() -> None:
    assert programs.Program("self.a == oldSelf.a", ("self", "oldSelf")).names == {"self", "oldSelf"}
    assert programs.Program("self.all(oldSelf, oldSelf > 0)", ("self",)).names == {"self"}


WORDS = """
self . size ( ) [ ] { } , : ? ! - + * / % < == && || in 1 2u 1.5 'a' b'x' true null has all x map duration
ports
name .? [? // matches '(' optional of timestamp ip cidr quantity size dyn type int
"""


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.sampled_from(WORDS.split()), max_size=14))
def test_no_words_break_it(words: list[str]) -> None:
    with contextlib.suppress(parsing.Malformed, values.Failed):
        programs.Program(" ".join(words), ("self", "x")).evaluate({"self": SELF, "x": 1})


PATTERNS = [  # RE2, what it finds, what it does not
    ("^[a-z]+$", ["abc"], ["abc\n", "ABC"]),
    (r"^abc\z", ["abc"], ["abc\n"]),
    ("^(?i)[a-z]+$", ["ABC"], ["1"]),
    ("^a(?i)b|c$", ["aB", "C"], ["AB"]),
    ("^(a(?i)b)c$", ["aBc"], ["aBC"]),
    ("^(?i:a)b$", ["Ab"], ["AB"]),
    ("(?m)^a$", ["x\na\ny"], ["xa"]),
    ("^[[:alpha:]_][[:alnum:]-]*$", ["_a-1"], ["1a"]),
    ("^[]a[]+$", ["]a["], ["b"]),
    (r"^\Qa.b\E+$", ["a.bb"], ["axb"]),
    (r"^(?<x>a)(?P<y>b)$", ["ab"], ["a"]),
    (r"^\x{41}\d$", ["A1"], ["A\u0661"]),
]


@pytest.mark.parametrize(("pattern", "found", "missed"), PATTERNS, ids=[row[0] for row in PATTERNS])
def test_patterns_are_gos(pattern: str, found: list[str], missed: list[str]) -> None:
    assert all(re2.compiled(pattern).search(text) for text in found)
    assert not any(re2.compiled(pattern).search(text) for text in missed)


@settings(max_examples=200, deadline=None)
@given(
    pattern=st.text(st.sampled_from("ab([{^$|*+?.\\zQEp:i<>P=-])}x0m "), max_size=12),
    text=st.text("ab(x\n", max_size=5),
)
def test_no_pattern_breaks_it(pattern: str, text: str) -> None:
    with contextlib.suppress(re.error):
        re2.compiled(pattern).search(text)
