// Sentences in the reader's language. The catalogue is a script of its own before every module; English needs none.

const catalogue = globalThis.django ?? {};

export const gettext = catalogue.gettext ?? ((text) => text);

export const ngettext = catalogue.ngettext ?? ((one, many, n) => (n === 1 ? one : many));

// "Trying again in %(seconds)s s" with {seconds: 3}, "%s ago" with ["2 hours"].
export const interpolate = (text, values) =>
  Array.isArray(values)
    ? values.reduce((filled, value) => filled.replace("%s", () => String(value)), text)
    : text.replace(/%\((\w+)\)s/g, (whole, key) => (key in values ? String(values[key]) : whole));
