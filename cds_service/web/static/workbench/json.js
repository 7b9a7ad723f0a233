// JSON that keeps the digits of numbers: a laboratory's 54.0 stays 54.0, where the browser can do that.

const keeps = typeof JSON.rawJSON === 'function';

export function parse(text) {
  if (!keeps) return JSON.parse(text);
  return JSON.parse(text, (_, value, context) =>
    typeof value === 'number' && context.source !== String(value) ? JSON.rawJSON(context.source) : value);
}

export const isPlain = (value) => value !== null && typeof value === 'object' && !(keeps && JSON.isRawJSON(value));
