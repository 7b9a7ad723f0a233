// Drafts and placed orders of this sitting.
import {byId, fill, h, say, told} from './dom.js';
import {nameOf} from './ehr.js';

export function listDrugs() {
  const groups = Map.groupBy(told.drugs, ({group}) => group);
  fill(byId('drug'), h('option', {value: ''}, say('drug_choose')), [...groups].map(([label, drugs]) =>
    h('optgroup', {label}, drugs.map(({code, name}) => h('option', {value: code}, name)))));
}

// `act`: tick(draft, selected), remove(draft), place().
export function showOrders(chart, act) {
  fill(byId('drafts'),
    h('h3', {}, say('drafts'), ' ', h('span', {class: 'count'}, chart.drafts.length)),
    chart.drafts.length ? [
      h('ul', {class: 'bare drafts'}, chart.drafts.map((draft, place) => item(draft, place, act))),
      h('p', {class: 'small quiet'}, say('drafts_note')),
      h('button', {type: 'button', class: 'first', onclick: act.place}, say('place'))]
      : h('p', {class: 'quiet'}, say('drafts_none')),
    chart.placed.length ? [
      h('h3', {}, say('placed'), ' ', h('span', {class: 'count'}, chart.placed.length)),
      h('ul', {}, chart.placed.map((resource) => h('li', {}, name(resource)))),
      h('p', {class: 'small quiet'}, say('placed_note'))] : null);
}

const name = (resource) => nameOf(resource) || say('unnamed');

function item(draft, place, act) {
  const id = `draft-box-${place}`;
  const shown = name(draft.resource);
  return h('li', {},
    h('input', {type: 'checkbox', id, checked: draft.selected, onchange: (event) => act.tick(draft, event.target.checked)}),
    h('label', {for: id}, shown, ' ', h('code', {class: 'small quiet'}, draft.resource.resourceType)),
    h('button', {type: 'button', class: 'plain', title: say('remove', {name: shown}), onclick: () => act.remove(draft)},
      h('span', {'aria-hidden': 'true'}, '×'), h('span', {class: 'unseen'}, say('remove', {name: shown}))));
}
