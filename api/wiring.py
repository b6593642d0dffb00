"""Composes the web process: settings, store, people, services. The only place where they meet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from api.access_desk import AccessDesk
from api.allocation import Allocation
from api.care import Care
from api.cell_feed import CellFeeds
from api.cells import CellDirectory, Connector, connect
from api.challenges import Challenges
from api.exception_desk import ExceptionDesk
from api.factor_desk import FactorDesk, RelyingParty
from api.ink_desk import InkDesk
from api.people import People
from api.perimeter import Perimeter
from api.pictures import PictureDesk
from api.production import Production
from api.recipe_desk import RecipeDesk
from api.recipe_trust import TrustedPeople
from api.release_desk import ReleaseDesk
from api.security import Sessions
from api.set_up import SetUp
from api.settings import Settings, load_settings
from api.shelf import Shelf
from api.weighing_desk import WeighingDesk
from audit.access_review import AccessReviews
from audit.checkpoint import SigningKey
from audit.clock import Clock, SystemClock
from audit.identity import Identity
from audit.second_factor import SecondFactors
from audit.store import TrailStore
from audit.version import SOFTWARE


@dataclass(frozen=True, slots=True)
class Workstation:
    """All services of one workstation process.

    Lifetime: from `build_workstation` to `close`, which signs a checkpoint and closes the store.
    """

    settings: Settings
    clock: Clock
    store: TrailStore
    sessions: Sessions
    perimeter: Perimeter
    people: People
    factors: FactorDesk
    access: AccessDesk
    set_up: SetUp
    shelf: Shelf
    cells: CellDirectory
    feeds: CellFeeds
    production: Production
    care: Care
    release: ReleaseDesk
    recipes: RecipeDesk
    allocation: Allocation
    weighing: WeighingDesk
    inks: InkDesk
    pictures: PictureDesk
    exceptions: ExceptionDesk

    def close(self) -> None:
        self.cells.close()
        self.store.close()


def build_workstation(folder: Path, *, connector: Connector = connect) -> Workstation:
    """Open a site folder. Raises SettingsInvalid, SiteIncomplete, StoreMissing, StoreReadOnly, NoteInvalid."""
    settings = load_settings(folder)
    clock = SystemClock(zone=settings.zone, sync=settings.clock_sync)
    key = SigningKey.load(settings.path(settings.signing_key))
    store = TrailStore.open(settings.path(settings.store), key=key, clock=clock, software=SOFTWARE)
    identity = Identity(store, clock)
    sessions, challenges = Sessions(clock, settings.session_minutes, lambda: identity.policy), Challenges(clock)
    party = settings.passkey_rp_id
    held = SecondFactors(identity, settings.path(settings.second_factor_key), issuer=f"Dosewright {settings.site}")
    asks = None if party is None else RelyingParty(party, settings.passkey_origins)
    factors = FactorDesk(identity, held, challenges, asks)
    people = People(identity, sessions, factors, challenges, demonstration=settings.demonstration)
    shelf, cells = Shelf(store), CellDirectory(settings, connector)
    production = Production(store, people, shelf, cells, demonstration=settings.demonstration)
    inks = InkDesk(store, people, shelf)
    release = ReleaseDesk(store, key, people, production, cells, inks)
    trusted = TrustedPeople(identity, settings.path(settings.trusted_signers))
    return Workstation(
        settings=settings,
        clock=clock,
        store=store,
        sessions=sessions,
        perimeter=Perimeter(settings.trusted_networks, settings.proxies),
        people=people,
        factors=factors,
        access=AccessDesk(identity, AccessReviews(identity, held), held, people, sessions),
        set_up=SetUp(identity, settings.path(settings.set_up_token)),
        shelf=shelf,
        cells=cells,
        feeds=CellFeeds(cells),
        production=production,
        care=Care(cells, people),
        release=release,
        recipes=RecipeDesk(store, people, cells, release, trusted, demonstration=settings.demonstration),
        allocation=Allocation(store, production),
        weighing=WeighingDesk(people, production, cells),
        inks=inks,
        pictures=PictureDesk(production, cells),
        exceptions=ExceptionDesk(store, people, production, release),
    )
