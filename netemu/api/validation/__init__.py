"""Validation: `check(kind, new, old)` finds what is wrong, with field paths and Kubernetes' sentences."""

from netemu.api.validation.findings import FieldError
from netemu.api.validation.rules import check

__all__ = ["FieldError", "check"]
