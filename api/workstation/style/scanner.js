// A scanner that types: keys in quick succession, ended by Enter or Tab. What it typed is taken out of wherever it went and handed to the page,
// which puts it where it belongs; its Enter never presses anything.
(() => {
  // no hand types six keys at a twentieth of a second each; a busy computer may hold up one of them
  const MEAN_MS = 50, GAP_MS = 250, LEAST = 6;
  let keys = "", first = 0, last = -Infinity, held = null, before = "", taken = null;
  const comesIn = event => keys.trim().length >= 3 && event.timeStamp - first <= MEAN_MS * (keys.length + 1);
  const isText = element => element instanceof HTMLElement && element.matches("input:not([type=checkbox]):not([type=radio]),textarea");
  const put = (element, value) => {
    const kind = element instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
    Object.getOwnPropertyDescriptor(kind.prototype, "value").set.call(element, value);
    element.dispatchEvent(new Event("input", {bubbles: true}));
  };
  const character = event => {
    if (event.ctrlKey && !event.altKey && (event.key === "]" || event.code === "BracketRight")) return "\x1d"; // how GS is typed
    if (event.key.length === 1 && (!event.ctrlKey || event.altKey) && !event.metaKey) return event.key;
    return null;
  };
  const refuse = event => { event.preventDefault(); event.stopImmediatePropagation(); };
  const scanned = event => {
    const text = keys, place = held;
    keys = "";
    refuse(event);
    const field = document.activeElement instanceof HTMLElement ? document.activeElement.closest("[data-scan]") : null;
    taken = null;
    if (isText(place) && place.isConnected && !(field && field === place)) {
      put(place, before);
      taken = {place, before, text};
    }
    if (window.socket && window.socket.connected) emitEvent("dw-scan", {text, field: field ? field.dataset.scan : ""});
  };
  // called when the page has placed the scan: what it said before it knew that this was one may have brought the text back
  window.dwScanPlaced = () => {
    if (taken && taken.place.isConnected && taken.place.value !== taken.before && taken.place.value.includes(taken.text.trim())) {
      put(taken.place, taken.before);
    }
    taken = null;
  };
  addEventListener("keydown", event => {
    if (["Shift", "Control", "Alt", "AltGraph", "CapsLock", "NumLock"].includes(event.key)) return;
    const quick = event.timeStamp - last <= GAP_MS;
    last = event.timeStamp;
    if (event.key === "Enter" || event.key === "Tab") {
      if (quick && keys.length >= LEAST && event.timeStamp - first <= MEAN_MS * keys.length) scanned(event);
      keys = "";
      return;
    }
    const typed = character(event);
    if (typed === null) { keys = ""; return; }
    // a key at another place just before is no part of the code
    if (!quick || document.activeElement !== held) {
      keys = "";
      first = event.timeStamp;
      held = document.activeElement;
      before = isText(held) ? held.value : "";
    }
    keys += typed;
    // a space, or a control key, is no press of a button while a code comes in
    if (typed === "\x1d" || (typed === " " && comesIn(event) && !isText(document.activeElement))) refuse(event);
  }, {capture: true});
  addEventListener("keyup", event => {
    if (event.key === " " && comesIn(event) && !isText(document.activeElement)) refuse(event);
  }, {capture: true});
})();
