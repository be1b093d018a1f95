"""What ``_attrs_=true`` answers: every value is text, as the SDKs expect."""

from __future__ import annotations

from easel_gateway.eas.durations import format_duration
from easel_gateway.eas.target import GID_HEADER, PRIORITY_HEADER, UID_HEADER
from easel_queue import Attributes, Group, Watcher


def render_attributes(
    attributes: Attributes, *, name: str, max_length: int, max_bytes: int, max_payload_bytes: int
) -> dict[str, str]:
    """The flat map of one queue; a limit of 0 is none. Go's client refuses to work without the
    ``meta.header`` entries; the number of consumers has two names, the documentation's and the Go SDK's."""
    count = str(len(attributes.watchers))
    rendered = {
        "meta.backend": "redis",
        "meta.name": name,
        "meta.state": "Ended" if attributes.marker else "Normal",
        "meta.maxPayloadBytes": str(max_payload_bytes),
        "meta.header.user": UID_HEADER,
        "meta.header.group": GID_HEADER,
        "meta.header.priority": PRIORITY_HEADER,
        "meta.header.userIdentifyHeader": UID_HEADER,
        "meta.header.groupIdentifyHeader": GID_HEADER,
        "stream.length": str(attributes.length),
        "stream.approxMaxLength": str(max_length),
        "stream.bytes": str(attributes.bytes),
        "stream.approxMaxBytes": str(max_bytes),
        "stream.firstEntry": str(attributes.first),
        "stream.lastEntry": str(attributes.last),
        "stream.waiting": str(attributes.waiting),
        "stream.leased": str(attributes.leased),
        "consumers.stats.total": count,
        "consumers.status.total": count,
    }
    for position, watcher in enumerate(attributes.watchers):
        rendered[f"consumers.list.[{position}]"] = _watcher_line(watcher)
    for position, group in enumerate(attributes.groups):
        rendered[f"groups.list.[{position}]"] = _group_line(group)
    return rendered


def _watcher_line(watcher: Watcher) -> str:
    """Window and slots are 0 for who has none: an auto-committing watcher, and one that gets nothing more."""
    window = 0 if watcher.auto_commit else watcher.window
    slots = max(window - watcher.pending, 0) if watcher.state == "Running" else 0
    values = {
        "Id": f"{watcher.group}.{watcher.uid}",
        "Index": watcher.start,
        "Pending": watcher.pending,
        "Status": watcher.state,
        "Idle": format_duration(watcher.idle_ms),
        "Window": window,
        "Slots": slots,
        "AutoCommit": "true" if watcher.auto_commit else "false",
    }
    if watcher.tags:
        pairs = " ".join(f"{name}={value}" for name, value in sorted(watcher.tags.items()))
        values["Tags"] = f"tags[{pairs}]"
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def _group_line(group: Group) -> str:
    return f"Id: {group.name}, Todo: {group.todo}, Pending: {group.pending}, Aside: {group.aside}"
