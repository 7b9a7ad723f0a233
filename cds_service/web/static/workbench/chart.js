// The chart as the service read it, and the facts that rules rest on.
import {byId, dated, fill, h, icon, say, written} from './dom.js';

// Who the chart is about, above everything; `course` leads to the chart page.
export function showBanner(chart, explanation, course) {
  const patient = chart.answers.patient ?? {};
  const name = nameOf(patient) || chart.patientId;
  const read = explanation?.patient ?? {};
  const facts = [read.sex ?? patient.gender, read.age ? say('years', {n: read.age}) : null,
    patient.birthDate ? say('born', {day: written(patient.birthDate)}) : null];
  const now = (explanation?.chart.therapies ?? []).filter(({current}) => current).map(({agent}) => agent);
  fill(byId('banner'),
    h('p', {class: 'name'}, name),
    h('p', {class: 'quiet'}, dated(facts.filter(Boolean).join(' · ')), now.length ? ` · ${[...new Set(now)].join(', ')}` : ''), course);
}

function nameOf(patient) {
  const [name] = Array.isArray(patient.name) ? patient.name : [];
  return name?.text ?? [...(name?.given ?? []), name?.family].filter(Boolean).join(' ');
}

export function showChart(chart, explanation) {
  const place = byId('chart');
  if (!explanation) {
    fill(place, h('p', {class: 'quiet'}, say('not_read')));
    return;
  }
  const {therapies, results, conditions, procedures, orders} = explanation.chart;
  fill(place,
    h('h3', {}, say('therapies')), lines(therapies.map(therapy)),
    h('h3', {}, say('results')), resultTable(Object.values(results)),
    h('h3', {}, say('conditions')), lines(conditions.map(factOf)),
    procedures.length ? [h('h3', {}, say('procedures')), lines(procedures.map(factOf))] : null,
    orders.length ? [h('h3', {}, say('open_orders')), lines(orders.map(factOf))] : null,
    accounts(chart, explanation));
}

const lines = (items) => (items.length ? h('ul', {class: 'bare'}, items.map((item) => h('li', {}, item)))
  : h('p', {class: 'quiet'}, say('none_known')));

function therapy(one) {
  const form = one.form && one.form !== 'unknown' ? ` (${one.form})` : '';
  const state = one.on_hold ? say('held') : one.current ? say('current') : one.unsure ? say('perhaps_current') : one.end ? say('until', {day: written(one.end)}) : '';
  const start = one.start ? say('since', {day: written(one.start)}) : say('start_unknown');
  return [h('b', {}, one.agent), dated(`${form}, ${start}${state ? `, ${state}` : ''}`)];
}

// One row a marker, newest value first; earlier ones on demand.
function resultTable(series) {
  if (!series.length) return h('p', {class: 'quiet'}, say('none_known'));
  return h('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': say('results')}, h('table', {class: 'results'},
    h('thead', {}, h('tr', {}, ['marker', 'latest', 'result_day'].map((word) => h('th', {scope: 'col'}, say(word))))),
    h('tbody', {}, series.map(([latest, ...earlier]) => h('tr', {},
      h('th', {scope: 'row'}, capital(latest.name)),
      h('td', {}, valueOf(latest), earlier.length ? h('details', {class: 'small'},
        h('summary', {}, `${earlier.length} ${say('earlier').toLowerCase()}`),
        h('ul', {class: 'bare'}, earlier.map((one) => h('li', {}, `${written(one.date)}: `, valueOf(one))))) : null),
      h('td', {}, written(latest.date.slice(0, 10))))))));
}

function valueOf(result) {
  const shown = result.value || result.reported;
  return result.problem ? [shown, ' ', h('span', {class: 'chip warning'}, icon('unknown'), result.problem)] : shown;
}

// What came in, what of it was used, and what not and why: the two add up.
function accounts(chart, {resources, gaps, fetched, read_again: again}) {
  const refused = resources.refused.map((one) => `${one.source}: ${one.detail ?? one.reason}`);
  const missing = gaps.map((gap) => say('gap_read', {
    key: gap.key, problem: gap.detail ?? chart.problems[gap.key] ?? gap.problem,
  }));
  const asked = Object.entries(fetched).map(([key, outcome]) => `${key}: ${outcome}`);
  return h('div', {class: 'accounts small'},
    h('p', {}, say('resources', {n: resources.came_in, used: resources.used})),
    folded('fetched', asked),
    again ? h('p', {class: 'quiet'}, say('read_again')) : null,
    folded('gaps', missing), folded('refused_resources', refused), folded('unasked', chart.unasked));
}

function folded(word, items) {
  if (!items.length) return null;
  return h('details', {}, h('summary', {}, say(word, {n: items.length})), h('ul', {}, items.map((item) => h('li', {}, item))));
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

// A fact of an explanation in one line.
export function factOf(one) {
  if (one.kind === 'result') {
    const notes = [one.conversion, one.problem, one.conflict].filter(Boolean).join('; ');
    return `${capital(one.name)} ${one.value || one.reported}, ${written(one.date)}${notes ? ` [${notes}]` : ''}`;
  }
  if (one.kind === 'therapy') return therapy(one);
  const about = [one.state, written(one.date)].filter(Boolean).join(', ');
  return `${capital(one.name ?? one.agent)}${about ? `, ${about}` : ''}`;
}
