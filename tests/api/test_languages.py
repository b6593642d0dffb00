"""Languages of the pages: files complete and fitting, the language of a request, sentences of the record shown with their own values."""

from __future__ import annotations

import ast
import html
import json
import re
import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.cell_feed import CellView
from api.errors import SettingsInvalid
from api.language import COOKIE
from api.status import AlarmStatus, CellStatus
from api.workstation import panels, words
from api.workstation.entry_steps import arithmetic_html
from api.workstation.language_files import Language, of_site, read, shipped, unfit
from api.workstation.refusal import refusal_page, refusal_text
from api.workstation.refusal_words import KINDS
from api.workstation.running import Drawn
from audit.errors import DosewrightError, ReleaseBlocked
from audit.quantities import Milligram, MilligramPerSquareMetre
from printer.alarms import DEFINITIONS, AlarmName
from printer.unit_cycle import _total_unread
from recipes.dose import calculate
from recipes.errors import DoseRefused
from recipes.library import CASES, load_demonstration, load_recipe, load_second
from tests import words as texts
from tests.generated import error_codes

GERMAN, SPANISH = words.languages()["de"], words.languages()["es"]
CODES = ("de", "es")
TODAY = datetime.now(UTC).date().isoformat()


@pytest.mark.parametrize("code", CODES)
def test_each_language_holds_every_text_of_the_pages(code: str) -> None:
    assert texts.missing(code) == [], "run `python -m tests.words --missing` for lines to fill in"


@pytest.mark.parametrize("code", CODES)
def test_no_language_holds_a_text_that_the_product_no_longer_has(code: str) -> None:
    assert texts.stale(code) == []


def test_what_the_pages_say_is_a_literal_or_stands_in_a_listed_table() -> None:
    assert texts.refused() == ()
    assert len(texts.literals()) > 600, "the walk over the code found too little to be right"


def test_every_value_that_a_text_names_is_given_to_it() -> None:
    """`said("… {n}", n=…)`: the names in the text are those of the call."""
    wrong = []
    for path in sorted((texts.ROOT / "api").rglob("*.py")):
        for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
            name = call.func.id if isinstance(call.func, ast.Name) else ""
            if name not in ("said", "said_n") or any(keyword.arg is None for keyword in call.keywords):
                continue
            given = {str(keyword.arg) for keyword in call.keywords} | ({"n"} if name == "said_n" else set())
            for text in (item.value for item in call.args if isinstance(item, ast.Constant) and isinstance(item.value, str)):
                if not set(re.findall(r"\{(\w+)\}", text)) <= given:
                    wrong.append(f"{path.name}:{call.lineno}: {text}")
    assert wrong == []


@pytest.mark.parametrize("code", CODES)
def test_placeholders_and_markup_are_the_same_in_every_language(code: str) -> None:
    language = words.languages()[code]
    assert [found for key, value in (*language.words.items(), *language.sentences.items()) if (found := unfit(key, value))] == []


def test_german_and_spanish_are_no_copies_of_english() -> None:
    """A translation that is the English text is one of the few words that are the same."""
    for code in CODES:
        same = [
            key
            for key, value in words.languages()[code].words.items()
            if key == value and len(texts.bare(key).replace("{}", " ").split()) > 2
        ]
        assert same == []


def test_a_stop_is_no_pause_and_the_last_day_of_use_is_included() -> None:
    german, spanish = words.languages()["de"], words.languages()["es"]
    for stop in ("Stop the printer now", "Stop the printer of {cell} now"):
        assert "anhalten" not in german.words[stop], "that is the word of the pause"
    assert "anhalten" in german.words["Pause after this unit"]
    assert spanish.words["use by {day}"] == "usar hasta el {day}"
    assert "hasta el {day}" in spanish.sentences["Pack {pack} was to be used by {day}."]


def test_every_error_code_has_a_kind_and_a_way_on() -> None:
    codes = set(re.findall(r"^\| ([A-Z]{2}-\d{3}) \|", error_codes(), re.MULTILINE))
    assert len(codes) > 50
    assert sorted(codes - KINDS.keys()) == [], "state kind and way on in api/workstation/refusal_words.py"
    assert sorted(KINDS.keys() - codes) == []


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("Unit {n}", "Einheit", "other values"),
        ("Unit {n}", "Einheit {m}", "other values"),
        ("<b>Suspend.</b> Now", "Aussetzen. Jetzt", "other markup"),
        ("Reason", '<img src="x">', "reads as markup"),
        ("Reason", 'Grund" onclick="x', "reads as markup"),
        ("Reason", "  ", "no translation"),
        ("Reason", "Grund {", "a brace"),
    ],
)
def test_a_translation_that_would_break_a_page_is_refused_with_its_file(key: str, value: str, problem: str) -> None:
    with pytest.raises(SettingsInvalid, match=problem) as caught:
        read("xx", json.dumps({"name": "X", "words": {key: value}}), "xx.json")
    assert "xx.json" in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"name": "X"}', '{"name": 1, "words": {}}', '{"name": "X", "words": {"a": 1}}'])
def test_a_file_that_is_no_language_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid):
        read("xx", text, "xx.json")


def test_a_site_adds_a_language_with_a_file_and_replaces_none_that_is_shipped(tmp_path: Path) -> None:
    (tmp_path / "languages").mkdir()
    (tmp_path / "languages/it.json").write_text('{"name": "Italiano", "words": {"Log in": "Accedi"}}', encoding="utf-8")
    (tmp_path / "languages/de.json").write_text('{"name": "Deutsch", "words": {"Log in": "falsch"}}', encoding="utf-8")
    before = dict(words.languages())
    try:
        for language in of_site(tmp_path):
            words.add(language)
        with words.speaking(words.languages()["it"]):
            assert words.said("Log in") == "Accedi" and words.said("Log out") == "Log out"
        with words.speaking(words.languages()["de"]):
            assert words.said("Log in") == "Anmelden"
    finally:
        words._languages.pop("it", None)
    assert words.languages() == before


@pytest.mark.parametrize(
    ("cookie", "accepts", "site", "code"),
    [
        ("", "", "en", "en-GB"),
        ("", "de", "en", "de"),
        ("", "de-AT,de;q=0.9,en;q=0.8", "en", "de"),
        ("", "fr,es;q=0.3,de;q=0.7", "en", "de"),
        ("", "en-US,en;q=0.9", "de", "en-GB"),
        ("", "fr", "es", "es"),
        ("", "*", "de", "de"),
        ("", "de;q=0", "en", "en-GB"),
        ("es", "de", "en", "es"),
        ("xx", "de", "en", "de"),
        ("", "de;q=x, es", "en", "es"),
        ("\x00", "\n;;,,q", "", "en-GB"),
    ],
)
def test_the_language_is_the_one_chosen_else_the_browsers_else_the_sites(cookie: str, accepts: str, site: str, code: str) -> None:
    assert words.choose(cookie, accepts, site).code == code


@given(st.text(max_size=200), st.text(max_size=400))
def test_any_header_leads_to_some_language(cookie: str, accepts: str) -> None:
    assert words.choose(cookie, accepts, "de").code in words.languages()


def test_a_sentence_of_the_record_is_shown_with_its_own_values() -> None:
    recorded = "no cleaning of this cell is on record; clean the cell by SOP-7 and record it"
    with words.speaking(GERMAN):
        assert (
            words.told(recorded)
            == "keine Reinigung dieser Zelle ist aufgezeichnet; reinigen Sie die Zelle nach SOP-7, und zeichnen Sie es auf"
        )
        assert words.told("mass 431.20 mg outside 443.8 mg to 490.5 mg") == "Masse 431.20 mg außerhalb 443.8 mg bis 490.5 mg"
        assert words.told("Order O00001 is entered, not waiting for a second person.").startswith("Auftrag O00001 wartet nicht")
    assert words.told(recorded) == recorded


def test_the_more_telling_sentence_wins_and_no_value_swallows_a_list() -> None:
    with words.speaking(GERMAN):
        assert words.told("Batch B1 is running, not awaiting review.") == "Charge B1 wartet nicht auf Prüfung: läuft."
        two = words.told("since the run ended at 2026-11-29 21:09:25 UTC; last identified as XPR204")
    assert two == "seit dem Ende des Laufs um 2026-11-29 21:09:25 UTC; zuletzt erkannt als XPR204"


def test_a_state_that_is_no_word_of_the_product_makes_it_another_sentence() -> None:
    with words.speaking(GERMAN):
        assert words.told("Recipe r@1 is effective.") == "Rezeptur r@1 ist in Kraft."
        assert words.told("Recipe r@1 is stale: r@2 has been effective.") == "Recipe r@1 is stale: r@2 has been effective."


def test_what_stays_english_says_so_to_a_screen_reader() -> None:
    with words.speaking(GERMAN):
        assert words.told_html("something <else>") == '<span lang="en">something &lt;else&gt;</span>'
        assert words.told_html("accepted") == "angenommen"
    assert words.told_html("something <else>") == "something &lt;else&gt;"


@given(st.text(max_size=120))
def test_no_value_becomes_markup_or_a_placeholder(text: str) -> None:
    hostile = f"<img src=x>{text}{{n}}"
    with words.speaking(GERMAN):
        assert "<img" not in words.told_html(f"{hostile} made the first entry")
        assert "<img" not in words.told_html(hostile)


def test_a_long_text_from_outside_is_not_searched_for_patterns() -> None:
    hostile = "mass " + "1 outside " * 4000
    began = time.process_time()
    with words.speaking(GERMAN):
        assert words.told(hostile) == hostile
        words.told(("mass 1 outside 2 to " * 60)[:790])
    assert time.process_time() - began < 2.0


def test_refusal_that_the_files_know_is_shown_whole() -> None:
    error = DosewrightError("The same person cannot enter and confirm an order.", remedy="Let a second person confirm it.")
    with words.speaking(GERMAN):
        assert refusal_text(error) == (
            "Dieselbe Person kann einen Auftrag nicht eingeben und bestätigen. Lassen Sie ihn von einer zweiten Person bestätigen."
        )
    assert refusal_text(error) == "The same person cannot enter and confirm an order. Let a second person confirm it."


def test_refusal_that_no_file_knows_says_its_kind_and_what_to_do_before_the_english_sentence() -> None:
    error = ReleaseBlocked(["the moon is full"], remedy="Wait.")
    with words.speaking(SPANISH):
        shown = refusal_text(error)
    assert shown.startswith("Este dictamen no está abierto. Resuelva los motivos indicados")
    assert "AU-030" in shown and "the moon is full" in shown and "Wait." in shown


def test_every_alarm_is_shown_whole_in_german_and_recorded_in_english() -> None:
    for name, definition in DEFINITIONS.items():
        alarm = AlarmStatus(
            alarm="R1/A01", name=name, cause=definition.cause, consequence=definition.consequence, action=definition.action, message=""
        )
        with words.speaking(GERMAN):
            text = panels.alarm_text(alarm)
        assert 'lang="en"' not in text and definition.action not in text
    assert DEFINITIONS[AlarmName.GUARD_OPEN].action == "Close the guard; clear the plate; start a new run."


def test_two_languages_never_share_what_was_drawn() -> None:
    drawn, view = Drawn(), CellView(CellStatus(cell="cell-1", state="PRINTING"))
    with words.speaking(GERMAN):
        german = drawn.of(view)
    with words.speaking(SPANISH):
        spanish = drawn.of(view)
    assert "Druckt" in german["state"] and "Imprimiendo" in spanish["state"] and "Printing" in drawn.of(view)["state"]
    with words.speaking(GERMAN):
        assert drawn.of(view) is german


def test_threads_speak_only_what_they_are_told_to() -> None:
    heard: list[str] = []
    with words.speaking(GERMAN):
        thread = threading.Thread(target=lambda: heard.append(words.said("Log in")))
        thread.start()
        thread.join()
    assert heard == ["Log in"]


def test_log_in_page_is_in_the_language_of_the_browser_and_offers_the_others(bench: Any) -> None:
    german = bench.client.get("/login", headers={"Accept-Language": "de-CH"})
    assert '<html lang="de">' in german.text and "Benutzername" in german.text and "User name" not in german.text
    assert 'lang="es" aria-pressed="false">Español' in german.text and 'lang="de" aria-pressed="true">Deutsch' in german.text
    assert '<html lang="en-GB">' in bench.client.get("/login", headers={"Accept-Language": "fr"}).text


def test_a_language_is_chosen_without_a_log_in_and_kept_in_a_cookie(bench: Any) -> None:
    answer = bench.client.post("/language", data={"language": "es", "back": "/login"}, follow_redirects=False)
    assert answer.status_code == 303 and answer.headers["location"] == "/login"
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith(f"{COOKIE}=es;") and "httponly" in cookie and "samesite=lax" in cookie
    assert "Nombre de usuario" in bench.client.get("/login", headers={"Accept-Language": "de"}).text


@pytest.mark.parametrize("back", ["https://elsewhere.example", "//elsewhere.example", "/login/../x", "javascript:alert(1)", "", "/people"])
def test_the_way_back_leads_nowhere_else(bench: Any, back: str) -> None:
    answer = bench.client.post("/language", data={"language": "de", "back": back}, follow_redirects=False)
    assert answer.headers["location"] == "/login"


def test_a_language_that_there_is_not_is_refused_and_sets_no_cookie(bench: Any) -> None:
    for wanted in ("xx", "", "../de", "de\r\nSet-Cookie: a=b"):
        answer = bench.client.post("/language", data={"language": wanted}, follow_redirects=False)
        assert answer.status_code == 422 and "set-cookie" not in answer.headers
    assert bench.client.post("/language", content=b"\xff\xfe&&&&&&").status_code in (400, 422)


def test_a_page_of_another_site_cannot_choose(bench: Any) -> None:
    answer = bench.client.post(
        "/language", data={"language": "de"}, headers={"Origin": "https://elsewhere.example"}, follow_redirects=False
    )
    assert answer.status_code == 403 and "set-cookie" not in answer.headers


def test_the_interface_for_programs_answers_in_english_whatever_the_browser_asks(bench: Any) -> None:
    answer = bench.client.get("/api/v1/batches/B9", headers={"Authorization": f"Bearer {bench.token('operator')}", "Accept-Language": "de"})
    assert answer.status_code == 404 and answer.json()["detail"] == "There is no batch 'B9'."


def test_a_form_that_was_refused_is_answered_in_the_language_of_the_browser(bench: Any) -> None:
    headers = {"Accept": "text/html", "Accept-Language": "de", "Authorization": f"Bearer {bench.token('operator')}"}
    answer = bench.client.post("/api/v1/cells/cell-9/stop", data={"strength": "quickstop", "reason": "x"}, headers=headers)
    assert '<html lang="de">' in answer.text and "Der Drucker wurde nicht angehalten." in answer.text
    with words.speaking(GERMAN):
        assert "Nicht ausgeführt" in refusal_page("AP-010", "<b>", "", stop=False) and "<b>&lt;" not in refusal_page(
            "AP-010", "<b>", "", stop=False
        )


def test_only_words_of_the_product_are_patterns() -> None:
    """A word of a page is no pattern: "{low} to {high}" would be found in any sentence with "to" in it."""
    language = Language("xx", "X", {"{low} to {high}": "{low} bis {high}"})
    assert language.find("Go to bed") is None
    assert [language.code for language in shipped()] == list(CODES)


# -- the dose --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("case", [*CASES, "polypill"])
def test_the_arithmetic_of_a_dose_is_read_in_the_language(case: str, code: str) -> None:
    prescription, ink, _ = load_demonstration(case, TODAY)
    second = load_second(case, TODAY)
    dose = calculate(load_recipe(case), prescription, ink, second[0] if second else None)
    with words.speaking(words.languages()[code]):
        shown = arithmetic_html(list(dose.arithmetic))
    assert 'lang="en"' not in shown, shown
    rows = shown.count("<li>")
    assert rows == len(dose.arithmetic) > 4 and ("Füllmasse" if code == "de" else "Masa de llenado") in shown
    figures = re.findall(r"\d[\d.]*", " ".join(dose.arithmetic))
    read = re.findall(r"\d[\d.]*", html.unescape(re.sub(r"<[^>]+>", " ", shown)))
    assert [Decimal(text.rstrip(".")) for text in read] == [Decimal(text.rstrip(".")) for text in figures]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize(
    "changes",
    [{"prescribed": MilligramPerSquareMetre("400")}, {"days": 400}, {"weight": None}, {"per": "dose"}, {"prescribed": Milligram("5")}],
)
def test_why_a_dose_is_refused_is_read_in_the_language(changes: dict[str, Any], code: str) -> None:
    prescription, ink, _ = load_demonstration("cyclophosphamide", TODAY)
    with pytest.raises(DoseRefused) as refused:
        calculate(load_recipe("cyclophosphamide"), prescription.model_copy(update=changes), ink)
    for reason in refused.value.reasons:
        found, whole = words.languages()[code].in_parts(reason)
        assert whole and found != reason, (reason, found)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("which", [{"purge": True}, {"part": 2}, {}])
def test_a_total_that_cannot_be_read_is_said_in_every_language(code: str, which: dict[str, Any]) -> None:
    unit: Any = SimpleNamespace(**{"n": 3, "part": 0, "purge": False, **which})
    found, whole = words.languages()[code].in_parts(_total_unread(unit))
    assert whole and "3" in found and "extruder" not in found
