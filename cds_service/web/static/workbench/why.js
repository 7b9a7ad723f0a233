// Why each rule spoke or stayed silent, from the service's own explanation.
import {byId, fill, h, icon, say, told, written} from './dom.js';
import {factOf} from './chart.js';

// What an explanation calls a result, the word for it, and its drawing; in the order in which they matter.
const GROUPS = [
  ['finding', 'finding', 'info'],
  ['unknown', 'unknown', 'unknown'],
  ['snoozed', 'snoozed', 'none'],
  ['silent', 'silent', 'none'],
  ['fine', 'fine', 'fine'],
  ['not applicable', 'not_applicable', 'none'],
];

let rules = [];

byId('filter').addEventListener('input', draw);

export function showRules(explanation) {
  rules = explanation?.rules ?? [];
  draw();
}

function draw() {
  const sought = byId('filter').value.trim().toLowerCase();
  const found = rules.filter((rule) => fits(rule, sought));
  if (!found.length) {
    fill(byId('rules'), h('p', {class: 'quiet'}, say(rules.length ? 'why_nothing' : 'why_none')));
    return;
  }
  const open = new Set([...byId('rules').querySelectorAll('details[open]')].map((each) => each.dataset.is));
  fill(byId('rules'), GROUPS.map(([result, word, drawing]) => {
    const members = found.filter((rule) => rule.result === result);
    if (!members.length) return null;
    const first = !open.size && word !== 'fine' && word !== 'not_applicable';
    return h('details', {class: `group ${word}`, 'data-is': word, open: first || open.has(word) || sought !== ''},
      h('summary', {}, icon(drawing), ' ', say(word), ' ', h('span', {class: 'count'}, members.length)),
      h('ul', {}, members.map((rule) => h('li', {}, ruleOf(rule, open)))));
  }));
}

function fits(rule, sought) {
  return !sought || [rule.id, rule.title, rule.reason, rule.protocol].some((text) => text?.toLowerCase().includes(sought));
}

function ruleOf(rule, open) {
  const title = [h('b', {}, rule.id), ' ', rule.title];
  if (!rule.when) return h('p', {class: 'rule'}, title, h('span', {class: 'quiet'}, ` – ${rule.reason}`));
  return h('details', {class: 'rule', 'data-is': rule.id, open: open.has(rule.id)},
    h('summary', {}, title, h('span', {class: 'quiet'}, ` – ${brief(rule)}`)),
    h('dl', {},
      part('when', rule.when),
      part(resultWord(rule), rule.because?.length ? list(rule.because) : whole(rule)),
      rule.compared ? part('compared', list(rule.compared.map(comparison))) : null,
      rule.schedule ? part('schedule_title', schedule(rule.schedule)) : null,
      rule.facts ? part('rests_on', list(rule.facts.map(factOf))) : null,
      rule.unknown ? part('not_known', list(rule.unknown)) : null),
    rule.next_due ? h('p', {}, say('next_due', {day: written(rule.next_due)})) : null,
    rule.failed ? h('p', {class: 'notice warning'}, say('failed', {error: rule.failed})) : null,
    h('p', {class: 'small quiet'}, say('version', {n: rule.version})));
}

const resultWord = (rule) => GROUPS.find(([result]) => result === rule.result)[1];
const whole = (rule) => (rule.card ? `${rule.reason} (${rule.card})` : rule.reason);
const brief = (rule) => (rule.because?.length ? rule.because[0] : whole(rule));
const list = (items) => (items.length === 1 ? items[0] : h('ul', {}, items.map((item) => h('li', {}, item))));

function part(word, content) {
  return [h('dt', {}, say(word)), h('dd', {}, content)];
}

function comparison(one) {
  const verdict = one.passed === null || one.passed === undefined ? 'cannot_tell' : one.passed ? 'yes_passed' : 'not_passed';
  const notes = [one.limit_of, one.factor ? `× ${one.factor}` : null, one.result ? `${written(one.result.date)}, ${one.result.source}` : null];
  return [`${one.subject} ${one.value} ${one.operator} ${one.limit}: `, h('b', {}, say(verdict)),
    h('span', {class: 'quiet'}, notes.filter(Boolean).map((note) => `; ${note}`).join(''))];
}

function schedule(plan) {
  const start = plan.start ? say('schedule_start', {...plan, start: written(plan.start)}) : say('schedule_no_start');
  const lines = [`${say('schedule', plan)}: ${start}${plan.milestone ? `, ${plan.milestone}` : ''}`];
  if (plan.target) lines.push(say('schedule_target', {target: written(plan.target), overdue_from: written(plan.overdue_from), opens: written(plan.opens)}));
  if (plan.again) lines.push(say('schedule_again', {due: plan.again.due_after_days, overdue: plan.again.overdue_after_days}));
  const tests = plan.tests.map((test) => h('tr', {}, h('th', {scope: 'row'}, test.name),
    h('td', {}, told.words.test_state[test.state]), h('td', {}, test.day ? written(test.day) : test.order)));
  return [list(lines), tests.length ? h('table', {}, h('tbody', {}, tests)) : null].filter(Boolean);
}
