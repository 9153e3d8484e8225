"use strict";

window.looking = {
  violations: [],

  wide() {
    const far = (each) => each.getClientRects().length && each.getBoundingClientRect().right > window.innerWidth + 1;
    return [...document.querySelectorAll("body *")].filter(far).map((each) => `${each.tagName}.${each.className}`);
  },

  faint() {
    const found = new Set();
    for (const each of document.querySelectorAll("body *")) {
      const says = [...each.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.textContent.trim());
      const style = getComputedStyle(each);
      if ((!says && !each.matches("input, textarea, select")) || !each.getClientRects().length) continue;
      if (style.visibility === "hidden" || each.disabled || each.closest("label.disabled, .disabled, svg")) continue;
      const behind = looking.behind(each);
      const ratio = looking.ratio(looking.over(looking.color(style.color), behind), behind);
      if (ratio < 4.5) found.add(`${each.tagName}.${each.className} ${ratio.toFixed(1)}: ${each.textContent.trim().slice(0, 40)}`);
    }
    return [...found];
  },

  color(text) {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  },

  over(top, below) {
    const mix = (name) => top[name] * top.a + below[name] * (1 - top.a);
    return { r: mix("r"), g: mix("g"), b: mix("b"), a: 1 };
  },

  behind(element) {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      const color = looking.color(getComputedStyle(each).backgroundColor);
      if (color.a > 0) layers.push(color);
      if (color.a === 1) break;
    }
    return layers.reduceRight((below, layer) => looking.over(layer, below), { r: 255, g: 255, b: 255, a: 1 });
  },

  ratio(one, other) {
    const light = ({ r, g, b }) => {
      const part = (value) => (value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
      return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
    };
    const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  },
};

document.addEventListener("securitypolicyviolation", (event) => {
  looking.violations.push(`${event.effectiveDirective} ${event.blockedURI}`);
});
