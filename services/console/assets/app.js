// The frame of every page: where one is, whether what is shown is fresh, and light or dark.

import { html, render, useEffect, useState } from "./vendor/htm-preact.js";
import { get, has, signIn, takeCredentials } from "./lib/api.js";
import { begin, useLive } from "./lib/store.js";
import { age, plural, time } from "./lib/format.js";
import { Icon } from "./parts/icons.js";
import { ROOMS, roomOf } from "./views/rooms.js";

const THEMES = ["light", "dark"];

function theme() {
  return document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

function setTheme(name) {
  document.documentElement.dataset.theme = name;
  localStorage.setItem("theme", name);
  document.dispatchEvent(new Event("fasttree:theme"));
}

function useRoute() {
  const [route, set] = useState(location.hash.slice(2));
  useEffect(() => {
    const changed = () => {
      set(location.hash.slice(2));
      document.querySelector("main")?.focus({ preventScroll: true });
      scrollTo(0, 0);
    };
    addEventListener("hashchange", changed);
    set(location.hash.slice(2)); // it may have changed before anybody listened
    return () => removeEventListener("hashchange", changed);
  }, []);
  return route.split("?")[0].split("/").map(decodeURIComponent);
}

function Freshness() {
  const { state, problem, heardAt } = useLive();
  const [now, tick] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => tick(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  if (problem) {
    const known = state ? ` What is shown is as of ${time(heardAt)}.` : "";
    return html`<p class="freshness bad" role="status"><span class="dot"></span>Reconnecting. ${problem.message}${known}</p>`;
  }
  if (!state) return html`<p class="freshness" role="status"><span class="dot"></span>Connecting…</p>`;
  return html`<p class="freshness good" title="News came ${age(now - heardAt)}"><span class="dot"></span>Live</p>`;
}

function SignIn({ onDone, why }) {
  const [problem, setProblem] = useState(why);
  async function go(event) {
    event.preventDefault();
    const text = new FormData(event.target).get("secret").trim();
    const name = text.split(".").length === 3 ? "token" : "key";
    signIn(name, text);
    const session = await get("/api/session").catch((error) => ({ problem: error.message }));
    if (session.operator || session.token) {
      onDone(session);
    } else {
      signIn(name, "");
      setProblem(session.problem ?? "The console does not know this key.");
    }
  }
  return html`<main class="sign-in" tabindex="-1">
    <form onSubmit=${go}>
      <img src="icon.svg" alt="" width="48" height="48" />
      <h1>FastTree console</h1>
      <p>Operators show the console's key, leaders their token. It stays in this tab, until the tab is closed.</p>
      <label for="secret">Key or token</label>
      <input id="secret" name="secret" type="password" autocomplete="off" required autofocus />
      ${problem && html`<p class="refused" role="alert">${problem}</p>`}
      <button class="primary" type="submit">Sign in</button>
    </form>
  </main>`;
}

function Frame({ session, onSignOut }) {
  const route = useRoute();
  const room = roomOf(route[0], session);
  const { state } = useLive();
  const [dark, setDark] = useState(theme() === "dark");
  const found = state?.problems ?? [];
  const faults = found.filter((problem) => problem.fault).length;
  const told = faults > 0 ? plural(faults, "problem") : `${plural(found.length, "thing")} worth a look`;
  useEffect(() => {
    document.title = `${room.title} · ${state?.status.cluster || "FastTree"}`;
  }, [room, state?.status.cluster]);
  const flip = () => {
    setTheme(THEMES[dark ? 0 : 1]);
    setDark(!dark);
  };
  return html`<a class="skip" href="#main" onClick=${(event) => {
      event.preventDefault();
      document.querySelector("main").focus();
    }}>Skip to the page</a>
    <div class="frame">
      <header class="side">
        <a class="brand" href="#/"><img src="icon.svg" alt="" width="28" height="28" /><span>FastTree</span></a>
        <nav aria-label="Pages">
          ${ROOMS.filter((one) => one.shown(session)).map(
            (one) => html`<a href=${`#/${one.name}`} aria-current=${one === room ? "page" : undefined}>
              <${Icon} name=${one.icon} /><span>${one.title}</span>
              ${one.name === "" && found.length > 0 && html`<span class="count ${faults > 0 ? "" : "look"}" aria-label=${told}>${faults || found.length}</span>`}
            </a>`,
          )}
        </nav>
        <div class="foot">
          ${session.sees.includes("cluster") && html`<${Freshness} />`}
          <button class="quiet" onClick=${flip} aria-label=${dark ? "Light colours" : "Dark colours"}>
            <${Icon} name=${dark ? "sun" : "moon"} /></button>
          ${(has("key") || has("token")) &&
          html`<button class="quiet" onClick=${onSignOut} aria-label="Sign out"><${Icon} name="key" /></button>`}
        </div>
      </header>
      <main id="main" tabindex="-1"><${room.view} rest=${route.slice(1)} session=${session} /></main>
    </div>`;
}

function App() {
  const [session, setSession] = useState(null);
  const [problem, setProblem] = useState("");
  const ask = () =>
    get("/api/session").then(
      (found) => {
        setProblem("");
        setSession(found);
      },
      (error) => {
        setProblem(error.message);
        if (error.status === 0) {
          setTimeout(ask, 1000);
        } else {
          signIn("token", ""); // it is none that counts
          setSession({ operator: false, acts: false, token: false, sees: [] });
        }
      },
    );
  useEffect(() => {
    ask();
  }, []);
  useEffect(() => {
    if (session?.sees.includes("cluster")) begin();
  }, [session]);
  if (!session) return html`<main class="sign-in"><p role="status">${problem || "Connecting…"}</p></main>`;
  if (!session.operator && !session.token) return html`<${SignIn} onDone=${setSession} why=${problem} />`;
  return html`<${Frame} session=${session} onSignOut=${() => {
    signIn("key", "");
    signIn("token", "");
    location.reload();
  }} />`;
}

const kept = localStorage.getItem("theme");
if (THEMES.includes(kept)) document.documentElement.dataset.theme = kept;
takeCredentials();
addEventListener("hashchange", () => {
  if (/^#(key|token)=/.test(location.hash)) location.reload();
});
render(html`<${App} />`, document.getElementById("app"));
