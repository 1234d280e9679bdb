// What a page itself shows of what keeps people out; `accessibility.py` runs it in the browser.
"use strict";

function barriers(least) {
  return [...faint(least).map((words) => `faint: ${words}`), ...mouseOnly().map((words) => `only a mouse reaches: ${words}`), ...frame()];
}

function isShown(element) {
  return element.checkVisibility({ opacityProperty: true, visibilityProperty: true }) && element.getClientRects().length > 0;
}

function named(element) {
  return `<${element.localName} class="${element.getAttribute("class") || ""}">`;
}

// Text, what is typed and what stands in empty fields, whose contrast with what lies behind is below `least`.
function faint(least) {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const found = [];

  function rgba(words) {
    if (!known.has(words)) { // whatever notation the browser answers in
      canvas.clearRect(0, 0, 1, 1);
      canvas.fillStyle = words;
      canvas.fillRect(0, 0, 1, 1);
      const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
      known.set(words, [r, g, b, a / 255]);
    }
    return known.get(words);
  }

  const over = (top, under) => [0, 1, 2].map((at) => top[at] * top[3] + under[at] * (1 - top[3]));

  function behind(element) {
    const layers = [];
    for (let at = element; at; at = at.parentElement) {
      layers.push(rgba(getComputedStyle(at).backgroundColor));
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
  }

  function luminance(colour) { // WCAG 2.2, "relative luminance"
    const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((part) => linear(part / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }

  function contrast(element, colour) {
    let [r, g, b, alpha] = rgba(colour);
    for (let at = element; at; at = at.parentElement) {
      alpha *= getComputedStyle(at).opacity;
    }
    const under = behind(element);
    const [dark, light] = [luminance(over([r, g, b, alpha], under)), luminance(under)].sort((one, other) => one - other);
    return (light + 0.05) / (dark + 0.05);
  }

  function look(element, colour, words) {
    const ratio = contrast(element, colour);
    if (ratio < least) {
      found.push(`${ratio.toFixed(2)}:1 "${words.slice(0, 60)}" ${named(element)}`);
    }
  }

  const counts = (element) => isShown(element) && !element.closest("[aria-hidden=true], :disabled, .sr-only, title");
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const words = walk.currentNode.textContent.trim();
    const element = walk.currentNode.parentElement;
    if (words && !element.matches("script, style, noscript, template, option") && counts(element)) {
      const style = getComputedStyle(element);
      look(element, element instanceof SVGElement ? style.fill : style.color, words);
    }
  }
  for (const field of [...document.querySelectorAll("input, textarea, select")].filter(counts)) {
    if (field.value && !["checkbox", "radio", "file", "range"].includes(field.type)) {
      look(field, getComputedStyle(field).color, field.value);
    } else if (field.placeholder) {
      look(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
    }
  }
  return [...new Set(found)];
}

// What says something and reacts to a click, where no key gets to.
function mouseOnly() {
  const reachable = "a[href], button, input, select, textarea, summary, [tabindex='0']";
  return [...document.querySelectorAll("[onclick], [x-on\\:click], [hx-get], [hx-post]")]
    .filter((element) => isShown(element) && element.textContent.trim())
    .filter((element) => !element.closest(reachable) && !element.querySelector(reachable))
    .map((element) => `${named(element)} ${element.textContent.trim().slice(0, 60)}`);
}

// What a page as a whole owes to whoever does not see it.
function frame() {
  const said = [];
  const headings = document.querySelectorAll("h1").length;
  if (!document.documentElement.lang) {
    said.push("the page does not say its language");
  }
  if (!document.title.trim()) {
    said.push("the page has no title");
  }
  if (headings !== 1) {
    said.push(`${headings} first headings`);
  }
  for (const icon of document.querySelectorAll(".material-symbols-outlined:not([aria-hidden=true], [aria-label])")) {
    if (isShown(icon)) {
      said.push(`an icon is read aloud as "${icon.textContent.trim()}"`);
    }
  }
  return [...new Set(said)];
}
