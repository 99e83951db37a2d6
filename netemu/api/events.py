"""Events in their newer form."""

from typing import Annotated as A
from typing import ClassVar

from netemu.api.core.events import EventSource
from netemu.api.core.references import ObjectReference
from netemu.api.fields import F, Int32, MicroTime, Record, Time
from netemu.api.meta import Object


class EventSeries(Record):
    count: A[Int32, F(1, required=True)] = 0
    lastObservedTime: A[MicroTime, F(2, required=True)] = ""


class Event(Object):
    apiVersion: ClassVar[str] = "events.k8s.io/v1"
    kind: ClassVar[str] = "Event"
    eventTime: A[MicroTime, F(2, required=True)] = ""
    series: A[EventSeries | None, F(3)] = None
    reportingController: A[str, F(4)] = ""
    reportingInstance: A[str, F(5)] = ""
    action: A[str, F(6)] = ""
    reason: A[str, F(7)] = ""
    regarding: A[ObjectReference, F(8)] = ObjectReference()
    related: A[ObjectReference | None, F(9)] = None
    note: A[str, F(10)] = ""
    type: A[str, F(11)] = ""
    deprecatedSource: A[EventSource, F(12)] = EventSource()
    deprecatedFirstTimestamp: A[Time, F(13)] = ""
    deprecatedLastTimestamp: A[Time, F(14)] = ""
    deprecatedCount: A[Int32, F(15)] = 0
