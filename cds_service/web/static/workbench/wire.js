// The request and the response as JSON, and the feedback that was sent.
import {byId, fill, h, icon, number, say} from './dom.js';

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

// `sent`: newest first, {summary, what, status: of the answer, 0 if there was none, 'moved' if it was not sent, ok}.
export function showFeedback(sent) {
  if (!sent.length) {
    fill(byId('feedback'), h('p', {class: 'quiet'}, say('feedback_none')));
    return;
  }
  fill(byId('feedback'), h('ul', {class: 'bare'}, sent.map(({summary, what, status, ok}) => h('li', {},
    h('b', {}, summary), ` – ${what} – `,
    h('span', {class: `chip ${ok ? 'fine' : 'warning'}`}, icon(ok ? 'fine' : 'warning'), outcomeOf(status, ok))))));
}

function outcomeOf(status, ok) {
  if (status === 'moved') return say('feedback_moved');
  if (status === 0) return say('feedback_lost');
  return say(ok ? 'feedback_kept' : 'feedback_failed', {status});
}
