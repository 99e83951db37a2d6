"""Named tuples made in microseconds: what collections.namedtuple gives, without compiling source for each.

A program that lives twenty milliseconds and has fifteen of them saves three. A type checker is shown the
original.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections import namedtuple as record
else:
    from _collections import _tuplegetter

    def record(name: str, fields: str, *, defaults: tuple = ()) -> type:
        """A tuple type with these fields (words in a string); `defaults` belong to the last ones."""
        names = tuple(fields.split())
        given = dict(zip(names[len(names) - len(defaults) :], defaults, strict=True))

        def new(cls: type, *values: object, **named: object) -> tuple:
            if named or len(values) != len(names):
                rest = names[len(values) :]
                wrong = named.keys() - set(rest) or [n for n in rest if n not in named and n not in given]
                if wrong or len(values) > len(names):
                    raise TypeError(f"{name} has fields {', '.join(names)}")
                values += tuple(named[n] if n in named else given[n] for n in rest)
            return tuple.__new__(cls, values)

        def replace(self: tuple, **named: object) -> tuple:
            return type(self)(**dict(zip(names, self, strict=True), **named))

        def show(self: tuple) -> str:
            return f"{name}({', '.join(f'{n}={v!r}' for n, v in zip(names, self, strict=True))})"

        body = {n: _tuplegetter(i, n) for i, n in enumerate(names)}
        body |= {"__slots__": (), "_fields": names, "__new__": new, "_replace": replace, "__repr__": show}
        return type(name, (tuple,), body)
