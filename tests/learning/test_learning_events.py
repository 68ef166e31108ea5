"""Event files, read back by what their format says."""

from __future__ import annotations

import json
import struct
import time
from pathlib import Path

from hyperagent.learning import events


def crc32c(data: bytes) -> int:
    """Bit by bit, in place of a table."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 * (crc & 1))
    return crc ^ 0xFFFFFFFF


def masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17 & 0xFFFFFFFF)) + 0xA282EAD8) & 0xFFFFFFFF


def records(path: Path) -> list[bytes]:
    data, found = path.read_bytes(), []
    while data:
        (length,), (check,) = struct.unpack("<Q", data[:8]), struct.unpack("<I", data[8:12])
        assert check == masked(data[:8])
        event = data[12 : 12 + length]
        assert struct.unpack("<I", data[12 + length : 16 + length])[0] == masked(event)
        found.append(event)
        data = data[16 + length :]
    return found


def fields(message: bytes) -> dict[int, bytes | int]:
    """Fields of a protocol buffer, by number."""
    found: dict[int, bytes | int] = {}

    def varint() -> int:
        nonlocal message
        value = shift = 0
        while True:
            byte, message = message[0], message[1:]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while message:
        key = varint()
        size = {1: 8, 5: 4}.get(key & 7)
        if key & 7 == 0:
            found[key >> 3] = varint()
            continue
        size = varint() if size is None else size
        found[key >> 3], message = message[:size], message[size:]
    return found


def test_the_reader_of_this_test_is_right() -> None:
    assert crc32c(b"123456789") == 0xE3069283


def test_scalars_come_back(tmp_path: Path) -> None:
    file = events.EventFile(tmp_path / "t")
    file.add("loss", 0, 0.5)
    file.add("a/" + "x" * 200, 300_000, -1e-3)
    file.close()
    (path,) = (tmp_path / "t").iterdir()
    assert "tfevents" in path.name
    first, *rest = [fields(event) for event in records(path)]
    assert first[3] == b"brain.Event:2"
    assert abs(struct.unpack("<d", first[1])[0] - time.time()) < 60
    found = []
    for event in rest:
        value = fields(fields(event[5])[1])
        found.append((value[1].decode(), event[2], struct.unpack("<f", value[2])[0]))
    assert found == [
        ("loss", 0, 0.5),
        ("a/" + "x" * 200, 300_000, struct.unpack("<f", struct.pack("<f", -1e-3))[0]),
    ]


def test_the_log_is_written_anew_at_each_start(tmp_path: Path) -> None:
    for _ in range(2):
        log = events.ScalarLog(tmp_path)
        log.add("race", 3, {"correct": 1, "tokens": 1 / 3})
        log.close()
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"stage": "race", "step": 3, "correct": 1.0, "tokens": 0.333333333}
    ]
    (path,) = (tmp_path / "tensorboard").iterdir()
    assert len(records(path)) == 3
