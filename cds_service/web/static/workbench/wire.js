// The request and the response as JSON, and the feedback that was sent.
import {byId, dated, fill, h, icon, number, say, written} from './dom.js';

export function showWire(request, response) {
  fill(byId('wire'), pane('request', request), pane('response', response));
}

function pane(word, value) {
  const text = value === null ? '' : JSON.stringify(value, null, 2);
  const outcome = h('span', {class: 'small quiet', role: 'status'});
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      outcome.textContent = say('copied');
    } catch {
      outcome.textContent = say('copy_failed');
    }
  };
  return h('details', {},
    h('summary', {}, say(word), ' ', h('span', {class: 'small quiet'}, text.length < 1024 ? `${text.length} B` : `${number((text.length / 1024).toFixed(1))} KiB`)),
    h('div', {class: 'row'}, h('button', {type: 'button', onclick: copy}, say('copy')), outcome),
    h('pre', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': say(word)}, text));
}

// `sent`: newest first, {summary, what, day, kept: 'records' or 'sitting', status: of the answer, 0 for none, ok}.
export function showFeedback(sent) {
  if (!sent.length) {
    fill(byId('feedback'), h('p', {class: 'quiet'}, say('feedback_none')));
    return;
  }
  fill(byId('feedback'), h('ul', {class: 'bare'}, sent.map(({summary, what, day, kept, status, ok}) => h('li', {},
    h('b', {}, summary), ` – ${what} – `,
    h('span', {class: `chip ${ok ? 'fine' : 'warning'}`}, icon(ok ? 'fine' : 'warning'), outcomeOf(status, ok)),
    ok && kept === 'sitting' ? h('span', {class: 'small quiet'}, ' ', dated(say('feedback_sitting', {day: written(day)}))) : null))));
}

function outcomeOf(status, ok) {
  if (status === 0) return say('feedback_lost');
  return say(ok ? 'feedback_kept' : 'feedback_failed', {status});
}
