(() => {
  let heard = null;
  const mark = connected => document.querySelectorAll(".dw-col,.q-dialog,.q-menu").forEach(part => { part.inert = !connected; });
  const look = () => {
    const socket = window.socket;
    if (socket && socket !== heard) {
      heard = socket;
      socket.on("disconnect", () => mark(false));
    }
    mark(Boolean(socket && socket.connected && window.did_handshake));
  };
  setInterval(look, 100);
})();
