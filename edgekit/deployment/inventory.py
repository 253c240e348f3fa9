"""The inventory of a fleet: which boards there are, in groups, and what each has to meet.

[defaults]                       # of every group; all optional
python = "python3"               # the boards' own Python
require_signature = true         # refuse bundles that the board's trusted list does not cover
max_p90_ms = 40.0                # refuse to serve above it

[groups.kitchen]
hosts = ["ssh://pi@kitchen-1.local", "ssh://pi@kitchen-2.local:2222"]
max_p90_ms = 25.0                # a group's own word goes before the defaults'
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from edgekit.devices.ssh_link.address import Address, parse_address
from edgekit.errors import BadInventory, BadTarget, did_you_mean
from edgekit.toml_files import read_toml


@dataclass(frozen=True, kw_only=True)
class Host:
    """One board, the group it belongs to, and what holds for it.

    `target` is the profile it is measured as. `max_p90_ms` None: no limit but the bundle's.
    """

    address: Address
    group: str = ""
    python: str = "python3"
    target: str | None = None
    max_p90_ms: float | None = None
    require_signature: bool = False


@dataclass(frozen=True, kw_only=True)
class _Settings:
    python: str | None = None
    target: str | None = None
    max_p90_ms: float | None = None
    require_signature: bool | None = None


@dataclass(frozen=True, kw_only=True)
class _Group(_Settings):
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Inventory:
    groups: dict[str, _Group]
    defaults: _Settings = _Settings()


def read_inventory(path: Path, groups: Sequence[str] = ()) -> list[Host]:
    """Return the boards of `groups` (all where none is named), in the file's order.

    Raises BadInventory in one line: an unknown field or group, a wrong address, a board twice.
    """
    remedy = "an inventory needs [groups.NAME] with hosts"
    inventory = read_toml(path, _Inventory, error=BadInventory, remedy=remedy)
    for name in groups:
        if name not in inventory.groups:
            raise BadInventory(did_you_mean("group", name, list(inventory.groups)))
    hosts = [
        _host(path, name, address, group, inventory.defaults)
        for name, group in inventory.groups.items()
        for address in group.hosts
        if name in groups or not groups
    ]
    addresses = [host.address for host in hosts]
    twice = next((address for address in addresses if addresses.count(address) > 1), None)
    if twice:
        raise BadInventory(f"{path}: {twice} is there twice: name every board once")
    if not hosts:
        raise BadInventory(f"{path} names no board: give a group hosts")
    return hosts


def _host(path: Path, name: str, text: str, group: _Group, defaults: _Settings) -> Host:
    try:
        address = parse_address(text)
    except BadTarget as error:
        raise BadInventory(f"{path}, group {name}: {error}") from None
    words = {
        field.name: getattr(settings, field.name)
        for settings in (defaults, group)
        for field in fields(_Settings)
        if getattr(settings, field.name) is not None
    }
    limit = words.get("max_p90_ms", 1.0)
    if not 0 < limit < float("inf"):
        raise BadInventory(f"{path}, group {name}: max_p90_ms is {limit}: give one above 0")
    return Host(address=address, group=name, **words)
