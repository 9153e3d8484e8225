"use strict";

// One window with one question: name and password. Swagger UI's own form for the password flow also asks for a client,
// a secret and scopes, none of which this service wants from a person.
const watchword = (system) => {
  const { React } = system;
  const e = React.createElement;

  const field = (id, label, more) =>
    e("div", { className: "wrapper" }, e("label", { htmlFor: id }, label), e("input", { id, required: true, ...more }));

  async function tokens(address, username, password) {
    const answer = await fetch(new URL(address, document.baseURI), {
      method: "POST",
      credentials: "omit", // a log-in by name and password has nothing to do with the cookie
      headers: { Accept: "application/json" },
      body: new URLSearchParams({ grant_type: "password", username, password }),
    });
    const content = await answer.json();
    if (!answer.ok) {
      throw new Error(content.error_description || content.detail || answer.statusText);
    }
    return content;
  }

  function LogIn({ name, schema, authorized }) {
    const [fault, setFault] = React.useState("");
    const [busy, setBusy] = React.useState(false);
    const known = authorized && authorized.get(name);

    async function submit(event) {
      event.preventDefault();
      const given = new FormData(event.target);
      const username = given.get("username");
      setBusy(true);
      setFault("");
      try {
        const token = await tokens(schema.get("tokenUrl"), username, given.get("password"));
        system.authActions.authorizeOauth2({ auth: { name, schema, username, scopes: [] }, token });
      } catch (error) {
        setFault(`That did not work. ${error.message}`);
      }
      setBusy(false);
    }

    const close = e(
      "button",
      { type: "button", className: "btn modal-btn auth btn-done", onClick: () => system.authActions.showDefinitions(false) },
      "Close",
    );
    if (known) {
      const forget = { type: "button", className: "btn modal-btn auth", onClick: () => system.authActions.logout([name]) };
      return e(
        "div",
        { className: "auth-container", role: "status" },
        e("h4", null, `Logged in as ${known.get("username")}`),
        e("p", null, "Every route that wants an access token is shown yours now. POST /logout ends the session."),
        e("div", { className: "auth-btn-wrapper" }, e("button", forget, "Forget the token"), close),
      );
    }
    return e(
      "form",
      { className: "auth-container log-in", onSubmit: submit },
      e("h4", null, "Log in"),
      e("p", null, schema.get("description")),
      field("oauth_username", "Name", { name: "username", type: "text", autoComplete: "username", autoFocus: true }),
      field("oauth_password", "Password", { name: "password", type: "password", autoComplete: "current-password" }),
      e("div", { className: "errors", role: "alert", hidden: !fault }, fault),
      e(
        "div",
        { className: "auth-btn-wrapper" },
        e("button", { type: "submit", className: "btn modal-btn auth authorize", disabled: busy }, "Authorize"),
        close,
      ),
    );
  }

  // What the button at the top offers: the access token. The key of a guard is asked for at the routes that take one.
  function TopButton({ authActions, authSelectors, getComponent }) {
    const Button = getComponent("authorizeBtn");
    const offered = authSelectors.definitionsToAuthorize().filter((each) => each.has("access_token"));
    return e(Button, {
      onClick: () => authActions.showDefinitions(offered),
      isAuthorized: authSelectors.authorized().has("access_token"),
      showPopup: Boolean(authSelectors.shownDefinitions()),
      getComponent,
    });
  }

  // A route that may be asked without a token has `{}` among its requirements, which any reader fulfils; its lock shall
  // close only when there is something to show.
  const isAuthorized = (original) => (state, asked) => original(state, asked && asked.filter((each) => each.size > 0));

  return {
    statePlugins: { auth: { wrapSelectors: { isAuthorized } } },
    wrapComponents: {
      oauth2: (Original) => (props) => e(props.schema.get("flow") === "password" ? LogIn : Original, props),
      AuthorizeBtnContainer: () => TopButton,
    },
  };
};

window.addEventListener("load", () => {
  window.ui = SwaggerUIBundle({
    url: new URL("openapi.json", document.baseURI).href,
    dom_id: "#swagger-ui",
    deepLinking: true,
    defaultModelsExpandDepth: 0,
    validatorUrl: "none",
    persistAuthorization: false,
    presets: [SwaggerUIBundle.presets.apis],
    plugins: [watchword],
    layout: "BaseLayout",
  });
});
