"""Profiles by name, of which those that are data files are read when they are first asked for."""

from collections.abc import Callable, Iterator, Mapping

from exporter.config.profile_model import Profile


class ProfileCatalog(Mapping[str, Profile]):
    """Built-in profiles: `ready` ones, and those that `read` makes of their names, once each.

    `reserved`: the names that no profile of a config may take. A config's own profile of another name takes the place
    of the built-in one, so that a name that becomes built in later changes nothing for who used it before.
    """

    def __init__(self, ready: Mapping[str, Profile], names: tuple[str, ...], read: Callable[[str], Profile]) -> None:
        self.reserved = frozenset(ready)
        self._profiles = dict(ready)
        self._names = (*ready, *names)
        self._read = read

    def __getitem__(self, name: str) -> Profile:
        if name not in self._profiles:
            if name not in self._names:
                raise KeyError(name)
            self._profiles[name] = self._read(name)
        return self._profiles[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def reserved_names(built_in: Mapping[str, Profile]) -> frozenset[str]:
    """Return the names of built-in profiles that no profile of a config may take."""
    return built_in.reserved if isinstance(built_in, ProfileCatalog) else frozenset(built_in)
