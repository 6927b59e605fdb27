// Starts GraphiQL with the tabs and headers of config.json. Served as it is written: there is no build step.
// Every address here is relative to the page's, so the page works behind any path prefix.
(() => {
  "use strict";

  const root = document.getElementById("graphiql");

  // GraphiQL's dialogs add a <style> element. The page's CSP admits it by this nonce; the name is the one they look for.
  window.__webpack_nonce__ = document.currentScript.nonce;

  async function start() {
    const config = await loaded(root.dataset.config);
    const storage = storageOf(config);
    const endpoint = new URL(config.endpoint, location.href);
    const socket = new URL(endpoint);
    socket.protocol = endpoint.protocol === "https:" ? "wss:" : "ws:";

    const defaults = config.defaultHeaders ? JSON.parse(config.defaultHeaders) : {};
    const fetcher = GraphiQL.createFetcher({ url: endpoint.href, subscriptionUrl: socket.href });

    const properties = {
      // The schema is fetched before the headers editor exists, so the given headers go with every request; a tab's
      // own headers win over them, in whatever case they are written. A browser cannot send headers with a socket:
      // they are its first message.
      fetcher: (parameters, options) =>
        fetcher(parameters, { ...options, headers: merged(defaults, options?.headers ?? {}) }),
      storage,
      defaultTabs: config.tabs.length ? config.tabs : undefined,
      defaultHeaders: config.defaultHeaders ?? undefined,
      // The browser keeps headers only where the server itself hands some out, as a demo does. Elsewhere a credential
      // is the user's own, and lasts as long as the page.
      shouldPersistHeaders: Boolean(config.defaultHeaders) || config.tabs.some((tab) => tab.headers),
      inputValueDeprecation: true,
      schemaDescription: true,
    };
    ReactDOM.createRoot(root).render(
      React.createElement(GraphiQL, properties, React.createElement(GraphiQL.Logo, null, "runatlas")),
    );
  }

  function merged(defaults, own) {
    const names = new Set(Object.keys(own).map((name) => name.toLowerCase()));
    const rest = Object.entries(defaults).filter(([name]) => !names.has(name.toLowerCase()));
    return { ...Object.fromEntries(rest), ...own };
  }

  async function loaded(address) {
    const response = await fetch(address, { headers: { accept: "application/json" }, cache: "no-store" });
    if (!response.ok) throw new Error(`${address} answered ${response.status}`);
    return response.json();
  }

  // What the user edited is kept per configuration. With another one (a new demo has other credentials) the given tabs
  // win, and what belonged to the old one is forgotten.
  function storageOf(config) {
    const page = `runatlas:${location.pathname}:`;
    const namespace = page + config.id;
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith(page) && !key.startsWith(`${namespace}:`)) localStorage.removeItem(key);
    }
    const storage = GraphiQL.createLocalStorage({ namespace });
    openOn(activeTab(storage) ?? config.tabs[0], storage);
    return storage;
  }

  function activeTab(storage) {
    try {
      const saved = JSON.parse(storage.getItem("graphiql:tabState"));
      return saved?.tabs[saved.activeTabIndex];
    } catch {
      return undefined;
    }
  }

  // GraphiQL fills its editors from these three keys and then looks for the tab that has the same contents. Where they
  // do not match it shows the first tab without its variables, or adds a tab at each reload; so they are made to match.
  function openOn(tab, storage) {
    for (const editor of ["query", "variables", "headers"]) {
      if (tab?.[editor]) storage.setItem(`graphiql:${editor}`, tab[editor]);
      else storage.removeItem(`graphiql:${editor}`);
    }
  }

  function explain(error) {
    const notice = document.createElement("p");
    notice.className = "notice";
    notice.setAttribute("role", "alert");
    notice.textContent =
      `GraphiQL could not start: ${error.message}. Reload the page to try again. ` +
      "The API itself answers POST requests at this page's address.";
    root.replaceChildren(notice);
  }

  start().catch(explain);
})();
