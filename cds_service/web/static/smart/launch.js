// The EHR has opened the app: find its sign-in, remember a secret for it (PKCE), and go there.

import { getJson, ofTheEhr, parsed, run, storage, Told, told, words } from "./common.js";

const base64url = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes))).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

const challenge = async (verifier) => base64url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));

/** To read what the prefetch templates name, in the words that the EHR understands (SMART 2, else SMART 1). */
function scopes(capabilities) {
  if (told.scopes) return told.scopes;
  const read = capabilities.includes("permission-v2") ? "rs" : "read";
  return ["launch", ...told.types.map((type) => `patient/${type}.${read}`)].join(" ");
}

async function discovered(iss) {
  let answer;
  try {
    answer = await getJson(`${iss}/.well-known/smart-configuration`);
  } catch {
    throw new Told(words.no_answer);
  }
  const found = answer.ok ? parsed(answer.text) : null;
  if (typeof found?.authorization_endpoint !== "string" || typeof found.token_endpoint !== "string") {
    throw new Told(words.no_smart);
  }
  if (!found.code_challenge_methods_supported?.includes("S256")) throw new Told(words.no_pkce);
  return found;
}

run(async () => {
  // What is kept for the way back is kept by origin: start where the way back leads.
  const here = new URL(`${told.url}/launch`);
  if (here.origin !== location.origin) return location.replace(here.href + location.search);
  const launch = new URLSearchParams(location.search).get("launch");
  if (!launch) throw new Told(words.no_launch);
  const found = await discovered(told.iss);
  const token = ofTheEhr(found.token_endpoint, told.iss);
  const signIn = ofTheEhr(found.authorization_endpoint, told.iss);
  const state = random();
  const verifier = random();
  const kept = {
    iss: told.iss,
    client: told.client,
    issuer: found.issuer ?? told.iss,
    namesItself: found.authorization_response_iss_parameter_supported === true,
    verifier,
    token: token.href,
    since: Date.now(),
  };
  storage().setItem(`smart ${state}`, JSON.stringify(kept));
  const asked = {
    response_type: "code",
    client_id: told.client,
    redirect_uri: `${told.url}/chart`,
    launch,
    scope: scopes(found.capabilities ?? []),
    state,
    aud: told.iss,
    code_challenge: await challenge(verifier),
    code_challenge_method: "S256",
  };
  for (const [name, value] of Object.entries(asked)) signIn.searchParams.set(name, value);
  location.replace(signIn.href);
});
