"""Events in their older form."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.references import ObjectReference
from netemu.api.fields import F, Int32, MicroTime, Record, Time
from netemu.api.meta import Object


class EventSource(Record):
    component: A[str, F(1)] = ""
    host: A[str, F(2)] = ""


class EventSeries(Record):
    count: A[Int32, F(1)] = 0
    lastObservedTime: A[MicroTime, F(2)] = ""


class Event(Object):
    apiVersion: ClassVar[str] = "v1"
    kind: ClassVar[str] = "Event"
    involvedObject: A[ObjectReference, F(2, required=True)] = ObjectReference()
    reason: A[str, F(3)] = ""
    message: A[str, F(4)] = ""
    source: A[EventSource, F(5)] = EventSource()
    firstTimestamp: A[Time, F(6)] = ""
    lastTimestamp: A[Time, F(7)] = ""
    count: A[Int32, F(8)] = 0
    type: A[str, F(9)] = ""
    eventTime: A[MicroTime, F(10)] = ""
    series: A[EventSeries | None, F(11)] = None
    action: A[str, F(12)] = ""
    related: A[ObjectReference | None, F(13)] = None
    reportingComponent: A[str, F(14, keep=True)] = ""
    reportingInstance: A[str, F(15, keep=True)] = ""
