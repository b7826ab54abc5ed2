#!/usr/bin/env python3
# Writes the files of this folder: flow logs as AWS describes their columns and types
# (https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html), the same rows in each, and those rows as text in rows.log.
# Made with pyarrow 26.0.1:
#   python3 -m venv venv && venv/bin/pip install pyarrow==26.0.1 && venv/bin/python make.py
import os
import pyarrow as pa
import pyarrow.parquet as pq

here = os.path.dirname(os.path.abspath(__file__))
i32, i64, text = pa.int32(), pa.int64(), pa.string()
fields = [
    ("version", i32), ("account_id", text), ("interface_id", text), ("srcaddr", text), ("dstaddr", text), ("srcport", i32), ("dstport", i32),
    ("protocol", i32), ("packets", i64), ("bytes", i64), ("start", i64), ("end", i64), ("action", text), ("log_status", text),
    ("pkt_srcaddr", text), ("pkt_dstaddr", text), ("tcp_flags", i32),
]
start = 1795309200  # 2026-11-22T01:00:00Z
rows = []
for i in range(300):
    at = start + 20 * i
    eni = ("eni-00000001", "eni-0000000a")[i % 2]
    if i % 50 == 48:
        status = "NODATA" if i < 200 else "SKIPDATA"
        rows.append([2, "111122223333", eni] + [None] * 7 + [at, at + 60, None, status, None, None, None])
        continue
    peer = f"198.51.100.{i % 7}" if i % 3 else f"2001:db8::{i % 5:x}"
    mine = "10.0.0.1" if i % 3 else "2001:db8:1::1"
    a, b = (peer, mine) if i % 4 else (mine, peer)
    ports = (50000 + i, 22) if i % 4 else (22, 50000 + i)
    rows.append([2, "111122223333", eni, a, b, *ports, 6, 10 + i % 9, (1 << 33) + i if i == 100 else 100 * i, at, at + 60,
                 "REJECT" if i % 10 == 9 else "ACCEPT", "OK", a, b, 19])

with open(os.path.join(here, "rows.log"), "w") as f:
    f.write(" ".join(name.replace("_", "-") for name, _ in fields) + "\n")
    for r in rows:
        f.write(" ".join("-" if v is None else str(v) for v in r) + "\n")

table = pa.table([pa.array([r[k] for r in rows], t) for k, (_, t) in enumerate(fields)], schema=pa.schema([pa.field(n, t) for n, t in fields]))


def write(name, **how):
    pq.write_table(table, os.path.join(here, name + ".parquet"), store_schema=False, **how)


write("gzip", compression="gzip")
write("snappy", compression="snappy", use_dictionary=False, row_group_size=120, data_page_size=500, write_batch_size=50)
write("none", compression="none", row_group_size=70, write_page_checksum=True)
write("zstd2", compression="zstd", data_page_version="2.0", write_page_checksum=True, data_page_size=800, write_batch_size=60)
delta = {n: "DELTA_BYTE_ARRAY" if n.endswith("addr") else "DELTA_LENGTH_BYTE_ARRAY" if t == text else "DELTA_BINARY_PACKED" for n, t in fields}
write("delta", compression="gzip", data_page_version="2.0", use_dictionary=False, column_encoding=delta, data_page_size=900, write_batch_size=100)

# Columns that are in lists and groups, some of which are never null; codecs and types that are not read.
need = [pa.field("list", pa.list_(i32)), pa.field("group", pa.struct([("a", text), ("b", pa.struct([("c", i64)]))])), pa.field("srcaddr", text, nullable=False),
        pa.field("number", i64, nullable=False), pa.field("real", pa.float64())]
odd = pa.table([pa.array([[1, 2], []], need[0].type), pa.array([{"a": "x", "b": {"c": 1}}] * 2, need[1].type), pa.array(["10.0.0.1", "10.0.0.2"], text),
                pa.array([-5, 1 << 40], i64), pa.array([0.5, 1.5])], schema=pa.schema(need))
pq.write_table(odd, os.path.join(here, "odd.parquet"), store_schema=False, compression={"srcaddr": "snappy", "number": "brotli"})
