"""Moments as RFC 3339 texts and back. Pure: knows no clock."""

from datetime import UTC, datetime


def rfc3339(unix_seconds: float) -> str:
    """Kubernetes' metav1.Time: whole seconds, UTC, `2026-01-02T03:04:05Z`."""
    return datetime.fromtimestamp(int(unix_seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_micro(unix_seconds: float) -> str:
    """Kubernetes' metav1.MicroTime: always six digits, `2026-01-02T03:04:05.000006Z`."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_rfc3339(text: str) -> float:
    """Unix seconds of a time with any zone and any number of fraction digits. ValueError when it is none."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time {text!r} has no zone")
    return moment.timestamp()
