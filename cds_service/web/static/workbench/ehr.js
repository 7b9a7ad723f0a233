// What an EHR does around a call: hold the chart, answer the prefetch searches, keep drafts, build the request.
// Nothing here touches the page.
import {isPlain, parse} from './json.js';

const USER = 'Practitioner/example';
const DATES = ['effectiveDateTime', 'effectiveInstant', 'authoredOn', 'performedDateTime', 'recordedDate', 'onsetDateTime',
  'whenHandedOver', 'dateAsserted', 'issued'];
const GONE = [404, 410];
const PERIODS = ['effectivePeriod', 'performedPeriod', 'onsetPeriod'];

export class ChartError extends Error {
  constructor(word, values = {}) {
    super(word);
    this.word = word;
    this.values = values;
  }
}

// -- the chart: for each prefetch key what the EHR answers

// A chart: {patientId, answers: {key: JSON}, drafts: [{resource, selected}], placed: [resource], fhirServer,
// unasked: [reference of a resource that no search asks for], problems: {key: why it could not be read}}
function chart(patientId, answers, more = {}) {
  return {patientId, answers, drafts: [], placed: [], fhirServer: '', unasked: [], problems: {}, ...more};
}

// The chart in what somebody pasted: a Bundle, or a whole hook request.
export function fromPasted(value, templates) {
  return isPlain(value) && isPlain(value.context) && value.context.patientId ? fromRequest(value) : fromBundle(value, templates);
}

// The chart in a ready hook request.
export function fromRequest(request) {
  const {patientId, draftOrders, selections} = request.context;
  const entries = draftOrders?.entry ?? [];
  if (!Array.isArray(entries) || !entries.every((entry) => isPlain(entry?.resource))) throw new ChartError('bad_drafts');
  const drafts = entries.map(({resource}) => ({
    resource, selected: !selections || selections.includes(reference(resource)),
  }));
  return chart(patientId, request.prefetch ?? {}, {drafts});
}

// The chart in a Bundle: each search of `templates` ({key: template}) is answered as a FHIR server would.
function fromBundle(bundle, templates) {
  if (!isPlain(bundle) || bundle.resourceType !== 'Bundle') throw new ChartError('not_bundle');
  const entries = Array.isArray(bundle.entry) ? bundle.entry : [];
  const resources = resolved(entries.filter((entry) => isPlain(entry?.resource)));
  const strays = entries.flatMap((entry, place) => (isPlain(entry?.resource) ? [] : [`entry[${place}]`]));
  const patients = resources.filter(({resourceType}) => resourceType === 'Patient');
  if (patients.length === 0) throw new ChartError('no_patient');
  if (patients.length > 1) throw new ChartError('many_patients', {n: patients.length});
  const patient = patients[0].id ? patients[0] : {...patients[0], id: 'pasted'};
  const asked = new Set([patients[0]]);
  const answers = {};
  for (const [key, template] of Object.entries(templates)) {
    if (!template.includes('?')) {
      answers[key] = patient;
      continue;
    }
    const found = search(template, resources);
    found.matches.concat(found.included).forEach((resource) => asked.add(resource));
    answers[key] = searchset(found.matches, found.included);
  }
  const unasked = resources.filter((resource) => !asked.has(resource)).map(reference);
  return chart(patient.id, answers, {unasked: [...unasked, ...strays]});
}

// The chart on a FHIR server: the browser reads each template. A search that fails leaves its key out, as EHRs do. If
// nothing can be read (the server may not let pages read it), the service is left to fetch everything: `unread` says why.
export async function fromServer(base, patientId, templates) {
  const server = base.replace(/\/+$/, '');
  const answers = {};
  const problems = {};
  await Promise.all(Object.entries(templates).map(async ([key, template]) => {
    try {
      const answer = await fetch(`${server}/${filled(template, patientId)}`, {
        headers: {Accept: 'application/fhir+json'}, credentials: 'omit', referrerPolicy: 'no-referrer',
      });
      if (GONE.includes(answer.status) && !template.includes('?')) throw new ChartError('no_such_patient', answer);
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      answers[key] = parse(await answer.text());
    } catch (error) {
      if (error instanceof ChartError) throw error;
      problems[key] = error.message;
    }
  }));
  const unread = Object.keys(answers).length ? '' : Object.values(problems)[0];
  return chart(patientId, answers, {fhirServer: server, problems, unread});
}

// A template with the patient in it, each value encoded: `|` in an address is refused by some servers.
export function filled(template, patientId) {
  const [path, query] = template.replaceAll('{{context.patientId}}', patientId).split('?');
  if (query === undefined) return path.split('/').map(encodeURIComponent).join('/');
  const parameters = [...new URLSearchParams(query)];
  return `${path}?${parameters.map((pair) => pair.map(encodeURIComponent).join('=')).join('&')}`;
}

// The resources of a Bundle with every reference to an entry's fullUrl turned into Type/id.
function resolved(entries) {
  const names = new Map(entries.filter(({fullUrl, resource}) => fullUrl && resource.id)
    .map(({fullUrl, resource}) => [fullUrl, reference(resource)]));
  const walk = (value) => {
    if (Array.isArray(value)) return value.map(walk);
    if (!isPlain(value)) return value;
    const copy = Object.fromEntries(Object.entries(value).map(([name, part]) => [name, walk(part)]));
    if (typeof copy.reference === 'string') copy.reference = names.get(copy.reference) ?? copy.reference;
    return copy;
  };
  return entries.map(({resource}) => walk(resource));
}

// What a search finds: by type, by code, by status, and the Medication resources that it includes.
function search(template, resources) {
  const [type, query] = template.split('?');
  const parameters = new URLSearchParams(query);
  const codes = parameters.get('code')?.split(',');
  const statuses = parameters.get('status')?.split(',');
  const matches = resources.filter((resource) => resource.resourceType === type
    && (!codes || hasCode(resource.code, codes))
    && (!statuses || statuses.includes(resource.status)));
  const wanted = new Set(parameters.has('_include')
    ? matches.map(({medicationReference}) => medicationReference?.reference).filter(Boolean) : []);
  const included = resources.filter((resource) => resource.resourceType === 'Medication' && wanted.has(reference(resource)));
  return {matches, included};
}

function hasCode(concept, codes) {
  const codings = Array.isArray(concept?.coding) ? concept.coding : [];
  return codings.some((coding) => codes.includes(`${coding?.system}|${coding?.code}`) || codes.includes(coding?.code));
}

function searchset(matches, included = []) {
  const newestFirst = matches.toSorted((one, other) => (dateOf(other) < dateOf(one) ? -1 : dateOf(other) > dateOf(one) ? 1 : 0));
  const entry = [...newestFirst.map((resource) => ({resource, search: {mode: 'match'}})),
    ...included.map((resource) => ({resource, search: {mode: 'include'}}))];
  return {resourceType: 'Bundle', type: 'searchset', total: matches.length, ...(entry.length ? {entry} : {})};
}

export function reference(resource) {
  return `${resource.resourceType}/${resource.id ?? '?'}`;
}

// The date of a resource as it was written, '' for none.
export function dateOf(resource) {
  const written = DATES.map((name) => resource[name]).concat(PERIODS.map((name) => resource[name]?.start));
  return String(written.find((date) => typeof date === 'string') ?? '');
}

// -- the chart on another day

// The answers without entries dated after `day`, and how many those are.
function upTo(day, answers) {
  let left = 0;
  const cut = (answer) => {
    if (!isPlain(answer) || !Array.isArray(answer.entry)) return answer;
    const {entry, ...rest} = answer;
    const kept = entry.filter((each) => !isPlain(each?.resource) || dateOf(each.resource).slice(0, 10) <= day);
    left += entry.length - kept.length;
    if (kept.length === entry.length) return answer;
    return {...rest, total: kept.length, ...(kept.length ? {entry: kept} : {})};
  };
  return [Object.fromEntries(Object.entries(answers).map(([key, answer]) => [key, cut(answer)])), left];
}

// -- orders

let made = 0;

// A draft of what a suggestion proposes, or of a drug; it gets an id as an EHR would give it.
export function draft(resource) {
  made += 1;
  return {resource: {...resource, id: `draft-${made}`, status: 'draft'}, selected: true};
}

export function medicationRequest(drug, system, patientId, day) {
  return {
    resourceType: 'MedicationRequest',
    status: 'draft',
    intent: 'order',
    medicationCodeableConcept: {coding: [{system, code: drug.code, display: drug.name}], text: drug.name},
    subject: {reference: `Patient/${patientId}`},
    authoredOn: day,
  };
}

export function nameOf(resource) {
  const concept = resource.code ?? resource.medicationCodeableConcept;
  return concept?.text ?? concept?.coding?.find((coding) => coding?.display)?.display ?? '';
}

// The drafts become orders of the chart.
export function place(chart, day) {
  const placed = chart.drafts.map(({resource}) => ({...resource, status: 'active', authoredOn: day}));
  return {...chart, drafts: [], placed: [...chart.placed, ...placed]};
}

// -- the request

// The hook request of this moment, and how many later entries were left out of its chart.
export function request(chart, hook, day) {
  const [prefetch, left] = upTo(day, chart.answers);
  const drafts = chart.drafts.map(({resource}) => resource);
  const inChart = [...chart.placed, ...(hook === 'patient-view' ? drafts.filter(isTest) : [])];
  add(prefetch, inChart.filter((resource) => isTest(resource) && dateOf(resource) <= day), 'serviceRequests');
  add(prefetch, inChart.filter((resource) => !isTest(resource) && dateOf(resource) <= day), 'medicationRequests');
  const context = {userId: USER, patientId: chart.patientId};
  if (hook === 'order-select') {
    context.selections = chart.drafts.filter(({selected}) => selected).map(({resource}) => reference(resource));
  }
  if (hook !== 'patient-view') {
    context.draftOrders = {resourceType: 'Bundle', type: 'collection', entry: drafts.map((resource) => ({resource}))};
  }
  const sent = {hook, hookInstance: crypto.randomUUID(), ...(chart.fhirServer ? {fhirServer: chart.fhirServer} : {}), context};
  return [Object.keys(prefetch).length ? {...sent, prefetch} : sent, left];
}

const isTest = (resource) => resource.resourceType === 'ServiceRequest';

// Put resources before the entries of a search's answer; a key that the EHR could not answer stays as it is.
function add(prefetch, resources, key) {
  const answer = prefetch[key];
  if (!resources.length || !isPlain(answer) || answer.resourceType !== 'Bundle') return;
  const entry = [...resources.map((resource) => ({resource, search: {mode: 'match'}})), ...(answer.entry ?? [])];
  prefetch[key] = {...answer, total: entry.length, entry};
}
