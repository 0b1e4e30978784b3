"""OTLP's messages as far as ingest reads them; field numbers are those of opentelemetry-proto 1.x."""

from __future__ import annotations

from typing import Final

from rushes.ingest.wire import Wire

__all__ = ["OTLP"]

OTLP: Final = Wire(
    "rushes.otlp",
    {
        "TracesRequest": "repeated TracesOfResource of_resources 1",
        "TracesOfResource": """
            bytes resource 1
            repeated TracesOfScope of_scopes 2
            string schema_url 3""",
        "TracesOfScope": """
            Scope scope 1
            repeated bytes items 2
            string schema_url 3""",
        "LogsRequest": "repeated LogsOfResource of_resources 1",
        "LogsOfResource": """
            bytes resource 1
            repeated LogsOfScope of_scopes 2
            string schema_url 3""",
        "LogsOfScope": """
            Scope scope 1
            repeated bytes items 2
            string schema_url 3""",
        "MetricsRequest": "repeated MetricsOfResource of_resources 1",
        "MetricsOfResource": """
            bytes resource 1
            repeated MetricsOfScope of_scopes 2""",
        "MetricsOfScope": "repeated bytes items 2",
        "Scope": """
            string name 1
            string version 2
            repeated bytes attributes 3
            uint32 dropped 4""",
        "KeyValue": """
            string key 1
            AnyValue value 2""",
        # Values within values (5, 6) stay bytes: they are rare, and recursive.
        "AnyValue": """
            optional string text 1
            optional bool bool 2
            optional int64 int 3
            optional double double 4
            optional bytes array 5
            optional bytes pairs 6
            optional bytes bytes 7""",
        "Status": """
            string message 2
            int32 code 3""",
        "Span": """
            bytes trace_id 1
            bytes span_id 2
            string trace_state 3
            bytes parent_span_id 4
            string name 5
            int32 kind 6
            fixed64 start 7
            fixed64 end 8
            repeated bytes attributes 9
            uint32 dropped_attributes 10
            repeated bytes events 11
            uint32 dropped_events 12
            repeated bytes links 13
            uint32 dropped_links 14
            Status status 15
            fixed32 flags 16""",
        "LogRecord": """
            fixed64 time 1
            int32 severity_number 2
            string severity_text 3
            AnyValue body 5
            repeated bytes attributes 6
            uint32 dropped_attributes 7
            fixed32 flags 8
            bytes trace_id 9
            bytes span_id 10
            fixed64 observed 11
            string event_name 12""",
        "Metric": """
            string name 1
            string description 2
            string unit 3
            Points gauge 5
            Points sum 7
            Points histogram 9
            Points exponential 10
            Points summary 11""",
        "Points": """
            repeated bytes items 1
            int32 temporality 2
            bool monotonic 3""",
        "NumberPoint": """
            fixed64 start 2
            fixed64 time 3
            optional double double 4
            repeated bytes exemplars 5
            optional sfixed64 int 6
            repeated bytes attributes 7
            uint32 flags 8""",
        "HistogramPoint": """
            fixed64 start 2
            fixed64 time 3
            fixed64 count 4
            optional double sum 5
            repeated fixed64 counts 6
            repeated double bounds 7
            repeated bytes exemplars 8
            repeated bytes attributes 9
            uint32 flags 10""",
    },
)
