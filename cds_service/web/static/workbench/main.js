// The workbench: one sitting of a clinician with one chart. State here, what is shown in the other modules.
import {forgetAhead, lookAhead} from './ahead.js';
import {showCards, showNone, showRefusal} from './cards.js';
import {showBanner, showChart} from './chart.js';
import {courseOf} from './course.js';
import {byId, fill, say, told, written} from './dom.js';
import * as ehr from './ehr.js';
import {parse} from './json.js';
import {listDrugs, showOrders} from './orders.js';
import {showDay, startTime, time} from './time.js';
import {showRules} from './why.js';
import {showFeedback, showWire} from './wire.js';

const HERE = document.baseURI;
const services = {}; // hook -> {id, prefetch}
const sitting = {
  id: crypto.randomUUID(), chart: null, hook: 'patient-view', status: '', feedback: [],
  cards: [],
  asked: null, // the call that gave them: feedback about them goes where it went
  calls: 0, // how many were begun; what an earlier one brings is not shown
  opens: 0, // the same for charts
  opened: 0, // which of them brought the chart that is open
  walked: false, // feedback was given on a day before today, which the records of the service do not hold
};

// -- talking to the service

async function send(path, body) {
  const began = performance.now();
  const response = await fetch(new URL(path, HERE), body === undefined ? {} : {
    method: 'POST', headers: {'Content-Type': 'application/json', Accept: 'application/json'}, body: JSON.stringify(body),
  });
  const text = await response.text();
  let content = null;
  try {
    content = text ? parse(text) : null;
  } catch {
    content = {text};
  }
  return {status: response.status, ok: response.ok, body: content, ms: Math.max(1, Math.round(performance.now() - began))};
}

const lost = () => ({status: 0, ok: false, body: null, ms: 0});

// What an EHR sends, on a day: today to the service's own address, else by way of the workbench.
const asking = (day, hook) => ({day, hook, direct: day === told.today && !sitting.walked});
const post = (what, {day, hook, direct}, request) => (direct
  ? send(`cds-services/${services[hook].id}${what === 'call' ? '' : `/${what}`}`, request)
  : send(`workbench/${what}`, {service: services[hook].id, as_of: day, request, sitting: sitting.id})).catch(lost);

// One call of the service of a hook on a day.
async function callOn(day, hook) {
  const [request, left] = ehr.request(sitting.chart, hook, day);
  const asked = asking(day, hook);
  const answer = await post('call', asked, request);
  // A body without a list of cards, such as a proxy's page, is no answer: it must not look like one without cards.
  return {request, left, asked, answer: {...answer, ok: answer.ok && Array.isArray(answer.body?.cards)}};
}

// -- a call, and everything that shows it

async function call(note = '', focus = false) {
  if (!sitting.chart) return;
  sitting.calls += 1;
  const mine = sitting.calls;
  busy('call', true);
  try {
    await ask(() => mine === sitting.calls, note, focus);
  } finally {
    if (mine === sitting.calls) busy('call', false);
  }
}

async function ask(isLast, note, focus) {
  showActs();
  showOrders(sitting.chart, orderActs);
  const {request, left, asked, answer} = await callOn(time.day, sitting.hook);
  if (!isLast()) return;
  Object.assign(sitting, {asked, cards: answer.ok ? answer.body.cards : []});
  draw(answer, note);
  showDay(left, sitting.walked);
  showWire(request, answer.body);
  if (focus) byId('cards-title').focus();
  const why = await send('workbench/explain', {as_of: time.day, request, sitting: sitting.id}).catch(lost);
  if (!isLast()) return;
  const explanation = why.ok ? why.body : null;
  showBanner(sitting.chart, explanation, course());
  showChart(sitting.chart, explanation);
  showRules(explanation);
}

// The way to the chart page of this patient on this day.
const course = (marker = '') => courseOf(sitting.chart, time.day, marker);

// Busy while a chart is read, and until a call is answered and explained.
const underWay = {open: false, call: false};

function busy(what, is) {
  underWay[what] = is;
  byId('answer').setAttribute('aria-busy', String(underWay.open || underWay.call));
}

// `dismissed`: the answer was drawn before, and the user has put a card away since.
function draw(answer, note = '', dismissed = false) {
  const n = sitting.cards.length;
  if (!answer.ok) showRefusal(answer.status, answer.body);
  else if (n === 0) showNone(dismissed);
  else showCards(sitting.cards, cardActs);
  const counts = ['critical', 'warning', 'info'].map((word) => [word, sitting.cards.filter(({indicator}) => indicator === word).length])
    .filter(([, count]) => count).map(([word, count]) => `${count} ${say(word).toLowerCase()}`).join(', ');
  const counted = answer.ok ? `${say('card_count', {n})}${counts ? ` (${counts})` : ''}` : say('refused', {status: answer.status});
  sitting.status = [note, counted, answer.ms ? say('answered', answer) : ''].filter(Boolean).join(' · ');
  byId('status').textContent = sitting.status;
}

function showActs() {
  for (const button of byId('acts').children) button.setAttribute('aria-pressed', String(button.dataset.hook === sitting.hook));
}

// -- the chart

async function open(load) {
  sitting.opens += 1;
  const mine = sitting.opens;
  const problem = byId('who-problem');
  const tell = (word, values) => {
    problem.textContent = say(word, values);
    problem.hidden = false;
  };
  problem.hidden = true;
  busy('open', true);
  try {
    await discover();
    const [chart, hook] = await load();
    if (mine !== sitting.opens) return;
    if (!Object.keys(services).includes(hook)) throw new ehr.ChartError('no_such_hook', {hook});
    showBanner(chart, null, courseOf(chart, time.day)); // first: where it throws, the chart before stays whole
    Object.assign(sitting, {chart, hook, cards: [], status: '', opened: mine});
    showNothing();
    if (chart.unread) tell('server_unread', {error: chart.unread});
    await call();
  } catch (error) {
    if (mine !== sitting.opens) return;
    byId('status').textContent = sitting.status;
    if (error instanceof ehr.ChartError) tell(error.word, error.values);
    else tell('not_opened', {error: error.message});
    if (sitting.chart && sitting.opened !== mine) problem.append(` ${say('still_open')}`);
  } finally {
    if (mine === sitting.opens) busy('open', false);
  }
}

// What the service offers, asked until it has told it once.
async function discover() {
  if (Object.keys(services).length) return;
  const answer = await send('cds-services').catch(lost);
  if (!answer.ok || !Array.isArray(answer.body?.services)) throw new ehr.ChartError('no_discovery', answer);
  for (const service of answer.body.services) services[service.hook] = service;
}

// Until the service has answered, nothing of the chart before stands beside the new one.
function showNothing() {
  for (const place of ['cards', 'chart', 'wire']) fill(byId(place));
  showRules(null);
  forgetAhead();
  byId('status').textContent = say('reading');
}

async function openExample() {
  const answer = await send(`workbench/examples/${byId('example').value}`).catch(lost);
  if (!answer.ok) throw new ehr.ChartError('example_failed', answer);
  return [{...ehr.fromRequest(answer.body), example: byId('example').value}, answer.body.hook];
}

async function openBundle() {
  let value;
  try {
    value = parse(byId('bundle').value);
  } catch (error) {
    throw new ehr.ChartError('not_json', {error: error.message});
  }
  return [ehr.fromPasted(value, services['patient-view'].prefetch), value.hook ?? 'patient-view'];
}

async function openServer() {
  const base = byId('server').value.trim();
  const patient = byId('server-patient').value.trim();
  if (!/^https?:\/\/./.test(base)) throw new ehr.ChartError('no_server');
  if (!patient) throw new ehr.ChartError('no_id');
  byId('status').textContent = say('reading');
  return [await ehr.fromServer(base, patient, services['patient-view'].prefetch), 'patient-view'];
}

// -- orders

const orderActs = {
  tick(draft, selected) {
    draft.selected = selected;
  },
  remove(draft) {
    sitting.chart.drafts = sitting.chart.drafts.filter((each) => each !== draft);
    forgetAhead();
    if (!sitting.chart.drafts.length) sitting.hook = 'patient-view';
    call('', true);
  },
  place() {
    sitting.chart = ehr.place(sitting.chart, time.day);
    sitting.hook = 'patient-view';
    forgetAhead();
    call('', true);
  },
};

function draftDrug(event) {
  event.preventDefault();
  const drug = told.drugs.find(({code}) => code === byId('drug').value);
  if (!drug || !sitting.chart) return;
  const resource = ehr.medicationRequest(drug, told.rxnorm, sitting.chart.patientId, time.day);
  sitting.chart.drafts.push(ehr.draft(resource));
  forgetAhead();
  sitting.hook = 'order-select';
  byId('drug').value = '';
  call(say('drafted', {n: 1}));
}

function fire(hook) {
  const {drafts} = sitting.chart;
  const lacks = hook === 'patient-view' ? '' : !drafts.length ? 'needs_draft'
    : hook === 'order-select' && !drafts.some(({selected}) => selected) ? 'needs_selection' : '';
  if (lacks) {
    byId('status').textContent = say(lacks);
    return;
  }
  sitting.hook = hook;
  call();
}

// -- what can be done with a card

const cardActs = {
  course,
  accept(card, suggestion) {
    const note = apply(suggestion.actions ?? []);
    reportAndCall(card, {outcome: 'accepted', acceptedSuggestions: [{id: suggestion.uuid}]}, say('accepted'), note);
  },
  override(card, reason, comment) {
    const overrideReason = {reason, ...(comment ? {userComment: comment} : {})};
    reportAndCall(card, {outcome: 'overridden', overrideReason}, say('overridden_because', {reason: reason.display}));
  },
  async dismiss(card) {
    await report(card, {outcome: 'overridden'}, say('overridden'));
    if (!sitting.cards.includes(card)) return; // of an answer before
    sitting.cards = sitting.cards.filter((each) => each !== card);
    draw({ok: true}, say('dismissed', {n: 1}), true);
    byId('cards-title').focus();
  },
};

// A word about a card, then a call that knows of it; none if another chart was opened meanwhile. The focus stays where
// it is if the user has gone on.
async function reportAndCall(card, outcome, what, note = '') {
  const {calls, opened} = sitting;
  await report(card, outcome, what);
  if (opened === sitting.opened) call(note, calls === sitting.calls);
}

// Do to the drafts what the actions of a suggestion say; what was done, in words.
function apply(actions) {
  const {chart} = sitting;
  const created = actions.filter(({type, resource}) => type === 'create' && resource);
  chart.drafts.push(...created.map(({resource}) => ehr.draft(resource)));
  for (const {type, resource, resourceId} of actions) {
    const target = resourceId ?? (resource ? ehr.reference(resource) : '');
    const at = chart.drafts.findIndex((draft) => ehr.reference(draft.resource) === target);
    if (at >= 0 && type === 'delete') chart.drafts.splice(at, 1);
    if (at >= 0 && type === 'update') chart.drafts[at] = {...chart.drafts[at], resource};
  }
  return created.length ? say('drafted', {n: created.length}) : say('changed');
}

// Feedback, really sent (CDS Hooks 2.0, Feedback). That of another day is kept for this sitting, not in the records.
async function report(card, outcome, what) {
  const {asked} = sitting;
  const {day} = asked;
  const outcomeTimestamp = day === told.today ? new Date().toISOString() : `${day}T12:00:00Z`;
  const kept = asked.direct ? 'records' : 'sitting';
  const answer = await post('feedback', asked, {feedback: [{card: card.uuid, ...outcome, outcomeTimestamp}]});
  if (answer.ok && day < told.today) sitting.walked = true;
  sitting.feedback.unshift({summary: card.summary, what, day, kept, status: answer.status, ok: answer.ok});
  showFeedback(sitting.feedback);
  forgetAhead();
}

// -- start

function choose(source) {
  for (const button of byId('sources').children) button.setAttribute('aria-pressed', String(button.dataset.source === source));
  for (const form of document.querySelectorAll('[data-form]')) form.hidden = form.dataset.form !== source;
  byId('who-problem').hidden = true;
}

function stepExample(by) {
  const select = byId('example');
  select.selectedIndex = (select.selectedIndex + by + select.length) % select.length;
  open(openExample);
}

function listen() {
  byId('sources').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button) choose(button.dataset.source);
  });
  byId('example').addEventListener('change', () => open(openExample));
  for (const button of document.querySelectorAll('[data-step]')) {
    button.addEventListener('click', () => stepExample(Number(button.dataset.step)));
  }
  const loaders = {example: openExample, bundle: openBundle, server: openServer};
  for (const form of document.querySelectorAll('[data-form]')) {
    form.addEventListener('submit', (event) => {
      event.preventDefault();
      open(loaders[form.dataset.form]);
    });
  }
  byId('bundle-file').addEventListener('change', async (event) => {
    const [file] = event.target.files;
    if (!file) return;
    byId('bundle').value = await file.text();
    open(openBundle);
  });
  byId('acts').addEventListener('click', (event) => {
    const button = event.target.closest('button');
    if (button && sitting.chart) fire(button.dataset.hook);
  });
  byId('drug-form').addEventListener('submit', draftDrug);
}

async function start() {
  listDrugs();
  showFeedback(sitting.feedback);
  const go = startTime(() => call());
  byId('look-ahead').addEventListener('click', () => {
    if (!sitting.chart) return;
    lookAhead(time.day, async (day) => {
      const {answer} = await callOn(day, 'patient-view');
      if (!answer.ok) throw new Error(say('ahead_failed', {status: answer.status, day: written(day)}));
      return answer.body.cards;
    }, go);
  });
  listen();
  await open(openExample);
}

start();
