(() => {
  let heard = null;
  const mark = connected => document.querySelectorAll(".dw-col,.q-dialog,.q-menu").forEach(part => { part.inert = !connected; });
  // the workstation takes no connection from a page whose session has ended; one that is away answers nothing
  const askForLogIn = () => fetch("/api/v1/session", {cache: "no-store"}).then(
    answer => { if (answer.status === 401) location.assign("/login"); },
    () => mark(false),
  );
  // a workstation that was started again knows nothing of this page: it is loaded anew once the new process answers
  let asking = false;
  const lookForAnother = () => {
    if (asking || !heard || heard.connected) return;
    asking = true;
    fetch("/api/v1/health", {cache: "no-store"}).then(answer => answer.json()).then(
      health => { if (health.process === window.dwProcess) asking = false; else location.reload(); },
      () => { asking = false; },
    );
  };
  // what the page shows before its script has built it goes in the moment that is done
  const built = new MutationObserver(() => {
    if (!document.querySelector("#app .dw-state")) return;
    built.disconnect();
    document.querySelectorAll(".dw-first").forEach(part => part.remove());
  });
  built.observe(document.documentElement, {childList: true, subtree: true});
  const look = () => {
    const socket = window.socket;
    if (socket && socket !== heard) {
      heard = socket;
      socket.io.reconnectionDelay(300);
      socket.io.reconnectionDelayMax(1000);
      socket.on("disconnect", () => mark(false));
      socket.on("connect_error", askForLogIn);
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
  setInterval(lookForAnother, 250);
  // what grows above the focus of who uses keys does not push it out of the window; who has scrolled away from it since stays there
  let followed = null;
  const leave = () => { followed = null; };
  addEventListener("focusin", event => { followed = event.target.matches(":focus-visible") ? event.target : null; }, {passive: true});
  ["wheel", "touchmove", "pointerdown"].forEach(kind => addEventListener(kind, leave, {capture: true, passive: true}));
  addEventListener("keydown", event => { if (["PageUp", "PageDown"].includes(event.key)) leave(); });
  new ResizeObserver(() => {
    if (followed && followed === document.activeElement) followed.scrollIntoView({block: "nearest"});
  }).observe(document.body);
  // the list of pages goes when a person turns to something else, as any list that opens does
  const close = refocus => document.querySelectorAll(".dw-menu[open]").forEach(menu => {
    menu.open = false;
    if (refocus) menu.querySelector("summary").focus();
  });
  const outside = event => { if (!(event.target instanceof Element && event.target.closest(".dw-menu"))) close(false); };
  ["pointerdown", "focusin"].forEach(kind => addEventListener(kind, outside, {passive: true}));
  addEventListener("keydown", event => { if (event.key === "Escape") close(true); });
})();
