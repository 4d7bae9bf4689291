/** Lists that change every second, and keep what is the same: focus and selection stay where they are. */

/**
 * An element. Texts go in as texts, whatever they say.
 *
 * @param {string} name
 * @param {string} [className]
 * @param {...(Node | string)} inside
 */
export function element(name, className = "", ...inside) {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...inside);
  return made;
}

/** Sets a text, if it is another one. @param {Element} element @param {string} text */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Marks how bad it is; null takes the mark off. @param {HTMLElement} element @param {string | null} level */
export function mark(element, level) {
  if (level === null) delete element.dataset.level;
  else if (element.dataset.level !== level) element.dataset.level = level;
}

/** One list: an element for each item, known by its key. */
export class List {
  #place;
  #key;
  #make;
  /** @type {Map<string, {element: HTMLElement, update: (item: any) => void}>} */
  #rows = new Map();

  /**
   * @param {string} id  of the list's element; an element `<id>-none` is shown while there is nothing in it
   * @param {(item: any) => string} key
   * @param {(item: any) => {element: HTMLElement, update: (item: any) => void}} make
   */
  constructor(id, key, make) {
    this.#place = /** @type {HTMLElement} */ (document.getElementById(id));
    this.none = document.getElementById(`${id}-none`);
    this.#key = key;
    this.#make = make;
  }

  /** @param {any[]} items */
  show(items) {
    const keys = new Set(items.map(this.#key));
    for (const [key, row] of this.#rows) {
      if (keys.has(key)) continue;
      row.element.remove();
      this.#rows.delete(key);
    }
    let next = this.#place.firstElementChild;
    for (const item of items) {
      const key = this.#key(item);
      const row = this.#rows.get(key) ?? this.#make(item);
      this.#rows.set(key, row);
      row.update(item);
      if (row.element === next) next = next.nextElementSibling;
      else this.#place.insertBefore(row.element, next);
    }
    this.#place.hidden = items.length === 0;
    if (this.none) this.none.hidden = items.length > 0;
  }
}
