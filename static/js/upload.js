// Loads an archive: over a websocket, piece by piece, never more on its way than the engine has taken in.

import { place } from "./dom.js";
import { gettext } from "./i18n.js";
import { toast } from "./toast.js";

const PIECE_BYTES = 256 * 1024;
const form = document.querySelector("[data-upload-form]");
const running = new Set();

form.querySelector("[data-import]").addEventListener("change", ({ target }) => {
  form.elements.reference.disabled = !target.checked;
  form.elements.reference.required = target.checked;
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = form.elements.file.files;
  const query = new URLSearchParams({ name: file.name, size: file.size });
  if (form.elements.import.checked) query.set("reference", form.elements.reference.value.trim());
  send(file, query);
  form.reset();
  form.elements.reference.disabled = true;
  form.closest("dialog").close();
});

function send(file, query) {
  const url = new URL(`${place("ws/images/load/")}?${query}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(url);
  let sent = 0;
  let uncredited = 0;
  let allowed = 0; // bytes that may be on their way
  let ended = false;
  let answered = false;
  let reading = false;

  const isOpen = () => socket.readyState === WebSocket.OPEN;

  async function pump() {
    if (reading) return;
    reading = true;
    while (isOpen() && sent < file.size && uncredited + PIECE_BYTES <= allowed) {
      const piece = await file.slice(sent, sent + PIECE_BYTES).arrayBuffer();
      if (!isOpen()) break;
      socket.send(piece);
      sent += piece.byteLength;
      uncredited += piece.byteLength;
    }
    reading = false;
    if (sent < file.size || ended || !allowed || !isOpen()) return;
    ended = true;
    socket.send(JSON.stringify({ type: "end" }));
  }

  running.add(socket);
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.type === "done") {
      answered = true;
      return;
    }
    if (message.type === "ready") allowed = message.window;
    else if (message.type === "credit") uncredited -= message.bytes;
    pump().catch(() => {
      toast(gettext("The file could not be read."), "bad");
      answered = true;
      socket.close();
    });
  };
  socket.onclose = ({ reason }) => {
    running.delete(socket);
    if (!answered) toast(reason || gettext("The connection was lost; the archive was not loaded."), "bad");
  };
}

// Leaving the page would cut the archive.
addEventListener("beforeunload", (event) => {
  if (running.size) event.preventDefault();
});
