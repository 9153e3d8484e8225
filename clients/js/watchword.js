// Watchword in a browser: log in, stay logged in in every tab, call APIs. No dependencies, no build step.
//
// The access token lives in this module's memory, and in that of the page's other tabs. The refresh token lives in a
// cookie that no script can read. What is in localStorage opens nothing: a retry key, and that a log-out is still to be
// told. docs/guides/front-end.md says why.

const AHEAD = 60_000; // ms before its end that a token is replaced, or a fifth of its life if that is less
const SPARE = 5_000; // ms that a token must still live to be sent, or a quarter of its life
const LISTEN = 300; // ms that other tabs have to answer
const NEW = 30_000; // ms for which a token is new, or a fifth of its life if that is less
const LONGEST_PAUSE = 60_000; // ms between two attempts
// A token is revoked for new roles too, which a refresh brings.
const RENEWABLE = new Set(["token_expired", "token_revoked"]);
const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** What everything here throws. `code` is the service's, or one of ours. */
export class WatchwordError extends Error {
  constructor(code, message, { status = null, errors = [], retryAfter = null, cause } = {}) {
    super(message, { cause });
    this.name = new.target.name;
    this.code = code;
    this.status = status;
    this.errors = errors;
    this.retryAfter = retryAfter;
  }
}

/** There is no session, or it has ended: show the log-in. */
export class LoggedOut extends WatchwordError {}

/** Not now: offline, no answer in time, 429, 5xx, or not the service's answer. No one was logged out. `retryAfter` is in
 *  seconds, or null. */
export class Unavailable extends WatchwordError {}

/** The request was understood and turned down. `errors` says which fields. */
export class Refused extends WatchwordError {}

/** One service, one user. Events: `change`, `trouble`, `recovered`. */
export class Watchword extends EventTarget {
  #url;
  #name;
  #origins; // of each API: what its token is asked for with
  #timeout;
  #token = null;
  #narrow = new Map(); // tokens for one API, or with fewer scopes, by what they were asked for with
  #state = "unknown";
  #refreshing = new Map();
  #queue = Promise.resolve();
  #timer = null;
  #tries = 0;
  #pause = null; // { until, error }: what the next asker gets without asking
  #departures = 0; // log-outs that were heard of
  #memory = new Map(); // in place of a localStorage that is closed to us
  #channel = null;
  #release = null;
  #listeners = new AbortController();
  #heard = new EventTarget();

  constructor({ url, apis = [], timeout = 20 }) {
    super();
    const service = checked(url);
    const { href, origin, pathname } = service;
    if (href !== origin + pathname) throw new TypeError(`url is origin and path alone; meant ${origin}${pathname}?`);
    this.#url = service.href.replace(/\/+$/, "");
    this.#name = `watchword ${this.#url}`;
    this.#origins = new Map([[service.origin, ""], ...apis.map(wantOf)]);
    this.#timeout = timeout * 1000;
    const { signal } = this.#listeners;
    globalThis.addEventListener?.("pagehide", () => this.#suspend(), { signal });
    globalThis.addEventListener?.("pageshow", (event) => event.persisted && this.#resume(), { signal });
    globalThis.addEventListener?.("online", () => this.#again(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => this.#attend(), { signal });
    this.#open();
  }

  /** `unknown` until `start` or a log-in, then `in` or `out`. */
  get state() {
    return this.#state;
  }

  /** Who is logged in, or null. For showing: only the service and the APIs decide anything by it. */
  get session() {
    return this.#token?.session ?? null;
  }

  /** Find out whether this browser is logged in. */
  async start() {
    try {
      if (!this.#token || !isGood(this.#token)) await this.#refresh(this.#token);
    } catch (error) {
      if (!(error instanceof LoggedOut)) throw error;
    }
    return this.#state;
  }

  /** Make an account. It does not log in. */
  async register(account) {
    return this.#send("POST", this.#at("/register"), { body: account });
  }

  /** Log in, by a password unless another route of the service is given. Returns the user.
   *  `scope` and `resource` in the proof limit the session for good. */
  async logIn(proof, { path = "/login" } = {}) {
    const address = this.#at(path);
    return this.#alone(async () => (await this.#entered(address, { body: proof })).user);
  }

  /** Ask the service itself, as the user. An answer that brings a new session (a changed password) is taken over. */
  async call(method, path, body) {
    const address = this.#at(path);
    const ask = ({ value: token }) => {
      if (method === "GET") return this.#send(method, address, { token });
      return this.#alone(() => this.#entered(address, { method, body, token }));
    };
    const used = await this.#good();
    try {
      return await ask(used);
    } catch (error) {
      if (!(error instanceof Refused && RENEWABLE.has(error.code))) throw error;
      return ask(await this.#instead(used));
    }
  }

  /** End the session, in all tabs at once. What the service could not be told now, it is told later. */
  async logOut() {
    const token = this.#token?.value;
    const session = this.session?.sessionId ?? null;
    this.#write("leaving", "1");
    this.#leave("logged_out");
    this.#tell({ kind: "out", session });
    await this.#alone(() => this.#left(token));
  }

  /** Return an access token that is good for a few seconds at least: with `resource` one for that API alone, with
   *  `scope` one with no other scopes. The session stays as it is. */
  async token(wanted) {
    return (await this.#good(queryOf(wanted))).value;
  }

  /** `fetch`, with the token for the service and the APIs that were named, and without it for all others. */
  async fetch(input, init) {
    const request = new Request(input, init);
    const want = this.#origins.get(new URL(request.url).origin);
    if (want === undefined || request.headers.has("Authorization")) return fetch(request);
    request.signal.throwIfAborted();
    const used = await unlessAborted(this.#good(want), request.signal);
    const answer = await carry(request, used.value);
    if (answer.status !== 401 || !mayHelp(await codeOf(answer), used)) return answer;
    const renewed = this.#instead(used);
    if (canRepeat(input, init)) {
      return carry(new Request(input, init), (await unlessAborted(renewed, request.signal)).value);
    }
    renewed.catch(() => {}); // the next request has a good one
    return answer;
  }

  /** Stop: no more timers, no more listening. */
  close() {
    clearTimeout(this.#timer);
    this.#listeners.abort();
    this.#suspend();
  }

  // ---- Refreshing: one at a time in this tab, and one at a time in all tabs.

  /** `want` is the query of the refresh; empty for the session's own token. */
  async #good(want = "") {
    if (this.#state === "out") throw new LoggedOut("logged_out", "You are logged out.");
    if (want && !this.#token) await this.#refresh(null);
    const token = this.#held(want);
    return token && isGood(token) ? token : sameUser(this.session, await this.#refresh(token, want));
  }

  #held(want) {
    return want ? (this.#narrow.get(want) ?? null) : this.#token;
  }

  async #instead(used) {
    used.refused = true;
    return sameUser(used.session, await this.#refresh(used, used.want));
  }

  #refresh(stale, want = "") {
    if (!this.#refreshing.has(want)) {
      const done = () => this.#refreshing.delete(want);
      this.#refreshing.set(want, this.#alone(() => this.#renewed(stale, want)).finally(done));
    }
    return this.#refreshing.get(want);
  }

  /** Do it while no other tab of this origin does. Without Web Locks: while nothing else here does. */
  async #alone(work) {
    const locks = globalThis.navigator?.locks;
    let begun = false;
    const alone = () => ((begun = true), work());
    try {
      if (locks) return await locks.request(this.#name, alone);
    } catch (error) {
      if (begun) throw error; // else the browser keeps no data of this site: its locks are closed to us too
    }
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => {});
    return done;
  }

  async #renewed(stale, want) {
    if (this.#read("leaving")) {
      if (this.#state !== "out") this.#leave("logged_out");
      await this.#left();
      throw new LoggedOut("logged_out", "You are logged out.");
    }
    if (!want && !this.#better(stale)) await this.#ask(stale);
    if (this.#better(stale, want)) return this.#held(want);
    if (this.#pause && performance.now() < this.#pause.until) throw this.#pause.error;
    const departures = this.#departures;
    try {
      const token = await this.#exchanged(want);
      if (this.#departures !== departures || this.#read("leaving")) throw this.#leave("logged_out");
      if (want) this.#keep(token);
      else this.#enter(token);
      return token;
    } catch (error) {
      throw this.#failed(error);
    }
  }

  /** Whether another tab, or a log-in, has brought a token in place of this one. */
  #better(stale, want = "") {
    const token = this.#held(want);
    return token !== null && token.value !== stale?.value && isGood(token);
  }

  async #exchanged(want) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        const answer = await this.#send("POST", this.#at(`/refresh${want}`), { body: { retry_key: this.#key() } });
        const token = tokenOf(answer, { want });
        this.#renewKey();
        if (token.life > 0 || attempt > 3) return token; // 0: a late answer to an old request; its successor is good
      } catch (error) {
        if (attempt > 3 || !(error instanceof Refused)) throw error;
        if (error.code === "refresh_superseded") await new Promise((done) => setTimeout(done, 1000));
        else if (error.errors.some((fault) => fault.field === "retry_key")) this.#renewKey();
        else throw error;
      }
    }
  }

  #failed(error) {
    if (error instanceof Refused && error.status === 401) {
      const session = this.session?.sessionId ?? null;
      const over = this.#leave(error.code, error);
      this.#recovered();
      this.#tell({ kind: "out", session });
      return over;
    }
    if (!(error instanceof Unavailable)) return error;
    const pause = Math.min(LONGEST_PAUSE, 1000 * 2 ** this.#tries) * (0.5 + Math.random() / 2);
    const wait = Math.max(pause, (error.retryAfter ?? 0) * 1000);
    this.#tries += 1;
    this.#pause = { until: performance.now() + wait, error };
    this.#schedule(wait + 50);
    this.dispatchEvent(new CustomEvent("trouble", { detail: { error, retryIn: wait / 1000 } }));
    return error;
  }

  // ---- Coming and going.

  async #entered(address, { method = "POST", ...given }) {
    const answer = await this.#send(method, address, given);
    if (typeof answer?.access_token !== "string") return answer;
    this.#erase("leaving"); // a log-in ends the session of the cookie that it sends
    this.#renewKey();
    this.#enter(tokenOf(answer), { anew: true });
    return answer;
  }

  #enter(token, { anew = false, told = false } = {}) {
    const before = JSON.stringify(this.session);
    if (token.session.sessionId !== this.session?.sessionId) this.#narrow.clear();
    this.#token = token;
    this.#recovered();
    this.#schedule(left(token) - Math.min(AHEAD, token.life / 5) - Math.random() * Math.min(5000, token.life / 20));
    if (!told) this.#tell({ kind: "token", anew, ...shown(token) });
    this.#become("in", null, before);
  }

  /** Keep a token for one API, for all tabs. */
  #keep(token) {
    this.#recovered();
    if (token.session.sessionId !== this.session?.sessionId) this.#refresh(this.#token).catch(() => {}); // after a log-in
    this.#narrow.set(token.want, token);
    this.#tell({ kind: "token", anew: false, ...shown(token) });
  }

  #leave(code, cause) {
    const before = JSON.stringify(this.session);
    this.#departures += 1;
    this.#token = null;
    this.#narrow.clear();
    clearTimeout(this.#timer);
    this.#become("out", code, before);
    return new LoggedOut(code, cause?.message ?? "You are logged out.", { status: cause?.status, cause });
  }

  #become(state, reason, before) {
    const changed = this.#state !== state || JSON.stringify(this.session) !== before;
    this.#state = state;
    if (changed) this.dispatchEvent(new CustomEvent("change", { detail: { state, session: this.session, reason } }));
  }

  #recovered() {
    const was = this.#pause;
    this.#tries = 0;
    this.#pause = null;
    if (was) this.dispatchEvent(new CustomEvent("recovered"));
  }

  /** Tell the service. Until it has answered, no tab refreshes. */
  async #left(token) {
    if (!this.#read("leaving")) return; // another tab has told it, or someone has logged in since
    try {
      await this.#send("POST", this.#at("/logout"), { token });
    } catch (error) {
      if (!(error instanceof Refused)) throw this.#failed(error);
    }
    this.#erase("leaving");
    this.#recovered();
  }

  // ---- Time. The browser's clock may be wrong, may jump, and may stand still while the machine sleeps.

  #schedule(wait) {
    clearTimeout(this.#timer);
    if (this.#listeners.signal.aborted) return; // closed while an answer was under way
    this.#timer = setTimeout(() => this.#attend(), Math.max(wait, 0));
    this.#timer.unref?.();
  }

  /** Refresh ahead, in a tab that someone looks at. A hidden one does it when it is shown, or asked. */
  #attend() {
    if (globalThis.document?.visibilityState === "hidden") return;
    const leaving = this.#state === "out" && this.#read("leaving");
    const due = this.#token !== null && left(this.#token) <= Math.min(AHEAD, this.#token.life / 5) + 5000;
    if (due || leaving || (this.#pause && this.#state !== "out")) this.#refresh(this.#token).catch(() => {});
  }

  #again() {
    if (this.#pause?.error.code === "offline") this.#pause.until = 0;
    this.#attend();
  }

  // ---- Other tabs.

  #open() {
    if (globalThis.BroadcastChannel) {
      this.#channel = new BroadcastChannel(this.#name);
      this.#channel.unref?.();
      this.#channel.onmessage = ({ data }) => this.#hear(data);
    }
    // Held as long as this tab can answer, so that others know how many to wait for.
    const held = new Promise((done) => (this.#release = done));
    globalThis.navigator?.locks?.request(`${this.#name} tab`, { mode: "shared" }, () => held).catch(() => {});
  }

  /** Let the browser keep the page for its Back button. */
  #suspend() {
    this.#channel?.close();
    this.#channel = null;
    this.#release?.();
    clearTimeout(this.#timer);
  }

  #resume() {
    this.#open();
    const before = this.#token; // someone may have logged out, or in, meanwhile
    if (this.#state !== "unknown") this.#refresh(before).catch(() => {});
  }

  #tell(message) {
    this.#channel?.postMessage(message);
  }

  #hear(message) {
    if (message.kind === "ask") {
      const better = this.#better({ value: message.stale });
      this.#tell(better ? { kind: "token", anew: false, ...shown(this.#token) } : { kind: "none", id: message.id });
    } else if (message.kind === "out") {
      const ours = this.session?.sessionId ?? null;
      if (message.session === null || ours === null || message.session === ours) this.#leave("logged_out");
    } else if (message.kind === "token") {
      const token = tokenOf(message.answer, message);
      const held = this.#held(token.want);
      const newer = !held || token.issuedAt >= held.issuedAt;
      if (token.want) {
        if (newer && token.session.sessionId === this.session?.sessionId) this.#narrow.set(token.want, token);
      } else if (message.anew || (newer && !this.#read("leaving"))) this.#enter(token, { told: true });
    }
    this.#heard.dispatchEvent(new CustomEvent("message", { detail: message }));
  }

  /** Ask the other tabs for a better token than this one, if there are any. */
  async #ask(stale) {
    const locks = await globalThis.navigator?.locks?.query().catch(() => null);
    const tabs = locks?.held.filter(({ name }) => name === `${this.#name} tab`);
    let others = (tabs?.length ?? 1) - 1;
    if (!this.#channel || others < 1) return;
    const id = randomText();
    await new Promise((done) => {
      const listener = ({ detail }) => {
        if (detail.kind === "none" && detail.id === id) others -= 1;
        if (others > 0 && !this.#better(stale)) return;
        this.#heard.removeEventListener("message", listener);
        done();
      };
      this.#heard.addEventListener("message", listener);
      setTimeout(() => ((others = 0), listener({ detail: {} })), LISTEN);
      this.#tell({ kind: "ask", id, stale: stale?.value ?? null });
    });
  }

  // ---- What is kept for the next page of this origin.

  #key() {
    return this.#read("retry key") ?? this.#renewKey();
  }

  #renewKey() {
    const key = randomText();
    this.#write("retry key", key);
    return key;
  }

  #read(what) {
    try {
      return localStorage.getItem(`${this.#name} ${what}`);
    } catch {
      return this.#memory.get(what) ?? null;
    }
  }

  #write(what, value) {
    try {
      localStorage.setItem(`${this.#name} ${what}`, value);
    } catch {
      this.#memory.set(what, value);
    }
  }

  #erase(what) {
    this.#memory.delete(what);
    try {
      localStorage.removeItem(`${this.#name} ${what}`);
    } catch {
      // It is not there.
    }
  }

  // ---- HTTP.

  /** The address of a route: without its slash a path would lengthen the host, `http://127.0.0.1:4871` + `1/x`. */
  #at(path) {
    const fits = typeof path === "string" && /^\/(?!\/)[^\\]*$/.test(path);
    const address = fits ? new URL(this.#url + path) : null; // which resolves `..`
    if (address?.href.startsWith(`${this.#url}/`)) return address;
    const shown = typeof path === "string" ? JSON.stringify(path.slice(0, 100)) : String(path);
    throw new TypeError(`a path of the service begins with one slash, "/profile", unlike ${shown}; others: fetch()`);
  }

  /** `address` is what `#at` made: nothing else is sent the token. */
  async #send(method, address, { body, token } = {}) {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    if (body !== undefined) headers["Content-Type"] = "application/json";
    // Made out here: a wrong method or body is the caller's mistake, and no silence of the service.
    const request = new Request(address, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "include", // the cookie. No `cache`: with "no-store" browsers ask for a preflight each time
      redirect: "error",
    });
    let answer, text;
    try {
      answer = await fetch(request, { signal: AbortSignal.timeout(this.#timeout) });
      text = await answer.text();
    } catch (cause) {
      throw new Unavailable("offline", "The service gave no answer.", { cause });
    }
    const said = jsonOf(text);
    if (!answer.ok) throw errorOf(answer, said);
    // A page that a network puts before everything, until someone pays for it.
    if (text === "" || typeof said === "object") return said ?? null;
    throw new Unavailable("unexpected", "This is no answer of the service.");
  }
}

function errorOf(answer, said) {
  const { code = "unexpected", detail, title, errors = [] } = said ?? {};
  // Without a code something before the service has answered, such as a proxy that wants a password of its own.
  const later = answer.status === 429 || answer.status >= 500 || code === "unexpected";
  const kind = later ? Unavailable : Refused;
  const seconds = Number.parseInt(answer.headers.get("Retry-After") ?? "", 10);
  return new kind(code, detail ?? title ?? `The service answered ${answer.status}.`, {
    status: answer.status,
    errors,
    retryAfter: Number.isNaN(seconds) ? null : seconds,
  });
}

/** Send it with the token, and follow no redirect: older browsers would send the token along to anywhere. */
async function carry(request, token) {
  request.headers.set("Authorization", `Bearer ${token}`);
  if (request.redirect !== "follow") return fetch(request);
  const { referrer, referrerPolicy } = request; // which any option puts back to what browsers do by themselves
  const answer = await fetch(request, { redirect: "manual", referrer, referrerPolicy });
  if (answer.type !== "opaqueredirect") return answer;
  throw new Refused("redirected", `${request.url} answers with a redirect. Ask for the address that it leads to.`);
}

/** Whether another token may help. A new one that is over for an API says that its clock is ahead. */
function mayHelp(code, token) {
  return RENEWABLE.has(code) && !(code === "token_expired" && ageOf(token) < Math.min(NEW, token.life / 5));
}

/** What one asked for is not done as another, who logged in meanwhile. */
function sameUser(before, token) {
  if (before === null || token.session.userId === before.userId) return token;
  throw new LoggedOut("user_changed", "Someone else has logged in meanwhile.");
}

/** Wait for what others may wait for too, until the caller wants it no more. */
function unlessAborted(work, signal) {
  const aborted = new Promise((_, fail) => {
    signal.addEventListener("abort", () => fail(signal.reason), { once: true });
  });
  return Promise.race([work, aborted]);
}

/** Whether a second request can be made from the same arguments. A stream can be read once. */
function canRepeat(input, init) {
  if (init?.body != null) return !(globalThis.ReadableStream && init.body instanceof ReadableStream);
  return !(input instanceof Request) || ["GET", "HEAD"].includes(input.method);
}

async function codeOf(answer) {
  if (!/json/.test(answer.headers.get("Content-Type") ?? "")) return null;
  return jsonOf(await answer.clone().text())?.code ?? null;
}

function jsonOf(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Note when it came, by both clocks: one may jump, and the other may stand still during sleep. */
function tokenOf(answer, { age = 0, want = "" } = {}) {
  const { sub, sid, roles = [], scope = "", iat } = claimsOf(answer.access_token);
  const scopes = scope.split(" ").filter(Boolean);
  const names = { roles: Object.freeze(roles), scopes: Object.freeze(scopes) };
  const session = Object.freeze({ userId: sub, sessionId: sid, ...names });
  const came = { wall: Date.now() - age, steady: performance.now() - age };
  const value = answer.access_token;
  return { value, want, life: answer.expires_in * 1000, session, issuedAt: iat, came, refused: false };
}

function shown(token) {
  const answer = { access_token: token.value, expires_in: token.life / 1000 };
  return { answer, want: token.want, age: ageOf(token) };
}

function ageOf({ came }) {
  return Math.max(0, Date.now() - came.wall, performance.now() - came.steady);
}

/** Milliseconds. Counted from when it came: the browser's date does not matter. */
function left(token) {
  return token.life - ageOf(token);
}

function isGood(token) {
  return !token.refused && left(token) > Math.min(SPARE, token.life / 4);
}

function claimsOf(token) {
  const text = atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"));
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (letter) => letter.charCodeAt(0))));
}

function randomText() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return btoa(String.fromCharCode(...bytes)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

/** Tokens travel over https, or stay on this machine. */
function checked(address) {
  const url = new URL(address);
  if (url.protocol === "https:" || (url.protocol === "http:" && LOOPBACK.test(url.hostname))) return url;
  throw new TypeError(`${address} is neither https nor on this machine: tokens would be readable on their way`);
}

/** An origin, and the query of a refresh for its token: empty for the session's own. */
function wantOf(api) {
  const { origin, ...wanted } = typeof api === "string" ? { origin: api } : api;
  return [originOf(origin), queryOf(wanted)];
}

function queryOf(wanted) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(wanted ?? {})) {
    if (name !== "scope" && name !== "resource") throw new TypeError(`${name} cannot be asked for`);
    if (typeof value !== "string" || value === "") throw new TypeError(`${name} is a text that is not empty`);
    query.set(name, value);
  }
  query.sort();
  const text = query.toString();
  return text && `?${text}`;
}

function originOf(address) {
  const { origin } = checked(address);
  if (origin !== address) throw new TypeError(`${address} is no origin; meant ${origin}?`);
  return origin;
}
