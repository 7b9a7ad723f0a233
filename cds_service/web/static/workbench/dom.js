// Small tools for the page: elements, drawings, words, dates. Text only ever enters the page as text.

import {dayIn, numberIn, shownDay} from '../locale.js';

export const told = JSON.parse(document.getElementById('told').textContent);

const plurals = new Intl.PluralRules(told.lang);
const longDate = new Intl.DateTimeFormat(told.lang, {weekday: 'short', day: 'numeric', month: 'long', year: 'numeric', timeZone: 'UTC'});
const ICONS = new URL('../icons.svg', import.meta.url).pathname;

export const byId = (id) => document.getElementById(id);

// h('p', {class: 'quiet'}, 'text', element): attributes that are null or false are left out, on… are listeners.
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function fill(place, ...children) {
  place.replaceChildren(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
}

export function icon(name) {
  const space = 'http://www.w3.org/2000/svg';
  const drawing = document.createElementNS(space, 'svg');
  drawing.setAttribute('class', 'icon');
  drawing.setAttribute('viewBox', '0 0 16 16');
  drawing.setAttribute('aria-hidden', 'true');
  drawing.append(document.createElementNS(space, 'use'));
  drawing.firstChild.setAttribute('href', `${ICONS}#${name}`);
  return drawing;
}

// An ISO date, and a number with a point, as the site writes them.
export const written = (iso) => (iso ? dayIn(told.locale, iso) : '');
export const number = (value) => numberIn(told.locale, value);

const DAY = shownDay(told.locale);
export const isWritten = (text) => new RegExp(`^(?:${DAY}|\\d{4}-\\d\\d|\\d\\d[./-]\\d{4})$`).test(text);

// Text whose dates are not broken over two lines.
export function dated(text) {
  return text.split(new RegExp(`(${DAY})`)).map((part, place) => (place % 2 ? h('span', {class: 'nowrap'}, part) : part));
}

// A word of the message file; {n} chooses between its forms, every {name} is filled in.
export function say(name, values = {}) {
  let text = told.words[name];
  if (text === undefined) throw new Error(`no word for ${name}`);
  if (typeof text === 'object') text = text[plurals.select(values.n)] ?? text.other;
  return text.replace(/\{(\w+)\}/g, (_, key) => String(values[key] ?? ''));
}

// -- days: ISO dates in, ISO dates out; UTC throughout, so that no clock change moves them

export const inWords = (day) => longDate.format(new Date(`${day}T00:00:00Z`));

export function isDay(day) {
  return /^\d{4}-\d\d-\d\d$/.test(day) && !Number.isNaN(Date.parse(`${day}T00:00:00Z`));
}

export function plusDays(day, days) {
  const date = new Date(`${day}T00:00:00Z`);
  date.setUTCDate(date.getUTCDate() + days);
  return date.toISOString().slice(0, 10);
}

// The same day of another month, or that month's last day.
export function plusMonths(day, months) {
  const date = new Date(`${day}T00:00:00Z`);
  const wanted = date.getUTCDate();
  date.setUTCDate(1);
  date.setUTCMonth(date.getUTCMonth() + months);
  const last = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
  date.setUTCDate(Math.min(wanted, last));
  return date.toISOString().slice(0, 10);
}

export const daysBetween = (from, to) => Math.round((Date.parse(to) - Date.parse(from)) / 86_400_000);
