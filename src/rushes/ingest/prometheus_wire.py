"""Prometheus' remote write messages, 1.0 and 2.0, as far as ingest reads them; numbers are those of the protocol."""

from __future__ import annotations

from typing import Final

from rushes.ingest.wire import Wire

__all__ = ["PROMETHEUS"]

_HISTOGRAM: Final = """
    optional uint64 count_int 1
    optional double count_float 2
    double sum 3
    sint32 schema 4
    double zero_threshold 5
    optional uint64 zero_count_int 6
    optional double zero_count_float 7
    repeated BucketSpan negative_spans 8
    repeated sint64 negative_deltas 9
    repeated double negative_counts 10
    repeated BucketSpan positive_spans 11
    repeated sint64 positive_deltas 12
    repeated double positive_counts 13
    int32 reset_hint 14
    int64 timestamp 15
    repeated double custom_values 16
    int64 start_timestamp 17"""

PROMETHEUS: Final = Wire(
    "rushes.prometheus",
    {
        # 1.0: prometheus.WriteRequest
        "WriteRequest": """
            repeated bytes timeseries 1
            repeated bytes metadata 3""",
        "TimeSeries": """
            repeated bytes labels 1
            repeated Sample samples 2
            repeated bytes exemplars 3
            repeated bytes histograms 4""",
        "Label": """
            string name 1
            string value 2""",
        "Exemplar": """
            repeated Label labels 1
            double value 2
            int64 timestamp 3""",
        "Description": """
            int32 type 1
            string metric 2
            string help 4
            string unit 5""",
        # 2.0: io.prometheus.write.v2.Request
        "Request": """
            repeated string symbols 4
            repeated bytes timeseries 5""",
        "ReferringSeries": """
            repeated uint32 labels 1
            repeated Sample samples 2
            repeated bytes histograms 3
            repeated bytes exemplars 4
            ReferringDescription metadata 5
            int64 created 6""",
        "ReferringExemplar": """
            repeated uint32 labels 1
            double value 2
            int64 timestamp 3""",
        "ReferringDescription": """
            int32 type 1
            uint32 help 3
            uint32 unit 4""",
        # Both
        "Sample": """
            double value 1
            int64 timestamp 2
            int64 start_timestamp 3""",
        "Histogram": _HISTOGRAM,
        "BucketSpan": """
            sint32 offset 1
            uint32 length 2""",
    },
)
