(() => {
  let heard = null;
  const mark = connected => document.querySelectorAll(".dw-col,.q-dialog,.q-menu").forEach(part => { part.inert = !connected; });
  const look = () => {
    const socket = window.socket;
    if (socket && socket !== heard) {
      heard = socket;
      socket.on("disconnect", () => mark(false));
    }
    mark(Boolean(socket && socket.connected && window.did_handshake) && !document.querySelector(".dw-locked"));
  };
  // what a person does keeps the session open: told at most every ten seconds, and only of events that the browser vouches for
  let told = 0;
  const use = event => {
    if (!event.isTrusted || Date.now() - told < 10000 || !window.socket || !window.socket.connected) return;
    told = Date.now();
    emitEvent("dw-activity");
  };
  ["pointerdown", "keydown", "wheel"].forEach(kind => addEventListener(kind, use, {capture: true, passive: true}));
  setInterval(look, 100);
  // the list of pages goes when a person turns to something else, as any list that opens does
  const close = refocus => document.querySelectorAll(".dw-menu[open]").forEach(menu => {
    menu.open = false;
    if (refocus) menu.querySelector("summary").focus();
  });
  const outside = event => { if (!(event.target instanceof Element && event.target.closest(".dw-menu"))) close(false); };
  ["pointerdown", "focusin"].forEach(kind => addEventListener(kind, outside, {passive: true}));
  addEventListener("keydown", event => { if (event.key === "Escape") close(true); });
})();
