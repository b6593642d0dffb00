"""The language of an open page: settled when it is built, found again in its events and timers, which run outside any request."""

from __future__ import annotations

from copy import copy
from typing import cast, get_args
from weakref import WeakKeyDictionary

from nicegui import Client, context
from nicegui.language import Language as Pack
from nicegui.slot import Slot

from api.errors import SettingsInvalid
from api.settings import Settings
from api.workstation import words
from api.workstation.language_files import Language, of_site

_of_client: WeakKeyDictionary[Client, Language] = WeakKeyDictionary()


def settle() -> Language:
    """Keep the language of the request for the page that is being built; its `lang` and its library's own words follow."""
    client, language = context.client, words.spoken()
    _of_client[client] = language
    client.page = copy(client.page)  # the page is one for all visitors; its language is this visitor's
    client.page.language = cast(Pack, language.code)
    return language


def of_page() -> Language | None:
    """Return the language of the page whose event or timer this is; None outside one."""
    for slot in reversed(Slot.get_stack()):
        try:
            return _of_client.get(slot.parent.client)
        except RuntimeError:  # the element went with its own press; what it stands in is still there
            continue
    return None


def prepare(settings: Settings) -> None:
    """Take the site's own languages, and find the language of every page by itself. Raises SettingsInvalid."""
    packs = get_args(Pack)
    for language in of_site(settings.folder):
        if language.code not in packs:
            raise SettingsInvalid(f"The pages cannot be in {language.code!r}.", remedy=f"Name the file by one of: {', '.join(packs)}.")
        words.add(language)
    words.find_by(of_page)
