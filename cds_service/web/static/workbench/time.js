// The date control: which day the page takes for today.
import {byId, daysBetween, inWords, isDay, plusDays, plusMonths, say, told} from './dom.js';

export const time = {day: told.today};

let pending = 0;

// `moved` is called when time has come to rest on another day.
export function startTime(moved) {
  const go = (day, patience = 0) => {
    if (!isDay(day)) return;
    time.day = day;
    showDay(0);
    clearTimeout(pending);
    if (patience) pending = setTimeout(moved, patience);
    else moved();
  };
  byId('as-of').addEventListener('change', (event) => go(event.target.value));
  byId('slider').addEventListener('input', (event) => go(plusDays(told.today, Number(event.target.value)), 150));
  for (const button of document.querySelectorAll('.steps button')) {
    const {months, days} = button.dataset;
    button.addEventListener('click', () => {
      const still = months === '0' && days === '0';
      go(still ? told.today : plusDays(plusMonths(time.day, Number(months)), Number(days)));
    });
  }
  showDay(0);
  return go;
}

// The day in the control; `left`: how many later entries were left out of the chart; `walked`: the workbench has
// feedback of earlier days that the service does not know.
export function showDay(left, walked = false) {
  const distance = daysBetween(told.today, time.day);
  byId('as-of').value = time.day;
  byId('as-of-long').textContent = inWords(time.day);
  byId('slider').value = distance;
  byId('slider').setAttribute('aria-valuetext', inWords(time.day));
  const n = Math.abs(distance);
  const word = distance === 0 ? (walked ? 'is_today_walked' : 'is_today') : distance > 0 ? 'moved_on' : left ? 'moved_back_left_out' : 'moved_back';
  byId('moved').textContent = say(word, {n, left});
}
