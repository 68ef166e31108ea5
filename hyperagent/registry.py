"""Names to objects: ours listed in the package, other people's through entry points."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from hyperagent.errors import ConfigError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A kind of thing that can be asked for by name.

    Parameters
    ----------
    kind : str
        Singular noun for messages, e.g. ``"backend"``.
    builtin : mapping of str to str, optional
        ``name -> "module:attribute"``. Loaded on first use, so that listing the names
        imports nothing.
    group : str, optional
        Entry-point group in which installed packages may add members. A name of ours
        wins over a plug-in's.
    """

    def __init__(
        self, kind: str, builtin: Mapping[str, str] | None = None, group: str | None = None
    ) -> None:
        self.kind = kind
        self.group = group
        self._targets: dict[str, str] = dict(builtin or {})
        self._objects: dict[str, T] = {}
        self._plugins: dict[str, EntryPoint] | None = None

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds an object under `name`."""

        def add(obj: T) -> T:
            if name in self._objects or name in self._targets:
                raise ConfigError(f"{self.kind} {name!r} is already registered")
            self._objects[name] = obj
            return obj

        return add

    def names(self) -> list[str]:
        """All known names, sorted; loads nothing."""
        return sorted({*self._targets, *self._objects, *self.plugins()})

    def plugins(self) -> dict[str, EntryPoint]:
        """Entry points of installed packages that are not shadowed by a name of ours."""
        if self._plugins is None:
            found = entry_points(group=self.group) if self.group else ()
            self._plugins = {
                p.name: p
                for p in found
                if p.name not in self._targets and p.name not in self._objects
            }
        return self._plugins

    def get(self, name: str) -> T:
        """The object called `name`.

        Raises
        ------
        UnknownNameError
            If nothing has that name; the message gives the nearest one.
        ConfigError
            If the name belongs to a plug-in that cannot be imported.
        """
        if name in self._objects:
            return self._objects[name]
        if name in self._targets:
            module, _, attribute = self._targets[name].partition(":")
            self._objects[name] = getattr(import_module(module), attribute)
            return self._objects[name]
        plugin = self.plugins().get(name)
        if plugin is None:
            raise UnknownNameError(self.kind, name, self.names())
        try:
            self._objects[name] = plugin.load()
        # A plug-in is foreign code: whatever it raises must name the plug-in, not us.
        except Exception as error:
            raise ConfigError(
                f"{self.kind} plug-in {name!r} ({plugin.value}) cannot be loaded: "
                f"{type(error).__name__}: {error}"
            ) from error
        return self._objects[name]

    def check(self) -> dict[str, Any]:
        """Load every plug-in; a broken one warns and maps to its error."""
        state: dict[str, Any] = {}
        for name in self.plugins():
            try:
                state[name] = self.get(name)
            except ConfigError as error:
                warnings.warn(str(error), stacklevel=2)
                state[name] = error
        return state


def split_spec(spec: str, bare: Mapping[str, str] | None = None) -> tuple[str, dict[str, Any]]:
    """Read ``"name:key=value,key=value"``; numbers become int or float, the rest stays text.

    Parameters
    ----------
    spec : str
    bare : mapping of str to str, optional
        Name to the one key that its value may be written without: with ``{"learned": "path"}``,
        ``"learned:DIR"`` is ``"learned:path=DIR"``. All that follows the colon is the value.

    Raises
    ------
    ConfigError
        Naming the part that is not ``key=value``, or the key that stands twice.
    """
    name, _, text = spec.partition(":")
    params: dict[str, Any] = {}
    key = (bare or {}).get(name)
    if key is not None and text and not text.startswith(f"{key}="):
        return name, {key: text}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise ConfigError(f"{spec!r}: expected key=value, got {part!r}")
        if key in params:
            raise ConfigError(f"{spec!r}: parameter {key!r} stands twice")
        params[key] = _number(value)
    return name, params


def _number(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
