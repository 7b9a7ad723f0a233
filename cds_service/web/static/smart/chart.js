// Back from the EHR's sign-in: change the code for a token, read the chart with it, and have it drawn. The token goes
// to the FHIR server that gave it and nowhere else; what the chart holds goes to this service, without the token.

import { enliven } from "../chart.js";
import { dayIn } from "../locale.js";
import { getJson, ofTheEhr, parsed, run, say, storage, Told, told, words } from "./common.js";

const SESSION = "smart session";
const PATIENCE = 10 * 60 * 1000; // for the sign-in

/** What was remembered for this answer of the EHR; it serves once. */
function remembered(query) {
  const name = `smart ${query.get("state")}`;
  const kept = parsed(storage().getItem(name) ?? "");
  storage().removeItem(name);
  if (kept === null || Date.now() - kept.since > PATIENCE) throw new Told(words.bad_state);
  if ((query.has("iss") || kept.namesItself) && query.get("iss") !== kept.issuer) throw new Told(words.bad_issuer);
  return kept;
}

/** A new session of the answer that the EHR has sent the browser back with (RFC 6749, 4.1.3; RFC 7636; RFC 9207). */
async function opened(query) {
  const kept = remembered(query);
  if (query.has("error")) throw new Told(query.get("error") === "access_denied" ? words.denied : words.refused);
  const answer = await getJson(ofTheEhr(kept.token, kept.iss), {
    method: "POST",
    headers: { "Content-Type": "application/x-www-form-urlencoded" },
    body: new URLSearchParams({
      grant_type: "authorization_code",
      code: query.get("code") ?? "",
      redirect_uri: `${told.url}/chart`,
      client_id: kept.client,
      code_verifier: kept.verifier,
    }),
  });
  const given = answer.ok ? parsed(answer.text) : null;
  if (typeof given?.access_token !== "string" || given.token_type?.toLowerCase() !== "bearer") throw new Told(words.refused);
  if (typeof given.patient !== "string") throw new Told(words.no_patient);
  const { access_token: token, patient, appContext = "", need_patient_banner: banner = true } = given;
  return { iss: kept.iss, token, patient, appContext, banner };
}

async function session() {
  const query = new URLSearchParams(location.search);
  const back = query.has("code") || query.has("error") || query.has("state");
  if (!back) {
    const kept = parsed(storage().getItem(SESSION) ?? "");
    if (kept === null) throw new Told(words.no_session);
    return kept;
  }
  history.replaceState(null, "", location.pathname); // the code is spent: it shall not stand in the address
  storage().removeItem(SESSION);
  const begun = await opened(query);
  storage().setItem(SESSION, JSON.stringify(begun));
  return begun;
}

// -- the chart -----------------------------------------------------------------------------------------

/** A URL of the FHIR server of the session; everything else is refused before the token is put on it. */
function ofTheServer(address, iss) {
  const url = new URL(address, `${iss}/`);
  const base = new URL(iss);
  const below = url.pathname === base.pathname || url.pathname.startsWith(`${base.pathname.replace(/\/$/, "")}/`);
  if (url.origin !== base.origin || url.username || !below) throw new Told(words.not_of_ehr);
  return url;
}

/** The resource, or the pages of the search, as text; none if the EHR did not give it. */
async function read(template, { iss, token, patient }) {
  const pages = [];
  let next = `${iss}/${template.replaceAll("{{context.patientId}}", encodeURIComponent(patient))}`;
  while (next && pages.length < told.most) {
    let answer;
    try {
      const headers = { Accept: "application/fhir+json", Authorization: `Bearer ${token}` };
      answer = await getJson(ofTheServer(next, iss), { headers });
    } catch {
      break; // what is missing is told by the view
    }
    if (answer.status === 401) throw new Told(words.ended);
    const found = parsed(answer.text);
    if (found === null || (!answer.ok && pages.length > 0)) break;
    if (!answer.ok && found.resourceType !== "OperationOutcome") break;
    pages.push(answer.text);
    next = found.resourceType === "Bundle" ? found.link?.find?.((link) => link.relation === "next")?.url : null;
  }
  return pages;
}

async function readAll(begun) {
  const keys = Object.keys(told.templates);
  const answers = await Promise.all(keys.map((key) => read(told.templates[key], begun)));
  return Object.fromEntries(keys.map((key, place) => [key, answers[place]]));
}

/** The body of the question to this service. Resources go as they came, so that no digit is lost. */
function body(patient, pages, years) {
  const parts = Object.entries(pages).map(([key, texts]) => `${JSON.stringify(key)}:[${texts.join(",")}]`);
  return `{"patient":${JSON.stringify(patient)},"years":${JSON.stringify(years)},"pages":{${parts.join(",")}}}`;
}

const policy = globalThis.trustedTypes?.createPolicy("chart", { createHTML: (text) => text }) ?? { createHTML: (text) => text };

async function view(patient, pages, years) {
  const answer = await fetch(`${told.url}/view`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: "text/html" },
    body: body(patient, pages, years),
  });
  if (!answer.ok) throw new Told(words.not_drawn);
  return answer.text();
}

let shows = 0; // how many were begun; what an earlier one brings is not shown

async function show(patient, pages, years) {
  shows += 1;
  const mine = shows;
  const asked = view(patient, pages, years);
  await Promise.allSettled([asked]);
  if (mine !== shows) return;
  // The page of our own service, in which everything from elsewhere is escaped.
  const drawn = new DOMParser().parseFromString(policy.createHTML(await asked), "text/html");
  const chart = document.getElementById("chart");
  chart.replaceChildren(...drawn.body.childNodes);
  enliven(chart);
  say("");
}

/** Who this is, for an EHR that does not say so itself around the page. Stays in the browser. */
function introduce(patient) {
  const found = parsed(patient ?? "") ?? {};
  const name = found.name?.[0] ?? {};
  const full = name.text ?? [...(name.given ?? []), name.family].filter(Boolean).join(" ");
  const line = document.getElementById("patient");
  line.textContent = [full, found.birthDate && words.born.replace("{day}", dayIn(told.locale, found.birthDate))].filter(Boolean).join(", ");
  line.hidden = line.textContent === "";
}

/** The marker that the card was about, if the EHR has passed on what the card's link said. */
function askedFor(appContext) {
  const marker = (typeof appContext === "string" ? parsed(appContext) : appContext)?.marker;
  return typeof marker === "string" ? document.getElementById("chart").querySelector(`#${CSS.escape(marker)}`) : null;
}

run(async () => {
  const begun = await session();
  const pages = await readAll(begun);
  const form = document.querySelector(".chart-form");
  const years = form.elements.years;
  years.addEventListener("change", () => run(() => show(begun.patient, pages, years.value)));
  form.addEventListener("submit", (event) => event.preventDefault());
  if (begun.banner) introduce(pages.patient?.[0]);
  await show(begun.patient, pages, years.value);
  form.hidden = false;
  const plot = askedFor(begun.appContext);
  plot?.classList.add("asked");
  plot?.scrollIntoView();
});
