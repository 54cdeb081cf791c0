// The line between a pane and its session. What is typed goes out once and in order: it is kept until the server
// has acknowledged it, and after a loss goes on where the server says it got to. What comes is counted, so that
// after a loss only what was missed is sent.

import { Link } from "./socket.js";

const FRAME_MAX_BYTES = 16 * 1024; // of what is typed or pasted
const AHEAD_MAX_BYTES = 4096; // typed while the line is down
const RETRY_MS = 500; // at most, so that a shell is back within a second of its server
const CREDIT_EVERY_BYTES = 32 * 1024; // of the 256 KiB the server sends ahead

const encoder = new TextEncoder();
const decoder = new TextDecoder();

// What was typed, by position; pure. acked: what the server has; next: what was handed to a socket.
export class Typed {
  constructor() {
    this.bytes = new Uint8Array();
    this.acked = this.next = 0;
  }

  get unsent() {
    return this.acked + this.bytes.length - this.next;
  }

  add(bytes) {
    const joined = new Uint8Array(this.bytes.length + bytes.length);
    joined.set(this.bytes);
    joined.set(bytes, this.bytes.length);
    this.bytes = joined;
  }

  // The next piece for a socket, undefined when all was handed over.
  take() {
    if (!this.unsent) return undefined;
    const piece = this.bytes.subarray(this.next - this.acked, this.next - this.acked + FRAME_MAX_BYTES);
    this.next += piece.length;
    return piece;
  }

  ack(at) {
    if (at <= this.acked) return;
    this.bytes = this.bytes.slice(at - this.acked);
    this.acked = at;
    this.next = Math.max(this.next, at);
  }

  // A new socket: go on behind what the server has. It counts anew (null) when it was restarted; what was on
  // its way then may have arrived or not, and is given back instead of being sent twice.
  resume(taken) {
    if (taken !== null) {
      this.ack(taken);
      this.next = this.acked;
      return new Uint8Array();
    }
    const doubtful = this.bytes.slice(0, this.next - this.acked);
    this.bytes = this.bytes.slice(this.next - this.acked);
    this.acked = this.next = 0;
    return doubtful;
  }
}

export class Line {
  // handlers: begin(replay), bytes(data, replayed, drawn), control(message), state(state, detail), doubt(text)
  constructor(path, handlers) {
    this.path = path;
    this.handlers = handlers;
    this.page = crypto.randomUUID?.() ?? `page-${Date.now()}-${Math.random().toString(36).slice(2)}`;
    this.typed = new Typed();
    this.alone = true; // nobody else types
    this.ready = false;
    this.replaying = 0; // bytes of a screen that are still to come
    this.uncredited = 0;
    this.link = new Link(this.address(), {
      bytes: (data) => this.take(data),
      text: (message) => this.hear(message),
      state: (state, detail) => this.follow(state, detail),
    }, { banner: false, longest: RETRY_MS });
  }

  address() {
    const query = new URLSearchParams({ page: this.page });
    if (this.hub && !this.replaying) {
      query.set("hub", this.hub);
      query.set("at", this.at);
    }
    // A server that was restarted counts anew, but it knows how much the program was given by everybody.
    if (Number.isInteger(this.place)) {
      query.set("acked", this.typed.acked);
      query.set("place", this.place);
      query.set("handed", this.typed.next - this.typed.acked);
    }
    return `${this.path}?${query}`;
  }

  follow(state, detail) {
    if (state !== "open") this.ready = false;
    else this.uncredited = 0;
    if (state === "connecting") this.link?.aim(this.address());
    this.handlers.state(state, detail);
  }

  hear(message) {
    if (message.type === "ack") {
      this.typed.ack(message.at);
      this.place = this.alone ? message.place : undefined;
      return undefined;
    }
    if (message.type === "people") {
      this.alone = message.people.filter(({ types }) => types).length < 2;
      if (!this.alone) this.place = undefined;
    }
    if (message.type === "replay") {
      this.replaying = message.bytes;
      this.at = message.at;
      return this.handlers.begin(message);
    }
    if (message.type === "ready") {
      const doubtful = this.typed.resume(message.taken ?? (message.hub === this.hub ? 0 : null));
      this.hub = message.hub;
      this.at = message.at;
      this.place = this.alone ? message.place : undefined;
      this.replaying = 0;
      if (doubtful.length) this.handlers.doubt(decoder.decode(doubtful));
      this.ready = message.types;
    } else if (message.type === "may") this.ready = message.types;
    else if (message.type === "control") this.ready = true;
    this.handlers.control(message);
    this.flush();
  }

  take(data) {
    const replayed = this.replaying > 0;
    if (replayed) this.replaying = Math.max(0, this.replaying - data.length);
    else this.at += data.length;
    this.handlers.bytes(data, { replayed, last: replayed && !this.replaying, drawn: () => this.credit(data.length) });
  }

  credit(count) {
    this.uncredited += count;
    if (this.uncredited < CREDIT_EVERY_BYTES) return;
    if (this.link.send({ type: "credit", bytes: this.uncredited })) this.uncredited = 0;
  }

  // False when it was not taken: the line is down, and as much as may wait waits already.
  type(text) {
    const bytes = typeof text === "string" ? encoder.encode(text) : text;
    if (!this.ready && this.typed.unsent + bytes.length > AHEAD_MAX_BYTES) return false;
    this.typed.add(bytes);
    this.flush();
    return true;
  }

  flush() {
    if (!this.ready || !this.link?.isOpen) return;
    for (let piece = this.typed.take(); piece; piece = this.typed.take()) this.link.send(piece.slice());
  }

  tell(message) {
    return this.link.send(message);
  }

  stop() {
    this.link.stop();
  }
}

