// Dates and numbers as the site writes them. Pages hold ISO dates and numbers with a point; only what is shown changes.

// An ISO date of any precision, `2026-11-22`, `2026-11` or `2026`; what follows a day after a blank stays.
export function dayIn(locale, iso) {
  const [date, ...rest] = String(iso ?? '').split(' ');
  const [year, month, day] = date.split('-');
  const pattern = day ? locale.day : month ? locale.month : 'YYYY';
  return [pattern.replace('YYYY', year).replace('MM', month).replace('DD', day), ...rest].join(' ');
}

export const numberIn = (locale, number) => String(number).replace('.', locale.decimal);

// Source of an expression for a day as it is shown.
export const shownDay = (locale) => locale.day.replace(/\W/g, '\\$&').replace('YYYY', '\\d{4}').replace('MM', '\\d\\d').replace('DD', '\\d\\d');
