// Small hands on the document: templates, icons, words from the page. Builds no HTML from strings.

export const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.content ?? "";

// A path below the place the dashboard is served from ("/" or a sub-path of a proxy).
export const place = (path) => meta("webdock-base") + path;

export const clone = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "i");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `${meta("webdock-icons")}#${name}`);
  svg.append(use);
  return svg;
}

export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

// Words into an element that holds nothing else. The same words again touch nothing, and others change the text
// that is there: a new text node makes the browser look at styles and layout around it.
export function say(element, text) {
  const words = String(text);
  const only = element.childNodes.length === 1 && element.firstChild.nodeType === Node.TEXT_NODE ? element.firstChild : null;
  if (!only) element.textContent = words;
  else if (only.data !== words) only.data = words;
}

// Text from a container inside a sentence: its bidi marks must not reorder what stands around it.
export const isolate = (text) => `\u2068${text}\u2069`;

// "Remove {name}?" with the name filled in.
export const fill = (text, values) =>
  text.replace(/\{(\w+)\}/g, (whole, key) => (key in values ? String(values[key]) : whole));

export function remember(key, value) {
  try {
    if (value === null) localStorage.removeItem(key);
    else localStorage.setItem(key, value);
  } catch {
    // storage is off: the choice lasts as long as the page
  }
}

export function recall(key, otherwise = "") {
  try {
    return localStorage.getItem(key) ?? otherwise;
  } catch {
    return otherwise;
  }
}
