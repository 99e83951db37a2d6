"""Tables: the columns and cells by which `kubectl get` shows each kind."""

from netemu.api.tables.printing import cells, columns

__all__ = ["cells", "columns"]
