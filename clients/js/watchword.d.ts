/** Who is logged in, as the access token says. For showing: only the service and the APIs decide anything by it. */
export interface Session {
  readonly userId: string;
  readonly sessionId: string | null;
  readonly roles: readonly string[];
  readonly scopes: readonly string[];
}

/** A user, as the service shows them. */
export interface User {
  readonly id: string;
  readonly username: string | null;
  readonly email: string | null;
  readonly email_verified: boolean;
  readonly roles: readonly string[];
  readonly created_at: string;
  readonly updated_at: string;
  readonly last_login_at: string | null;
  readonly name: string | null;
  readonly public_metadata: Readonly<Record<string, unknown>>;
}

/** The answer to `register` where addresses are confirmed first: a mail is on its way. */
export interface Asked {
  readonly handle: string;
  readonly expires_in: number;
}

export type State = "unknown" | "in" | "out";

export interface FieldFault {
  readonly field: string;
  readonly code: string;
  readonly message: string;
}

export interface Change {
  readonly state: State;
  readonly session: Session | null;
  /** Why it is `out`: `logged_out`, or a code of the service such as `session_ended`. */
  readonly reason: string | null;
}

export interface Trouble {
  readonly error: Unavailable;
  /** Seconds until the next attempt. */
  readonly retryIn: number;
}

export interface WatchwordEvents {
  change: CustomEvent<Change>;
  trouble: CustomEvent<Trouble>;
  recovered: CustomEvent<null>;
}

export declare class WatchwordError extends Error {
  /** The service's `code`, or `offline`, `redirected`, `logged_out`, `user_changed`, `unexpected`. */
  readonly code: string;
  readonly status: number | null;
  readonly errors: readonly FieldFault[];
  /** Seconds, or null if none were named. */
  readonly retryAfter: number | null;
}

/** There is no session, or it has ended. */
export declare class LoggedOut extends WatchwordError {}

/** Offline, no answer in time, 429, 5xx, or not the service's answer. No one was logged out. */
export declare class Unavailable extends WatchwordError {}

/** Understood, and turned down. */
export declare class Refused extends WatchwordError {}

/** What an access token is narrowed to. Other names, and empty texts, throw a TypeError. */
export interface Wanted {
  /** Scopes with spaces between them; no more than the session has. */
  scope?: string;
  /** The audience of the API that it is for. */
  resource?: string;
}

/** An API that gets tokens of its own: for its audience, or with fewer scopes. */
export interface Api extends Wanted {
  origin: string;
}

/** `scope` and `resource` limit the session for good. */
export type Proof = (
  | { username: string; password: string }
  | { email: string; password: string }
  | Record<string, string>
) &
  Wanted;

/** A path of the service with its slash: `/profile`. Anything else throws a TypeError, and is sent no token. */
export type Path = `/${string}`;

export interface Options {
  /** Where the service is, with its path prefix if it has one. */
  url: string;
  /** Origins of the APIs that get the token, `https://api.example`; for one of their own, an object. */
  apis?: readonly (string | Api)[];
  /** Seconds for an answer of the service: 20. */
  timeout?: number;
}

export declare class Watchword extends EventTarget {
  constructor(options: Options);
  readonly state: State;
  readonly session: Session | null;
  /** @throws {Unavailable} while the service cannot be reached; it goes on trying. */
  start(): Promise<State>;
  /** @throws {Refused | Unavailable} */
  register(account: { username?: string; email?: string; password: string }): Promise<User | Asked>;
  /** @throws {Refused | Unavailable} */
  logIn(proof: Proof, options?: { path?: Path }): Promise<User>;
  /** @throws {LoggedOut | Refused | Unavailable} */
  call<Answer = unknown>(method: string, path: Path, body?: unknown): Promise<Answer>;
  /** @throws {Unavailable} if the service could not be told yet; it will be. */
  logOut(): Promise<void>;
  /** @throws {LoggedOut | Unavailable}, and Refused for what the session does not have. */
  token(wanted?: Wanted): Promise<string>;
  /** @throws {LoggedOut | Refused | Unavailable} and what `fetch` throws. */
  fetch(input: RequestInfo | URL, init?: RequestInit): Promise<Response>;
  close(): void;
  addEventListener<Name extends keyof WatchwordEvents>(
    type: Name,
    listener: (this: Watchword, event: WatchwordEvents[Name]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
  addEventListener(
    type: string,
    listener: EventListenerOrEventListenerObject | null,
    options?: boolean | AddEventListenerOptions,
  ): void;
}
