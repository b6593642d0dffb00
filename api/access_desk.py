"""Access as administrators and quality assurance look at it: the review, what needs attention, what is suspected."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from api.access import Credentials, actor_of
from api.errors import InputInvalid
from api.people import People, Shown
from api.security import GRANTS, Permission, Session, Sessions
from audit.access_review import MEANING_REVIEWED, REVIEW, AccessReviews, report_sha256
from audit.canonical import JsonObject
from audit.identity import Identity
from audit.second_factor import SecondFactors


class AccessDesk:
    """Concurrency: any thread; one lock, so that of two who sign or judge at once, the second is told."""

    def __init__(self, identity: Identity, reviews: AccessReviews, factors: SecondFactors, people: People, sessions: Sessions) -> None:
        self._identity = identity
        self._reviews = reviews
        self._factors = factors
        self._people = people
        self._sessions = sessions
        self._lock = threading.Lock()

    def report(self) -> JsonObject:
        """Return the review as it would be signed now, with the digest that goes back with the signature."""
        report = self._reviews.report()
        return {**report, "shown_sha256": report_sha256(report)}

    def sign_review(self, session: Session, credentials: Credentials) -> JsonObject:
        """Sign the review over the report that was shown. Raises SignatureRefused where an account has changed since."""
        actor = actor_of(session, Permission.REVIEW_ACCESS)
        if credentials.username not in (None, session.username):
            raise InputInvalid("A review is signed by the person who is logged in.", remedy="Log in as the person who signs.")
        with self._lock:
            report = self._reviews.report()
            digest = report_sha256(report)
            signature = self._people.sign(
                session,
                credentials,
                permission=Permission.REVIEW_ACCESS,
                meaning=MEANING_REVIEWED,
                digest=digest,
                subject=REVIEW,
                shown=Shown(digest, "the page People", "GET /api/v1/access-review"),
            )
            return self._reviews.sign(report, signature, actor)

    def attention(self, session: Session) -> list[JsonObject]:
        """Return what needs attention now; nothing to people who may not see it."""
        if not session.roles & GRANTS[Permission.SEE_ACCESS]:
            return []
        found = [notice.as_record() for notice in self._reviews.notices()]
        if waiting := self._sessions.ends():
            text = f"{len(waiting)} session ends are not on record yet: the record did not take them."
            found.append({"id": None, "text": text, "since": self._identity.clock.utc().at})
        return found

    def judge(self, session: Session, notice: str, outcome: str) -> JsonObject:
        """Record what a suspected misuse was found to be. Raises AccessDenied."""
        with self._lock:
            return self._reviews.judge(notice, actor_of(session, Permission.SEE_ACCESS), outcome)

    def factors_of(self, username: str) -> Sequence[JsonObject]:
        """Return a person's second factors, without what is secret."""
        return [factor.as_record() for factor in self._factors.of(username)]
