// What changes in the year after a day: the service is asked week by week, then day by day where the cards changed.
import {byId, dated, fill, h, icon, plusDays, say, written} from './dom.js';

const WEEK = 7;
const WEEKS = 53;

let run = 0;

// Forget what was found: it was about another chart, or about this one before an order or a word about a card. Another
// day leaves it, for it names the day that it starts from and is walked along.
export function forgetAhead() {
  run += 1;
  fill(byId('ahead-told'));
}

// `ask(day)` gives the cards of a day; `go(day)` moves time there.
export async function lookAhead(from, ask, go) {
  run += 1;
  const mine = run;
  const place = byId('ahead-told');
  const state = h('p', {class: 'small quiet', role: 'status'});
  fill(place, state);
  const changes = [];
  try {
    let before = await ask(from);
    const first = {day: from, came: before, gone: []};
    for (let week = 1; week <= WEEKS; week += 1) {
      const day = plusDays(from, week * WEEK);
      state.textContent = say('ahead_running', {day: written(day)});
      const then = await ask(day);
      if (mine !== run) return;
      if (differs(before, then)) {
        for (let back = WEEK - 1; back >= 0 && differs(before, then); back -= 1) {
          const between = back ? await ask(plusDays(day, -back)) : then;
          if (mine !== run) return;
          if (differs(before, between)) {
            changes.push({day: plusDays(day, -back), came: missing(between, before), gone: missing(before, between)});
            before = between;
          }
        }
      }
    }
    show(place, first, changes, go);
  } catch (error) {
    if (mine === run) state.textContent = error.message;
  }
}

const differs = (some, others) => missing(some, others).length > 0 || missing(others, some).length > 0;
const missing = (some, others) => some.filter((card) => !others.some(({summary}) => summary === card.summary));

function show(place, first, changes, go) {
  if (!changes.length) {
    fill(place, h('p', {class: 'small', role: 'status'}, say('ahead_none', {day: written(first.day)})));
    return;
  }
  fill(place, h('p', {class: 'small', role: 'status'}, say('ahead_title', {day: written(first.day)})),
    h('ol', {class: 'bare ahead'}, changes.map(({day, came, gone}) => h('li', {},
      h('button', {type: 'button', class: 'plain', onclick: () => go(day)}, h('time', {datetime: day}, written(day))),
      h('ul', {class: 'bare'},
        came.map(({indicator, summary}) => h('li', {}, h('span', {class: `chip ${indicator}`}, icon(indicator), say(indicator)), ' ', dated(summary))),
        gone.map(({summary}) => h('li', {class: 'quiet'}, h('s', {}, dated(summary)), ` ${say('ahead_gone')}`)))))));
}
