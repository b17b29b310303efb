
// The little that is needed to write into a document. Text is only ever set as
// text, and only where it differs, so that nothing flickers and nothing that a
// reader has reached is taken away.

function byId(id) {
  return document.getElementById(id);
}

function element(tag, kind = "", text = "") {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text) made.textContent = text;
  return made;
}

function put(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function show(node, shown) {
  if (node.hidden === shown) node.hidden = !shown;
}

function mark(node, name, value) {
  if (node.dataset[name] !== value) node.dataset[name] = value;
}

function place(node, name, value) {
  if (node.style.getPropertyValue(name) !== value) node.style.setProperty(name, value);
}

// Have `parent` contain one child for each item, in their order: made once by
// its key, and kept for as long as the item is there.
function each(parent, items, keyOf, make, update) {
  const before = parent.made ?? new Map();
  const now = new Map();
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const child = before.get(key) ?? make(item);
    before.delete(key);
    now.set(key, child);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
    update(child, item);
  }
  for (const child of before.values()) child.remove();
  parent.made = now;
}

// A row of a table with so many cells; those in `right` hold numbers, the first
// is its heading.
function row(cells, right = []) {
  const made = element("tr");
  for (let at = 0; at < cells; at += 1) {
    const cell = element(at === 0 ? "th" : "td", right.includes(at) ? "number" : "");
    if (at === 0) cell.scope = "row";
    made.append(cell);
  }
  return made;
}

function fill(made, texts) {
  texts.forEach((text, at) => put(made.children[at], text));
}
