"""Every documented attribute, in both encodings."""

from __future__ import annotations

import re

from easel_gateway.eas.codecs import PROTOBUF_TYPE

from .conftest import RunningGateway
from .eas_clients import watching

DOCUMENTED = {
    "meta.backend",
    "meta.name",
    "meta.state",
    "meta.maxPayloadBytes",
    "meta.header.user",
    "meta.header.group",
    "meta.header.priority",
    "meta.header.userIdentifyHeader",
    "meta.header.groupIdentifyHeader",
    "stream.length",
    "stream.approxMaxLength",
    "stream.firstEntry",
    "stream.lastEntry",
    "consumers.list.[0]",
    "consumers.list.[1]",
    "consumers.stats.total",
    "consumers.status.total",
    "groups.list.[0]",
}
LINE = re.compile(
    r"Id: (?P<id>\S+), Index: (?P<index>\d+), Pending: (?P<pending>\d+), Status: (?P<status>\w+), "
    r"Idle: (?P<idle>[0-9.hms]+), Window: (?P<window>\d+), Slots: (?P<slots>\d+), "
    r"AutoCommit: (?P<auto>true|false)(?:, Tags: tags\[(?P<tags>.*)\])?"
)


def lengthened(text: str) -> bytes:
    """A protobuf string of less than 16 KiB without its tag: varint length and bytes."""
    data = text.encode()
    size = len(data)
    return (bytes([size]) if size < 128 else bytes([size & 127 | 128, size >> 7])) + data


async def test_every_key_is_there_in_json_and_protobuf(gateway: RunningGateway) -> None:
    await gateway.put_result("1", colour="red", size="9")
    query = {"size": "9", "colour": "red"}
    async with (
        watching(gateway, uid="a", _window_="4", **query) as manual,
        watching(gateway, uid="b", _window_="7", _auto_commit_="true", _index_="-1", **query),
    ):
        await manual.indexes(1)
        attributes = await gateway.attributes(gateway.sink)
        assert attributes.keys() >= DOCUMENTED
        assert all(isinstance(value, str) for value in attributes.values())
        lines = [LINE.fullmatch(attributes[f"consumers.list.[{number}]"]) for number in (0, 1)]
        found = {line["id"]: line.groupdict() for line in lines if line}
        assert (
            found["eas.a"].items()
            >= {
                "index": "0",
                "pending": "1",
                "status": "Running",
                "window": "4",
                "slots": "3",
                "auto": "false",
                "tags": "colour=red size=9",
            }.items()
        )
        assert found["eas.b"].items() >= {"window": "0", "slots": "0", "auto": "true"}.items()
        assert attributes["consumers.stats.total"] == "2"
        assert attributes["groups.list.[0]"] == "Id: eas, Todo: 0, Pending: 1, Aside: 0"

        headers = {"Accept": PROTOBUF_TYPE}
        params = {"_attrs_": "true"}
        binary = (await gateway.client.get(gateway.sink, params=params, headers=headers)).content
    for name in DOCUMENTED:
        assert b"\x0a" + lengthened(name) in binary, name
        if not name.startswith("consumers.list"):  # these tell how long they have been idle
            entry = b"\x0a" + lengthened(name) + b"\x12" + lengthened(attributes[name])
            assert entry in binary, name
