// The newest N of something. Pushing past the end drops the oldest and counts them. Pure.

export class Ring {
  constructor(capacity) {
    this.capacity = capacity;
    this.items = [];
    this.start = 0; // of the oldest, once full
    this.dropped = 0;
  }

  get length() {
    return this.items.length;
  }

  push(item) {
    if (this.items.length < this.capacity) return this.items.push(item);
    this.items[this.start] = item;
    this.start = (this.start + 1) % this.capacity;
    this.dropped += 1;
    return this.capacity;
  }

  *[Symbol.iterator]() {
    for (let at = 0; at < this.items.length; at += 1) yield this.items[(this.start + at) % this.items.length];
  }

  clear() {
    this.items = [];
    this.start = 0;
    this.dropped = 0;
  }
}
