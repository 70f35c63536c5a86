/** The HTTP requests of the chat client: tokens, users, history, and the gateway. */

const TIMEOUT_MS = 10_000;

/** The server refused with this HTTP status and code, or did not respond, which counts as 503. */
export class ApiError extends Error {
  constructor(message, status = 503, code = "", retryAfterMs = 0) {
    super(message);
    this.status = status;
    this.isRetryable = status === 408 || status === 429 || (status >= 500 && code !== "internal");
    this.retryAfterMs = retryAfterMs;
  }
}

/** All methods throw ApiError. Ids are strings of digits: they have up to 63 bits, and JavaScript's numbers 53. */
export class Api {
  #url;
  #credentials;
  #tokens = { access_token: "" };
  #refreshing = null;

  constructor(url, name, password) {
    this.#url = url;
    this.#credentials = { name, password, device_name: "Node example" };
  }

  /** Returns the newest token; if that is the stale one, refreshes it first. */
  async accessToken(stale = "") {
    if (this.#tokens.access_token === stale) {
      // A refresh token works once. Its reuse ends the sign-in, as it may have been stolen: so one refresh at a time.
      this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = null));
      await this.#refreshing;
    }
    return this.#tokens.access_token;
  }

  async myId() {
    return (await this.#get("/v1/me")).user_id;
  }

  async userId(name) {
    const page = await this.#get("/v1/profiles", { name_contains: name, limit: 100 });
    const user = page.profiles.find((each) => each.name === name);
    if (!user) throw new ApiError(`there is no user ${name}`, 404);
    return user.user_id;
  }

  /** The names of at most 100 members of a group that is no channel, by user id. */
  async members(chatId) {
    const { settings } = await this.#get(`/v1/chats/${chatId}`);
    if (settings.is_channel) throw new ApiError("channels need `follow`, which this example leaves out", 400);
    const { members } = await this.#get(`/v1/chats/${chatId}/members`, { limit: 100 });
    const { profiles } = await this.#get("/v1/profiles", { user_ids: members.map((each) => each.user_id).join(",") });
    return Object.fromEntries(profiles.map((each) => [each.user_id, each.name]));
  }

  /** The address of the user's gateway for gRPC. It changes: request it before each connection. */
  async gateway() {
    return (await this.#get("/v1/me/gateway")).grpc;
  }

  /** The newest messages of a chat, oldest first, with their changes. */
  history(chatId) {
    return this.#get(`/v1/chats/${chatId}/messages`, { limit: 100 });
  }

  /** All events of a chat after an id. */
  changes(chatId, after) {
    return this.#get(`/v1/chats/${chatId}/changes`, { after });
  }

  async #refresh() {
    if (this.#tokens.refresh_token) {
      try {
        const body = { refresh_token: this.#tokens.refresh_token };
        this.#tokens = await this.#ask("POST", "/v1/tokens/refresh", { body });
        return;
      } catch (error) {
        if (error.isRetryable) throw error;
        // It has expired, or was used already and the response was lost: use the password.
      }
    }
    this.#tokens = await this.#ask("POST", "/v1/tokens", { body: this.#credentials });
    // Wrong passwords that others try do not delay a known device. Also keep it on disk if the client may restart.
    this.#credentials.device_token = this.#tokens.device_token;
  }

  async #get(path, query = {}) {
    const pathAndQuery = `${path}?${new URLSearchParams(query)}`;
    const token = await this.accessToken();
    try {
      return await this.#ask("GET", pathAndQuery, { token });
    } catch (error) {
      if (error.status !== 401) throw error;
    }
    return this.#ask("GET", pathAndQuery, { token: await this.accessToken(token) });
  }

  async #ask(method, path, { token, body }) {
    let response, problem;
    try {
      response = await fetch(this.#url + path, {
        method,
        headers: { "Content-Type": "application/json", ...(token && { Authorization: `Bearer ${token}` }) },
        body: body && JSON.stringify(body),
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.ok) return await response.json();
      // The answer of a proxy has another type, and no code.
      const isProblem = response.headers.get("Content-Type")?.includes("application/problem+json");
      problem = isProblem ? await response.json() : {};
    } catch (error) {
      throw new ApiError(`no answer over HTTP: ${error.cause?.message ?? error.message}`);
    }
    const { detail = `HTTP status ${response.status}`, code, retry_after_ms } = problem;
    throw new ApiError(detail, response.status, code, retry_after_ms);
  }
}
