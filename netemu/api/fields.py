"""The vocabulary in which kinds are declared: records, and what is known of a field besides its type.

A field is written `name: A[type, F(number, ...)] = zero`. Its default is Go's zero value; `None` stands
where Go has a pointer. Decoding, defaults, validation, patches and protobuf are all read from these lines.
Knows no kind. The facts are those of the upstream API definitions (types.go of k8s.io/api)."""

from typing import Annotated as A
from typing import Any, dataclass_transform

import msgspec


@dataclass_transform(frozen_default=True)
class Record(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A value of the Kubernetes API. `gc=False`: values hold no cycles.

    A class's own `atomic`: server-side apply replaces such a record whole.
    A class's own `embedded`: its base's fields are flat in JSON, but in protobuf a message of that number.
    """


class F:
    """What is known of a field.

    number     its protobuf field number (0: it has none)
    required   OpenAPI calls it required; its zero value is written out
    keep       whether a zero value is written to JSON (Go: no `omitempty`); follows `required` unless given
    omitzero   an empty sub-record is left out (Go writes empty structs that are not pointers)
    merge      strategic merge: the key by which list items are matched
    strategy   strategic merge: "merge" (a set), "replace", "retainKeys", "merge,retainKeys"
    keys       server-side apply: the keys of a list that is a map
    unique     server-side apply: the list is a set
    atomic     server-side apply: the map is replaced whole (records that are say so themselves)
    default    the value written where the field is absent, if it does not depend on others
    """

    __slots__ = (
        "atomic",
        "default",
        "keep",
        "keys",
        "merge",
        "number",
        "omitzero",
        "required",
        "strategy",
        "unique",
    )

    def __init__(
        self,
        number: int,
        *,
        required: bool = False,
        keep: bool | None = None,
        omitzero: bool = False,
        merge: str = "",
        strategy: str = "",
        keys: tuple[str, ...] = (),
        unique: bool = False,
        atomic: bool = False,
        default: str | int | bool | None = None,
    ) -> None:
        self.number = number
        self.required = required
        self.keep = required if keep is None else keep
        self.omitzero = omitzero
        self.merge = merge
        self.strategy = strategy or ("merge" if merge else "")
        self.keys = keys
        self.unique = unique
        self.atomic = atomic
        self.default = default


class Enum:
    """The closed set of words a string field takes."""

    __slots__ = ("words",)

    def __init__(self, *words: str) -> None:
        self.words = words


class Scalar:
    """How a plain JSON value is written; the name is the one used in OpenAPI or by Go."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


Int32 = A[int, Scalar("int32")]
Int64 = A[int, Scalar("int64")]
Bytes = A[str, Scalar("byte")]  # base64
Time = A[str, Scalar("date-time")]  # RFC 3339, whole seconds
MicroTime = A[str, Scalar("micro-time")]  # RFC 3339, six digits
Duration = A[str, Scalar("duration")]  # Go: 1h2m3s
Quantity = A[str, Scalar("quantity")]
IntOrString = A[int | str, Scalar("int-or-string")]
Raw = A[Any, Scalar("raw")]  # any JSON
