"""YAML that remembers where everything was written."""

import pytest

from netemu.base import errors, yamls
from netemu.scenario import documents

TEXT = """\
# a comment
apiVersion: v1
kind: Service
metadata:
  name: web
spec:
  ports:
  - port: 80
    name: http
  - {port: 81,
     name: other}
---
# an empty document does not count
---
kind: Second
"""


def test_every_field_knows_its_line():
    first, second = yamls.parse(TEXT, "web.yaml")
    assert first.where(("metadata", "name")) == "web.yaml:5"
    assert first.where(documents.path_of("spec.ports[1].name")) == "web.yaml:11"
    assert second.where(("kind",)) == "web.yaml:15"


def test_a_field_that_is_not_written_is_where_its_parent_is():
    (first, _) = yamls.parse(TEXT, "web.yaml")
    assert first.where(("spec", "ports", 0, "protocol")) == "web.yaml:8"
    assert first.where(("nowhere",)) == "web.yaml:2"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", "bad.yaml:3: not valid YAML"),
        ("a: 1\n  b: 2\n", "bad.yaml:2: not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", "bad.yaml:3: 'a' is here twice (first on line 1)"),
        ("a: *nobody\n", "bad.yaml:1: not valid YAML"),
        ("a: \t- b\n\tc: d\n", "bad.yaml:"),
        (b"a: \xff\xfe\n", "bad.yaml: not valid YAML"),
    ],
)
def test_what_is_not_yaml_is_refused_with_its_line(text, complaint):
    with pytest.raises(errors.Rejected) as refused:
        yamls.parse(text, "bad.yaml")
    assert refused.value.message.startswith(complaint), refused.value.message
    assert "\n" not in refused.value.message


def test_a_python_object_is_not_made():
    with pytest.raises(errors.Rejected):
        yamls.parse("a: !!python/object/apply:os.system ['true']\n", "bad.yaml")


def test_dates_stay_text_as_in_kubernetes():
    (document,) = yamls.parse("day: 2026-01-02\nat: 2026-01-02T03:04:05Z\nport: 0o17\n", "f")
    assert document.value["day"] == "2026-01-02"
    assert document.value["at"] == "2026-01-02T03:04:05Z"


def test_a_directory_is_all_its_yaml_by_name(tmp_path):
    (tmp_path / "b.yml").write_text("kind: B\n")
    (tmp_path / "a.yaml").write_text("kind: A\n---\nkind: A2\n")
    (tmp_path / "notes.txt").write_text("not: this\n")
    assert [d.value["kind"] for d in documents.read(str(tmp_path))] == ["A", "A2", "B"]


def test_an_empty_directory_and_a_missing_file_are_refused(tmp_path):
    for path in (tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(errors.Rejected):
            documents.read(str(path))


@pytest.mark.parametrize(
    ("field", "path"),
    [
        ("spec.ports[0].name", ("spec", "ports", 0, "name")),
        ("metadata.labels[app.kubernetes.io/name]", ("metadata", "labels", "app.kubernetes.io/name")),
        ("spec", ("spec",)),
        ("", ()),
    ],
)
def test_field_paths(field, path):
    assert documents.path_of(field) == path
