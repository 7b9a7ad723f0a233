// The way to the chart page of the patient who is open here, on the same day.
import {h, say} from './dom.js';
import * as ehr from './ehr.js';

// A link for an example as it is shipped; any other chart is not known there and goes along in a form.
export function courseOf(chart, day, marker) {
  const at = marker ? `#${encodeURIComponent(marker)}` : '';
  if (chart.example && !chart.drafts.length && !chart.placed.length) {
    const query = new URLSearchParams({patient: chart.example, as_of: day});
    return h('a', {class: 'course', href: `chart?${query}${at}`, target: '_blank'}, say('course'));
  }
  const field = (name, value) => h('input', {type: 'hidden', name, value});
  const [request] = ehr.request(chart, 'patient-view', day);
  return h('form', {class: 'course', action: `chart${at}`, method: 'post', enctype: 'multipart/form-data', target: '_blank'},
    field('request', JSON.stringify(request)), field('as_of', day), h('button', {class: 'plain'}, say('course')));
}
