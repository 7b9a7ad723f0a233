// What the two pages of the app share: what the service has told them, what they tell the reader, and the rules by
// which an address is one of the EHR's.

export const told = JSON.parse(document.getElementById("told").textContent);
export const words = told.words;

/** Something that the reader must know; the message stands on the page. */
export class Told extends Error {}

export function say(text, isFault = false) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.hidden = text === "";
  status.className = isFault ? "notice warning" : "";
}

/** Run the page; whatever goes wrong is said in words. */
export async function run(page) {
  try {
    await page();
  } catch (error) {
    say(error instanceof Told ? error.message : words.failed, true);
    if (!(error instanceof Told)) console.warn(error.name); // no message: it may hold an address with a patient's id
  }
}

/** The URL if the EHR of this FHIR server may own it (its own origin or a listed one, no trick of schemes). */
export function ofTheEhr(address, iss) {
  const url = new URL(address); // throws for what is no absolute address
  const known = [new URL(iss).origin, ...told.origins];
  if (!["https:", "http:"].includes(url.protocol) || url.username || !known.includes(url.origin)) {
    throw new Told(words.not_of_ehr);
  }
  return url;
}

/** JSON from the EHR; nothing is sent along that was not asked for, and no redirect is followed. */
export async function getJson(url, options = {}) {
  const answer = await fetch(url, {
    redirect: "error", credentials: "omit", cache: "no-store", referrerPolicy: "no-referrer",
    ...options, headers: { Accept: "application/json", ...options.headers },
  });
  return { ok: answer.ok, status: answer.status, text: await answer.text() };
}

export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

export function storage() {
  try {
    sessionStorage.getItem("");
    return sessionStorage;
  } catch {
    throw new Told(words.no_storage); // a frame in which the browser keeps nothing
  }
}
