// The cards of an answer, as an EHR shows them.
import {byId, dated, fill, h, icon, say} from './dom.js';
import {markdown, safe} from './markdown.js';

const INDICATORS = ['critical', 'warning', 'info'];

// `act` holds what the buttons do: accept(card, suggestion), override(card, reason, comment), dismiss(card);
// course(marker) makes the way to the chart page, where a SMART link leads: the workbench has no sign-in to launch it.
export function showCards(cards, act) {
  fill(byId('cards'), cards.map((card, place) => cardOf(card, `card-${place}`, act)));
}

// `dismissed`: there were cards, and the user has put them away.
export function showNone(dismissed) {
  fill(byId('cards'), h('div', {class: 'panel none'}, h('p', {class: 'strong'}, icon('none'), ' ', say('no_cards')),
    h('p', {class: 'quiet'}, say(dismissed ? 'dismissed_note' : 'no_cards_note'))));
}

// An answer that is no card: the status, and what the OperationOutcome says.
export function showRefusal(status, body) {
  const issues = (body?.issue ?? []).map(({diagnostics, code}) => h('li', {}, diagnostics ?? code));
  fill(byId('cards'), h('div', {class: 'notice warning', role: 'alert'},
    h('p', {class: 'chip warning'}, icon('warning'), status ? say('refused', {status}) : say('unreachable')),
    issues.length ? h('ul', {}, issues) : null,
    h('p', {class: 'small'}, say('refused_note'))));
}

function cardOf(card, id, act) {
  const indicator = INDICATORS.includes(card.indicator) ? card.indicator : 'info';
  return h('article', {class: `card ${indicator}`, 'aria-labelledby': id},
    h('header', {},
      h('p', {class: `chip ${indicator}`}, icon(indicator), say(indicator)),
      h('h3', {id}, dated(card.summary))),
    card.detail ? markdown(card.detail) : null,
    suggestionsOf(card, act),
    linksOf(card, act),
    footerOf(card, id, act));
}

function suggestionsOf(card, act) {
  if (!card.suggestions?.length) return null;
  return h('div', {class: 'suggestions row', role: 'group', 'aria-label': say('suggestions')},
    card.suggestions.map((suggestion) =>
      h('button', {type: 'button', class: suggestion.isRecommended ? 'first' : null, onclick: () => act.accept(card, suggestion)},
        suggestion.label)));
}

function linksOf(card, act) {
  const links = (card.links ?? []).filter(({url}) => safe(url));
  if (!links.length) return null;
  return h('ul', {class: 'links', 'aria-label': say('links')}, links.map((link) =>
    h('li', {}, link.type === 'smart' ? act.course(markerOf(link)) : h('a', {href: safe(link.url), target: '_blank', rel: 'noopener noreferrer'}, link.label))));
}

// The marker that a link to the chart page is about; '' if it does not say.
function markerOf({appContext}) {
  try {
    return String(JSON.parse(appContext).marker ?? '');
  } catch {
    return '';
  }
}

function sourceOf(source) {
  const address = safe(source.url);
  const label = address ? h('a', {href: address, target: '_blank', rel: 'noopener noreferrer'}, source.label) : source.label;
  return h('p', {class: 'source small quiet'}, `${say('source_of_card')}: `, label ?? '');
}

// Source, and what puts the card away; the form for a reason opens below.
function footerOf(card, id, act) {
  const reasons = card.overrideReasons ?? [];
  const named = h('span', {class: 'unseen'}, ` ${card.summary}`);
  const dismiss = h('button', {type: 'button', class: 'plain', onclick: () => act.dismiss(card)}, say('dismiss'), named);
  if (!reasons.length) return h('footer', {}, h('div', {class: 'foot'}, sourceOf(card.source ?? {}), dismiss));
  const form = overrideOf(card, reasons, id, act);
  const toggle = h('button', {type: 'button', class: 'plain', 'aria-expanded': 'false', 'aria-controls': form.id,
    onclick: () => open(form.hidden)}, say('override'), named.cloneNode(true));
  const open = (is) => {
    form.hidden = !is;
    toggle.setAttribute('aria-expanded', String(is));
  };
  form.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape') return;
    open(false);
    toggle.focus();
  });
  return h('footer', {}, h('div', {class: 'foot'}, sourceOf(card.source ?? {}), toggle, dismiss), form);
}

function overrideOf(card, reasons, id, act) {
  const reason = h('select', {id: `${id}-reason`}, reasons.map((each, place) => h('option', {value: place}, each.display)));
  const comment = h('input', {id: `${id}-comment`, autocomplete: 'off', maxlength: 500});
  const send = (event) => {
    event.preventDefault();
    act.override(card, reasons[reason.value], comment.value.trim());
  };
  return h('form', {class: 'override', id: `${id}-override`, hidden: true, onsubmit: send},
    h('div', {class: 'two'},
      h('div', {}, h('label', {for: reason.id}, say('reason')), reason),
      h('div', {}, h('label', {for: comment.id}, say('comment')), comment)),
    h('button', {class: 'first'}, say('override_send')));
}
