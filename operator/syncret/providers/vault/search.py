"""How a tree of Vault is listed page by page. Pure.

Vault lists one folder at a time, all of it, and filters nothing. So a page is a few folders, read
at the same time, and what says where the next page begins is the list of those that are left. With
tags, each secret that could match costs a call of its own; those are left for pages as well.

Secrets whose current version is deleted are listed like others: reading them says so.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from syncret.api.data import Query
from syncret.providers.vault.keys import Place

#: Folders, and secrets whose tags are read, in a page.
FOLDERS: Final = 16
SECRETS: Final = 50


@dataclass(frozen=True, slots=True)
class Todo:
    """What is left of a search: folders to list, secrets whose tags are to be read.

    Both relative to the mount; a folder ends with "/", the mount itself is "".
    """

    folders: tuple[str, ...]
    secrets: tuple[str, ...] = ()

    def text(self) -> str:
        """As the mark of a page; "" when nothing is left."""
        if not self.folders and not self.secrets:
            return ""
        return json.dumps([self.folders, self.secrets])


def todo(page: str, start: Place) -> Todo:
    """What a page begins with: the folder of the query for the first."""
    if not page:
        return Todo((start.path,))
    folders, secrets = json.loads(page)
    return Todo(tuple(folders), tuple(secrets))


def names(query: Query, start: Place, folder: str, keys: Iterable[Any]) -> Todo:
    """The folders and secrets in a listed folder that can be, or lead to, what is looked for."""
    inner = query.path.removeprefix(start.lead)
    folders: list[str] = []
    secrets: list[str] = []
    without_tags = Query(path=query.path, name=query.name)
    for key in keys:
        path = f"{folder}{key}"
        if path.endswith("/"):
            if path.startswith(inner) or inner.startswith(path):
                folders.append(path)
        elif without_tags.matches(start.lead + path, {}):
            secrets.append(path)
    return Todo(tuple(folders), tuple(secrets))
