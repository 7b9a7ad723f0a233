// The detail of a card (GitHub-flavoured Markdown) as elements. Nothing is handed to the browser as HTML: each token
// that is known becomes an element, everything else stays text: an image its description. Links show their host.
import MarkdownIt from '../vendor/markdown-it.js';
import {dated, h, isWritten} from './dom.js';

const reader = new MarkdownIt({html: false, linkify: false});
const BLOCKS = new Set(['p', 'ul', 'ol', 'li', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'blockquote']);
const INLINE = new Set(['strong', 'em', 's']);

export function markdown(text) {
  const whole = h('div', {class: 'detail'});
  put(whole, reader.parse(text, {}));
  for (const table of whole.querySelectorAll('table')) {
    const frame = h('div', {class: 'scroll'});
    table.replaceWith(frame);
    frame.append(table);
  }
  for (const cell of whole.querySelectorAll('td')) {
    if (isWritten(cell.textContent)) cell.className = 'nowrap';
  }
  return whole;
}

function put(place, tokens) {
  let at = place;
  for (const token of tokens) {
    if (token.hidden) continue;
    if (token.type === 'inline') put(at, token.children);
    else if (token.type === 'softbreak') at.append(' ');
    else if (token.type === 'hardbreak') at.append(h('br'));
    else if (token.type === 'hr') at.append(h('hr'));
    else if (token.type === 'code_inline') at.append(h('code', {}, token.content));
    else if (token.type === 'fence' || token.type === 'code_block') at.append(h('pre', {}, token.content));
    else if (token.nesting === 1) at = at.appendChild(element(token));
    else if (token.nesting === -1) at = leave(at);
    else at.append(...dated(token.content));
  }
}

function element(token) {
  if (/^h[1-6]$/.test(token.tag)) return h('h4'); // below the card's own heading, which is an h3
  if (token.tag === 'a') return link(token.attrGet('href'));
  if (token.tag === 'th') return h('th', {scope: 'col'});
  return h(BLOCKS.has(token.tag) || INLINE.has(token.tag) ? token.tag : 'span');
}

function leave(at) {
  if (at.tagName === 'A') at.after(` (${new URL(at.href).host})`);
  return at.parentNode;
}

function link(href) {
  const address = safe(href);
  return address ? h('a', {href: address, target: '_blank', rel: 'noopener noreferrer'}) : h('span');
}

// An absolute http or https address, or null.
export function safe(address) {
  try {
    const url = new URL(address);
    return url.protocol === 'https:' || url.protocol === 'http:' ? url.href : null;
  } catch {
    return null;
  }
}
