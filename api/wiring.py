"""Composes the web process: settings, store, people, services. The only place where they meet."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api.access_desk import AccessDesk
from api.allocation import Allocation
from api.anchor_desk import AnchorDesk, AnchorWorker, http_client, outside_of
from api.batch_view import BatchView
from api.bench_register import BenchRegisters
from api.cancel_desk import CancelDesk
from api.care import Care
from api.cartridge_scan import CartridgeScans
from api.cell_acts import CellActs
from api.cell_feed import CellFeeds
from api.cell_keys import CellKeys
from api.cells import CellDirectory, Connector, connect
from api.challenges import Challenges
from api.document_desk import DocumentDesk, site_key
from api.equipment_desk import EquipmentDesk
from api.equipment_log import EquipmentLog
from api.exception_desk import ExceptionDesk
from api.factor_desk import FactorDesk, RelyingParty
from api.idempotency import ANSWERS_FILE, KeptAnswers
from api.ink_desk import InkDesk
from api.label_desk import LabelDesk
from api.label_source import LabelSource
from api.model_desk import ModelDesk
from api.model_use import ModelUse
from api.open_sessions import SESSIONS_FILE, OpenSessions
from api.pack_desk import PackDesk
from api.pack_views import PackViews
from api.patient_desk import PatientDesk
from api.people import People
from api.perimeter import Perimeter
from api.pictures import PictureDesk
from api.process_facts import SiteClock, started_entry, stopped_entry
from api.production import Production
from api.readiness_feed import ReadinessFeeds
from api.recall_desk import RecallDesk
from api.recall_holds import RecallHolds
from api.recipe_desk import RecipeDesk
from api.recipe_trust import TrustedPeople
from api.release_desk import ReleaseDesk
from api.review_watch import ReviewWatch
from api.scanner import Scanner
from api.security import Sessions
from api.set_up import SetUp
from api.settings import Settings, load_settings
from api.shelf import Shelf
from api.solid_desk import SolidDesk
from api.today_desk import TodayDesk
from api.trail_desk import TrailDesk
from api.training_desk import TrainingDesk
from api.trend_desk import TrendDesk
from api.weighing_desk import WeighingDesk
from audit.access_review import AccessReviews
from audit.clock import Clock, SystemClock
from audit.errors import RecordError
from audit.identity import Identity
from audit.key_file import settle
from audit.patients import PatientVault
from audit.second_factor import SecondFactors
from audit.signer import load_signer
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
    cancelling: CancelDesk
    care: Care
    bench_registers: BenchRegisters
    release: ReleaseDesk
    recipes: RecipeDesk
    allocation: Allocation
    weighing: WeighingDesk
    inks: InkDesk
    pictures: PictureDesk
    solids: SolidDesk
    scans: CartridgeScans
    scanner: Scanner
    exceptions: ExceptionDesk
    answers: KeptAnswers
    open_sessions: OpenSessions
    trail: TrailDesk
    anchors: AnchorDesk
    anchor_worker: AnchorWorker
    cell_keys: CellKeys
    site_clock: SiteClock
    http: httpx.Client
    models: ModelDesk
    model_use: ModelUse
    patients: PatientDesk
    packs: PackDesk
    pack_views: PackViews
    labels: LabelDesk
    recalls: RecallDesk
    readiness: ReadinessFeeds
    reviews: ReviewWatch
    today: TodayDesk
    equipment: EquipmentDesk
    training: TrainingDesk
    trends: TrendDesk
    batch_view: BatchView
    cell_acts: CellActs
    closing: threading.Event = field(default_factory=threading.Event)
    """Set when the process ends: what a page asks by itself from then on finds the store closed."""

    def close(self) -> None:
        self.closing.set()
        self.http.close()  # whoever waits for an answer from outside waits no longer
        self.anchor_worker.close()
        self.site_clock.close()
        self.reviews.close()
        self.scanner.close()
        self.cells.close()
        self.answers.close()
        self.open_sessions.close()
        with suppress(RecordError):  # a disk that fails now is no reason to keep the store open
            self.store.append(stopped_entry(self.store))
        self.store.close()


def build_workstation(folder: Path, *, connector: Connector = connect, http: httpx.Client | None = None) -> Workstation:
    """Open a site folder; `http` is the way to those outside.

    Raises SettingsInvalid, SiteIncomplete, StoreMissing, StoreReadOnly, NoteInvalid, RecordError (a token that is away).
    """
    settings = load_settings(folder)
    clock = SystemClock(zone=settings.zone, sync=settings.clock_sync)
    http = http or http_client()
    outside = outside_of(settings, http)
    settle(settings.store_place, settings.path(settings.signing_key))
    key = load_signer(settings.path(settings.signing_key), settings.signing_token, settings.folder)
    store = TrailStore.open(settings.store_place, key=key, clock=clock, software=SOFTWARE)
    store.append(started_entry(store, settings))
    identity = Identity(store, clock)
    open_sessions = OpenSessions(settings.path(SESSIONS_FILE), settings.path(settings.patients_key).read_bytes())
    sessions, challenges = Sessions(clock, settings.session_minutes, lambda: identity.policy, open_sessions), Challenges(clock)
    sessions.bring_back(lambda username: (person := identity.person(username)) is not None and person.active)
    party = settings.passkey_rp_id
    held = SecondFactors(identity, settings.path(settings.second_factor_key), issuer=f"Dosewright {settings.site}")
    asks = None if party is None else RelyingParty(party, settings.passkey_origins)
    factors = FactorDesk(identity, held, challenges, asks)
    people = People(identity, sessions, factors, challenges, demonstration=settings.demonstration)
    shelf, cells = Shelf(store), CellDirectory(settings, connector)
    holds, feeds = RecallHolds(store), CellFeeds(cells)
    production = Production(store, people, shelf, cells, holds, demonstration=settings.demonstration)
    cancelling = CancelDesk(store, production, cells)
    inks = InkDesk(store, people, shelf)
    anchors = AnchorDesk(store, cells, outside)
    anchor_worker, site_clock = AnchorWorker(anchors, clock), SiteClock(store)
    documents = DocumentDesk(store, settings.site, lambda: site_key(settings), outside.stamp)
    release = ReleaseDesk(store, key, people, production, cells, inks, holds, documents, anchor_worker.wanted)
    models = ModelDesk(store, people)
    model_use = ModelUse(store, cells, release, models.register)
    release.follow_closing(model_use.when_closed)
    trusted = TrustedPeople(identity, settings.path(settings.trusted_signers))
    scanner = Scanner(settings.scanner_port, settings.scanner_baud)
    anchor_worker.start()
    site_clock.start()
    access = AccessDesk(identity, AccessReviews(identity, held), held, people, sessions)
    recipes = RecipeDesk(store, people, cells, release, trusted, demonstration=settings.demonstration)
    reviews, trail, training = ReviewWatch(release, lambda: store.size), TrailDesk(store, cells), TrainingDesk(store, people)
    scanner.start()
    patients = PatientDesk(store, PatientVault.load(settings.path(settings.patients_key)))
    packs = PackDesk(store, LabelSource(store, settings.pharmacy), holds, demonstration=settings.demonstration)
    weighing, exceptions = WeighingDesk(people, production, cells), ExceptionDesk(store, people, production, release, inks)
    return Workstation(
        settings=settings,
        clock=clock,
        store=store,
        sessions=sessions,
        perimeter=Perimeter(settings.trusted_networks, settings.proxies),
        people=people,
        factors=factors,
        access=access,
        set_up=SetUp(identity, settings.path(settings.set_up_token)),
        shelf=shelf,
        cells=cells,
        feeds=feeds,
        production=production,
        cancelling=cancelling,
        care=Care(cells, people),
        bench_registers=BenchRegisters(settings, people, identity),
        release=release,
        recipes=recipes,
        allocation=Allocation(store, production),
        weighing=weighing,
        inks=inks,
        pictures=PictureDesk(production, cells),
        solids=SolidDesk(production, shelf, feeds),
        scans=CartridgeScans(store, production, shelf),
        scanner=scanner,
        trail=trail,
        anchors=anchors,
        anchor_worker=anchor_worker,
        cell_keys=CellKeys(store, people, cells),
        site_clock=site_clock,
        http=http,
        models=models,
        model_use=model_use,
        open_sessions=open_sessions,
        answers=KeptAnswers(settings.path(ANSWERS_FILE), clock, settings.path(settings.patients_key).read_bytes()),
        exceptions=exceptions,
        batch_view=BatchView(production, release, weighing, exceptions, packs, model_use, cancelling),
        cell_acts=CellActs(cells),
        patients=patients,
        packs=packs,
        pack_views=PackViews(store, packs),
        labels=LabelDesk(store, people, packs, patients, holds, settings.pharmacy, demonstration=settings.demonstration),
        recalls=RecallDesk(store, people, cells, packs, patients, settings.path(settings.archive)),
        readiness=ReadinessFeeds(cells),
        reviews=reviews,
        today=TodayDesk(store, people, access, recipes, models, inks, packs, holds, reviews, training),
        equipment=EquipmentDesk(trail, EquipmentLog(store, people, cells)),
        training=training,
        trends=TrendDesk(store, cells),
    )
