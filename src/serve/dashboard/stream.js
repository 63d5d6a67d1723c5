// Live views over one EventSource. What came since the last commit waits; a commit applies it, all views together.
//
// `gone` and `come` of one commit are given for a row by its key: taking first what goes, then what comes, gives the same
// rows however often a part is sent again.

/** The rows of the views that a stream of events brings. */
export class Views {
  constructor() {
    this.tables = new Map();
    this.waiting = [];
    this.last = null;
  }

  /** What was seen of a commit that is not complete is sent again after a break. */
  opened() {
    this.waiting = [];
  }

  reset() {
    this.tables.clear();
    this.waiting = [];
  }

  take(part) {
    this.waiting.push(part);
  }

  /** Applies what waits; gives the names of the views that changed, each with the keys of the rows that came. */
  commit(id) {
    const changed = new Map();
    for (const part of this.waiting) {
      let table = this.tables.get(part.view);
      if (part.columns) {
        table = { key: part.key, columns: part.columns, about: part.about, rows: new Map() };
        this.tables.set(part.view, table);
      }
      if (!table) continue;
      if (!changed.has(part.view)) changed.set(part.view, new Set());
      const keys = changed.get(part.view);
      for (const row of part.gone ?? []) table.rows.delete(key(table, row));
      for (const row of part.come ?? part.rows ?? []) {
        const at = key(table, row);
        table.rows.set(at, row);
        if (part.come) keys.add(at);
      }
    }
    this.waiting = [];
    this.last = id;
    return changed;
  }
}

/** What tells a row from the others of its table. */
export function key(table, row) {
  return JSON.stringify(table.key.map((name) => row[name]));
}

/**
 * Connects `views` with the server, and again whenever the connection is lost. `on` is told: `open`, `lost`, `progress(data)`,
 * `commit(data, changed)`, `refused(status)`.
 */
export function connect(views, query, on) {
  let source = null;
  let again = 0;
  let closed = false;
  const open = () => {
    const last = views.last ? `&last-event-id=${encodeURIComponent(views.last)}` : "";
    source = new EventSource(`/v1/events?${query}${last}`);
    source.onopen = () => {
      views.opened();
      on.open();
    };
    const take = (event) => views.take(JSON.parse(event.data));
    source.addEventListener("snapshot", take);
    source.addEventListener("change", take);
    source.addEventListener("reset", () => views.reset());
    source.addEventListener("progress", (event) => on.progress(JSON.parse(event.data)));
    source.addEventListener("commit", (event) => on.commit(JSON.parse(event.data), views.commit(event.lastEventId)));
    source.onerror = () => {
      if (closed) return;
      on.lost();
      // A browser comes back by itself, unless it was refused.
      if (source.readyState === EventSource.CLOSED) {
        clearTimeout(again);
        again = setTimeout(async () => {
          const status = await fetch("/v1/status").then((answer) => answer.status, () => 0);
          if (status === 401) on.refused();
          else if (!closed) open();
        }, 1000);
      }
    };
  };
  open();
  return {
    close() {
      closed = true;
      clearTimeout(again);
      source.close();
    },
  };
}
