// The inspect document as a tree: drawn where it is opened, searched in slices, so 5 MB stay usable.
// Arrow keys walk it as in any tree; every line can give its path and its value.

import { copyText, saveText } from "./copy.js";
import { clone } from "./dom.js";
import { count } from "./format.js";
import { gettext, interpolate, ngettext } from "./i18n.js";

const CHILDREN_AT_ONCE = 200;
const CHILDREN_BEFORE = 20; // drawn before one that is jumped to
const TEXT_MAX_CHARS = 1_200; // drawn of one string; copying gives all
const HITS_MAX = 1_000;
const SLICE_MS = 8;
const SMALL_NODES = 260; // a document up to this size is opened two levels deep
const EXPAND_MAX = 3_000; // lines "Expand" may draw

const isBranch = (value) => value !== null && typeof value === "object";
const size = (value) => (Array.isArray(value) ? value.length : Object.keys(value).length);

// ["Config", "Env", 0] -> ".Config.Env[0]", the way jq takes it.
export function pathText(path) {
  return (
    path
      .map((key) => (typeof key === "number" ? `[${key}]` : /^[A-Za-z_]\w*$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`))
      .join("")
      .replace(/^(?!\.)/, ".") || "."
  );
}

// Paths whose key or value contains the words, in document order; hands the page back between slices.
export async function find(document_, words, { limit = HITS_MAX, stop = () => false } = {}) {
  const needle = words.toLocaleLowerCase();
  const hits = [];
  const stack = [[[], document_]];
  let until = performance.now() + SLICE_MS;
  while (stack.length && hits.length < limit) {
    const [path, value] = stack.pop();
    const key = path.length ? String(path[path.length - 1]) : "";
    const text = isBranch(value) ? "" : String(value);
    if (path.length && (key.toLocaleLowerCase().includes(needle) || text.toLocaleLowerCase().includes(needle))) hits.push(path);
    if (isBranch(value)) {
      const keys = Array.isArray(value) ? value.keys() : Object.keys(value);
      for (const child of [...keys].reverse()) stack.push([[...path, child], value[child]]);
    }
    if (performance.now() > until) {
      await new Promise((resolve) => setTimeout(resolve));
      if (stop()) return [];
      until = performance.now() + SLICE_MS;
    }
  }
  return hits;
}

class Tree {
  constructor(root) {
    this.root = root;
    this.tree = root.querySelector("[data-tree]");
    this.data = JSON.parse(document.getElementById(root.dataset.inspect).textContent);
    this.items = new Map(); // path text -> <li>
    this.facts = new WeakMap(); // <li> -> {path, value}
    this.hits = [];
    this.current = -1;
    this.search = 0;
    this.tree.setAttribute("role", "tree");
    this.tree.setAttribute("aria-label", root.getAttribute("aria-label"));
    this.draw();
    this.listen();
  }

  draw() {
    const list = document.createElement("ul");
    list.setAttribute("role", "presentation");
    this.fillList(list, [], this.data, 0);
    this.tree.replaceChildren(...list.childNodes);
    this.tree.querySelector("[role=treeitem]")?.setAttribute("tabindex", "0");
    if (this.weigh(this.data, SMALL_NODES) < SMALL_NODES) {
      for (const item of this.tree.querySelectorAll(":scope > [aria-expanded]")) this.open(item);
    }
  }

  weigh(value, limit) {
    if (!isBranch(value)) return 1;
    let sum = 1;
    for (const key of Object.keys(value)) {
      sum += this.weigh(value[key], limit - sum);
      if (sum > limit) break;
    }
    return sum;
  }

  // Children of a branch between two positions; what is not drawn yet stands as one "more" line.
  fillList(list, path, value, from, to = Infinity) {
    const keys = Array.isArray(value) ? [...value.keys()] : Object.keys(value);
    const end = Math.min(keys.length, to);
    for (const key of keys.slice(from, Math.min(end, from + CHILDREN_AT_ONCE))) list.append(this.item([...path, key], key, value[key]));
    if (end > from + CHILDREN_AT_ONCE) list.append(this.gap(path, value, from + CHILDREN_AT_ONCE, end));
  }

  // The line for the children from..to. more(at) draws some of them, from the start or around a position.
  gap(path, value, from, to) {
    const line = document.createElement("li");
    line.setAttribute("role", "treeitem");
    line.setAttribute("aria-level", String(path.length + 1));
    line.tabIndex = -1;
    line.className = "more-item";
    const words = document.createElement("span");
    words.className = "button small more";
    words.textContent = `${count(to - from)} more`;
    line.append(words);
    line.range = [from, to];
    line.more = (at = from) => {
      const part = document.createElement("ul");
      const start = Math.max(from, at - CHILDREN_BEFORE);
      if (start > from) part.append(this.gap(path, value, from, start));
      const first = part.childElementCount;
      this.fillList(part, path, value, start, to);
      const next = part.children[first];
      line.replaceWith(...part.childNodes);
      return next;
    };
    return line;
  }

  item(path, key, value) {
    const item = document.createElement("li");
    const line = clone("tree-line");
    const branch = isBranch(value) && size(value) > 0;
    const name = line.querySelector(".k");
    const text = line.querySelector(".v");
    const note = line.querySelector(".size");
    item.setAttribute("role", "treeitem");
    item.setAttribute("aria-level", String(path.length));
    item.tabIndex = -1;
    name.textContent = typeof key === "number" ? `${key}` : `${key}`;
    if (isBranch(value)) {
      const n = size(value);
      const many = Array.isArray(value) ? ngettext("%s item", "%s items", n) : ngettext("%s key", "%s keys", n);
      text.remove();
      note.textContent = n ? interpolate(many, [count(n)]) : Array.isArray(value) ? gettext("empty list") : gettext("empty");
    } else {
      const whole = value === null ? "null" : String(value);
      text.classList.add(value === null ? "null" : typeof value);
      text.textContent = whole === "" ? '""' : whole.slice(0, TEXT_MAX_CHARS);
      note.textContent = whole.length > TEXT_MAX_CHARS ? interpolate(gettext("… %s characters in all"), [count(whole.length)]) : "";
    }
    if (branch) item.setAttribute("aria-expanded", "false");
    else {
      const blank = document.createElement("span");
      blank.className = "blank";
      line.querySelector(".twist").replaceWith(blank);
    }
    const where = pathText(path);
    item.append(line);
    this.items.set(where, item);
    this.facts.set(item, { path, value });
    if (this.hitSet?.has(where)) item.classList.add("hit");
    return item;
  }

  open(item) {
    if (item.getAttribute("aria-expanded") !== "false") return;
    item.setAttribute("aria-expanded", "true");
    const there = item.querySelector(":scope > ul");
    if (there) return void (there.hidden = false);
    const { path, value } = this.facts.get(item);
    const list = document.createElement("ul");
    list.setAttribute("role", "group");
    this.fillList(list, path, value, 0);
    item.append(list);
  }

  close(item) {
    if (item.getAttribute("aria-expanded") !== "true") return;
    item.setAttribute("aria-expanded", "false");
    item.querySelector(":scope > ul").hidden = true;
  }

  // The <li> of a path, opening what leads there.
  reveal(path) {
    let item = null;
    for (let depth = 1; depth <= path.length; depth += 1) {
      if (item) this.open(item);
      const where = pathText(path.slice(0, depth));
      if (!this.items.get(where)?.isConnected) {
        const list = item ? item.querySelector(":scope > ul") : this.tree;
        const value = item ? this.facts.get(item).value : this.data;
        const key = path[depth - 1];
        const at = Array.isArray(value) ? key : Object.keys(value).indexOf(key);
        const gaps = [...list.querySelectorAll(":scope > .more-item")];
        gaps.find(({ range: [from, to] }) => from <= at && at < to)?.more(at);
      }
      item = this.items.get(where);
    }
    return item;
  }

  expandAll() {
    let drawn = 0;
    const waiting = [...this.tree.querySelectorAll(":scope > [aria-expanded]")];
    while (waiting.length && drawn < EXPAND_MAX) {
      const item = waiting.shift();
      this.open(item);
      const children = item.querySelectorAll(":scope > ul > [role=treeitem]");
      drawn += children.length;
      for (const child of children) if (child.hasAttribute("aria-expanded")) waiting.push(child);
    }
  }

  collapseAll() {
    for (const item of this.tree.querySelectorAll("[aria-expanded=true]")) this.close(item);
  }

  async look(words) {
    const turn = ++this.search;
    const found = this.root.querySelector("[data-found]");
    for (const item of this.tree.querySelectorAll(".hit")) item.classList.remove("hit", "now");
    this.current = -1;
    this.hits = [];
    this.hitSet = null;
    if (!words) return void (found.textContent = "");
    found.textContent = "…";
    const hits = await find(this.data, words, { stop: () => turn !== this.search });
    if (turn !== this.search) return;
    this.hits = hits;
    this.hitSet = new Set(hits.map(pathText));
    for (const where of this.hitSet) this.items.get(where)?.classList.add("hit");
    if (hits.length) this.step(1, false);
    else found.textContent = gettext("nothing found");
  }

  step(by, focus = false) {
    if (!this.hits.length) return;
    this.tree.querySelector(".now")?.classList.remove("now");
    this.current = this.current < 0 ? 0 : (this.current + by + this.hits.length) % this.hits.length;
    const item = this.reveal(this.hits[this.current]);
    item?.classList.add("hit", "now");
    item?.firstElementChild.scrollIntoView({ block: "center", inline: "nearest" });
    if (focus) this.focus(item);
    const total = this.hits.length >= HITS_MAX ? `${count(HITS_MAX)}+` : count(this.hits.length);
    this.root.querySelector("[data-found]").textContent = interpolate(gettext("%(at)s of %(total)s"), { at: this.current + 1, total });
  }

  focus(item) {
    if (!item) return;
    this.tree.querySelector('[tabindex="0"]')?.setAttribute("tabindex", "-1");
    item.tabIndex = 0;
    item.focus({ preventScroll: true });
    item.firstElementChild.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  visible() {
    return [...this.tree.querySelectorAll("[role=treeitem]")].filter((item) => !item.closest("ul[hidden]"));
  }

  walk(item, step) {
    const all = this.visible();
    this.focus(all[Math.max(0, Math.min(all.length - 1, all.indexOf(item) + step))]);
  }

  key(event) {
    const item = event.target.closest("[role=treeitem]");
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const expanded = item.getAttribute("aria-expanded");
    const act = {
      ArrowDown: () => this.walk(item, 1),
      ArrowUp: () => this.walk(item, -1),
      ArrowRight: () => (expanded === "true" ? this.walk(item, 1) : this.open(item)),
      ArrowLeft: () => (expanded === "true" ? this.close(item) : this.focus(item.parentElement.closest("[role=treeitem]"))),
      Enter: () => (item.more ? this.focus(item.more()) : expanded === "true" ? this.close(item) : this.open(item)),
      Home: () => this.walk(item, -Infinity),
      End: () => this.walk(item, Infinity),
      c: () => this.copy(item, "value"),
      p: () => this.copy(item, "path"),
      "/": () => this.root.querySelector("[data-find]").focus(),
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  copy(item, what) {
    const facts = this.facts.get(item);
    if (!facts) return;
    if (what === "path") return copyText(pathText(facts.path), interpolate(gettext("Copied %s"), [pathText(facts.path)]));
    return copyText(isBranch(facts.value) ? JSON.stringify(facts.value, null, 2) : String(facts.value));
  }

  listen() {
    const input = this.root.querySelector("[data-find]");
    let timer;
    input.addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(() => this.look(input.value.trim()), 180);
    });
    input.addEventListener("keydown", (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        this.step(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape") {
        input.value = "";
        this.look("");
        input.blur();
      }
    });
    this.tree.addEventListener("keydown", (event) => this.key(event));
    this.tree.addEventListener("click", (event) => {
      const item = event.target.closest("[role=treeitem]");
      if (!item) return;
      if (event.target.closest("[data-copy-path]")) return this.copy(item, "path");
      if (event.target.closest("[data-copy-value]")) return this.copy(item, "value");
      if (item.more) return this.focus(item.more());
      if (!getSelection().isCollapsed) return;
      this.focus(item);
      if (event.target.closest(".line") === item.firstElementChild && event.target.closest(".twist, .k, .size")) {
        if (item.getAttribute("aria-expanded") === "true") this.close(item);
        else this.open(item);
      }
    });
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      const whole = () => JSON.stringify(this.data, null, 2);
      if (button.dataset.findStep) this.step(Number(button.dataset.findStep));
      else if ("expand" in button.dataset) this.expandAll();
      else if ("collapse" in button.dataset) this.collapseAll();
      else if ("copyAll" in button.dataset) copyText(whole());
      else if ("save" in button.dataset) saveText(whole(), `${this.root.dataset.filename}.json`, "application/json");
    });
  }
}

for (const root of document.querySelectorAll("[data-inspect]")) new Tree(root);
