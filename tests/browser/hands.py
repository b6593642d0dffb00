"""Two ways to use a page: with a pointer, or with keys alone. What is done is the same; a test says it once."""

from __future__ import annotations

from typing import Protocol

from playwright.sync_api import Locator, Page, expect

_MOST_PRESSES = 150
_FRAMES = 30
_WHERE = """
target => {
  const now = document.activeElement;
  if (now === target) return 0;
  if (!now || now === document.body) return 1;
  return target.compareDocumentPosition(now) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}
"""
_UNSEEN = """
target => {
  const problems = [], style = getComputedStyle(target), field = target.closest(".q-field");
  const outlined = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  const control = field && field.querySelector(".q-field__control");
  const frame = control && parseFloat(getComputedStyle(control, "::after").borderTopWidth);
  const framed = control && field.classList.contains("q-field--focused") && frame >= 2;
  const ringed = style.boxShadow.includes("0px 0px 0px 5px");
  if (!outlined && !framed && !ringed) problems.push("nothing shows that the focus is here");
  const shown = (target.offsetWidth > 2 ? target : control || target).getBoundingClientRect();
  const [x, y] = [shown.x + shown.width / 2, shown.y + Math.min(shown.height / 2, 20)];
  if (x < 0 || y < 0 || x > innerWidth || y > innerHeight) problems.push(`it is outside the window: ${Math.round(x)}, ${Math.round(y)}`);
  else {
    const top = document.elementFromPoint(x, y), place = field || target;
    if (!top || !(place.contains(top) || top.contains(target))) problems.push(`it is covered by ${top && top.outerHTML.slice(0, 120)}`);
  }
  return problems;
}
"""


class Hand(Protocol):
    """Fills, chooses and presses what a person has found on a page by its name."""

    def fill(self, place: Locator, text: str) -> None: ...
    def press(self, place: Locator) -> None: ...
    def choose(self, place: Locator, *options: str) -> None: ...


class PointerHand:
    """A finger or a mouse."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def fill(self, place: Locator, text: str) -> None:
        place.fill(text)

    def press(self, place: Locator) -> None:
        place.click()

    def choose(self, place: Locator, *options: str) -> None:
        """Choose in a list: one, or several where the list stays open for more."""
        place.click()
        for option in options:
            self._page.get_by_role("option", name=option, exact=True).click()
        if self._page.get_by_role("listbox").count():
            self._page.keyboard.press("Escape")
        expect(self._page.get_by_role("listbox")).to_have_count(0)


class KeyHand:
    """Tab, Shift+Tab, Enter, arrows, Escape and text; no pointer. At each stop it asserts that the focus is there, and seen."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def reach(self, place: Locator) -> None:
        """Press Tab, or Shift+Tab where it lies above, until the focus is on it."""
        expect(place).to_be_visible()
        expect(place).to_be_enabled()
        for _ in range(_MOST_PRESSES):
            way = place.evaluate(_WHERE)
            if way == 0:
                self._assert_seen(place)
                return
            self._page.keyboard.press("Tab" if way > 0 else "Shift+Tab")
        raise AssertionError(f"{place} is not reached with the Tab key; the focus is on {self._focus()}")

    def fill(self, place: Locator, text: str) -> None:
        self.reach(place)
        self._page.keyboard.press("Control+a")
        self._page.keyboard.insert_text(text)

    def press(self, place: Locator) -> None:
        self.reach(place)
        self._page.keyboard.press("Enter")

    def choose(self, place: Locator, *options: str) -> None:
        self.reach(place)
        self._page.keyboard.press("Enter")
        listed = self._page.get_by_role("option")
        expect(self._page.get_by_role("listbox")).to_be_visible()
        for option in options:
            wanted = self._page.get_by_role("option", name=option, exact=True)
            expect(wanted).to_be_visible()
            for _ in range(listed.count() + 1):
                if "q-manual-focusable--focused" in (wanted.get_attribute("class") or ""):
                    break
                self._page.keyboard.press("ArrowDown")
            else:
                raise AssertionError(f"{option} is not reached with the arrow keys")
            self._page.keyboard.press("Enter")
        if self._page.get_by_role("listbox").count():
            self._page.keyboard.press("Escape")
        expect(self._page.get_by_role("listbox")).to_have_count(0)

    @staticmethod
    def _assert_seen(place: Locator) -> None:
        """What the page itself still scrolls or draws has some frames to do so."""
        for _ in range(_FRAMES):
            if not (problems := place.evaluate(_UNSEEN)):
                return
            place.evaluate("new Promise(done => requestAnimationFrame(done))")
        raise AssertionError(f"{place}: {problems}")

    def _focus(self) -> object:
        return self._page.evaluate("document.activeElement && document.activeElement.outerHTML.slice(0, 200)")
