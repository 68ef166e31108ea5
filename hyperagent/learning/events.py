"""Scalars that TensorBoard reads, written without it.

A TFRecord is a length, the masked CRC-32C of the length, the data, and the masked CRC-32C of the
data. The data is a protocol buffer ``Event`` with ``wall_time`` (field 1, double), ``step`` (2,
int64), ``file_version`` (3, string) and ``summary`` (5), whose ``value`` (1) has a ``tag`` (1) and
a ``simple_value`` (2, float).
"""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Mapping
from pathlib import Path


def _table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _table()


def _masked(data: bytes) -> bytes:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


class EventFile:
    """An event file for TensorBoard; one that is there is replaced.

    Parameters
    ----------
    folder : Path
        Made if needed.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = (folder / "events.out.tfevents.0.hyperagent").open("wb")
        self._write(_field(3, b"brain.Event:2"))

    def add(self, tag: str, step: int, value: float) -> None:
        """Write one scalar."""
        scalar = _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
        self._write(b"\x10" + _varint(step) + _field(5, _field(1, scalar)))

    def _write(self, event: bytes) -> None:
        event = b"\x09" + struct.pack("<d", time.time()) + event
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class ScalarLog:
    """Figures of a run as JSON lines and for TensorBoard, written anew at each start.

    A resumed run goes through its known outcomes again, so nothing is lost.

    Parameters
    ----------
    folder : Path
        ``log.jsonl`` and ``tensorboard/`` are written in it.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = (folder / "log.jsonl").open("w", encoding="utf-8")
        self._events = EventFile(folder / "tensorboard")

    def add(self, stage: str, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of one step."""
        rounded = {name: float(f"{value:.9g}") for name, value in figures.items()}
        print(json.dumps({"stage": stage, "step": step, **rounded}), file=self._lines, flush=True)
        for name, value in rounded.items():
            self._events.add(f"{stage}/{name}", step, value)

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        self._events.close()
