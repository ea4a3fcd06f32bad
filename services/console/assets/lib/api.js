// What the pages ask the console: JSON, and the stream of news. The key and the token live in this tab alone.

const HEADERS = { "X-FastTree-Console": "1" };
const SILENCE_MS = 15_000;
const WAIT_MS_MAX = 5_000;

export class AskError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

// An address may bring a key or a token in its fragment, which no server ever sees; it is kept for this tab and taken
// out of the address.
export function takeCredentials() {
  const fragment = location.hash.slice(1);
  if (!/^(key|token)=/.test(fragment)) return;
  for (const [name, value] of new URLSearchParams(fragment)) {
    if (name === "key" || name === "token") sessionStorage.setItem(name, value);
  }
  history.replaceState(null, "", location.pathname);
}

export function signIn(name, value) {
  if (value) sessionStorage.setItem(name, value);
  else sessionStorage.removeItem(name);
}

export const has = (name) => sessionStorage.getItem(name) !== null;

function headers() {
  const made = { ...HEADERS };
  const key = sessionStorage.getItem("key");
  const token = sessionStorage.getItem("token");
  if (key) made["X-FastTree-Key"] = key;
  if (token) made["Authorization"] = `Bearer ${token}`;
  return made;
}

async function refusal(response) {
  let told = {};
  try {
    told = (await response.json()).error ?? {};
  } catch {
    // whoever answered is no console
  }
  return new AskError(response.status, told.code ?? "", told.message ?? `${response.status} ${response.statusText}`);
}

async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { credentials: "omit", ...options, headers: { ...headers(), ...options.headers } });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new AskError(0, "AWAY", "The console does not answer. Is it running?");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

export async function get(path, query = {}, signal = undefined) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== undefined && value !== null);
  const asked = new URLSearchParams(given).toString();
  return (await send(asked ? `${path}?${asked}` : path, { signal })).json();
}

export async function post(path, body = {}) {
  const options = { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  return (await send(path, options)).json();
}

// A file, saved under a name.
export async function download(path, query, name) {
  const response = await send(`${path}?${new URLSearchParams(query)}`);
  save(await response.blob(), name);
}

export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

// Follows a stream of events for good: heard(name, data) for each, away(error) whenever it broke off.
export function follow(path, heard, away) {
  let over = false;
  let stop = () => {};
  (async () => {
    let wait = 250;
    while (!over) {
      const abort = new AbortController();
      stop = () => abort.abort();
      let watch = setTimeout(stop, SILENCE_MS);
      try {
        const response = await send(path, { signal: abort.signal });
        for await (const [name, data] of events(response.body)) {
          clearTimeout(watch);
          watch = setTimeout(stop, SILENCE_MS);
          wait = 250;
          heard(name, data);
        }
        away(new AskError(0, "AWAY", "The console ended the connection."));
      } catch (error) {
        if (over) return;
        away(error instanceof AskError ? error : new AskError(0, "AWAY", "The connection to the console broke off."));
        if (error.status === 401 || error.status === 403) return;
      } finally {
        clearTimeout(watch);
      }
      await new Promise((resolve) => setTimeout(resolve, wait * (0.5 + Math.random())));
      wait = Math.min(wait * 2, WAIT_MS_MAX);
    }
  })();
  return () => {
    over = true;
    stop();
  };
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const name = lines.find((line) => line.startsWith("event: "))?.slice(7);
      const data = lines.find((line) => line.startsWith("data: "))?.slice(6);
      if (name && data) yield [name, JSON.parse(data)];
    }
  }
}
