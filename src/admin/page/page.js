// The status page. It shows what GET /v1/status says, as text and never as markup, and asks again every two seconds while it is
// looked at. Tokens that are typed in are kept in memory only; the decoder sends nothing anywhere.

const EVERY = 2000, PATIENCE = 8000, LONGEST = 4000;
/** Of a list at once; where it is cut, the page says so. */
const MOST = { routes: 500, endpoints: 100, reasons: 200 };
const SVG = "http://www.w3.org/2000/svg";
const $ = (id) => document.getElementById(id);

// ---- words and numbers

/** What somebody else wrote, made visible: nothing is endless, no control character acts, no direction is turned. */
function plain(value) {
  const text = typeof value === "string" ? value : value === undefined ? "" : JSON.stringify(value);
  return visible(text.length > LONGEST ? `${text.slice(0, LONGEST)} … (${text.length - LONGEST} more characters)` : text);
}

/** All text goes through here on its way into a node. */
function visible(text) {
  return text.replace(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]/g,
    (c) => c < " " ? String.fromCharCode(0x2400 + c.charCodeAt(0)) : `‹U+${c.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}›`);
}

function count(n) {
  return n === null || n === undefined ? "–" : Math.round(n).toLocaleString("en-US");
}

function rate(n) {
  if (n === null || n === undefined) return "–";
  return n === 0 ? "0" : n < 10 ? n.toFixed(n < 1 ? 2 : 1) : count(n);
}

function share(n) {
  return n === null || n === undefined ? "–" : n > 0.9995 && n < 1 ? "> 99.9 %" : `${(n * 100).toFixed(n > 0.9 && n < 1 ? 1 : 0)} %`;
}

function took(s) {
  if (s === null || s === undefined) return "–";
  if (s < 0.001) return `${(s * 1e6).toFixed(s < 0.0001 ? 0 : -0)} µs`;
  return s < 1 ? `${(s * 1000).toFixed(s < 0.01 ? 1 : 0)} ms` : `${s.toFixed(1)} s`;
}

function ago(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h ${Math.floor(s % 3600 / 60)} min` : `${Math.floor(s / 86400)} days`;
}

function bytes(n) {
  return n < 1024 ? `${n} B` : n < 1048576 ? `${(n / 1024).toFixed(0)} kB` : n < 1073741824 ? `${(n / 1048576).toFixed(1)} MB` : `${(n / 1073741824).toFixed(1)} GB`;
}

const date = (unix) => Math.abs(unix) > 8.64e12 ? "beyond all dates" : new Date(unix * 1000).toISOString().replace("T", " ").slice(0, 19) + " UTC";
const clockTime = (unix) => new Date(unix * 1000).toISOString().slice(11, 19);
const list = (values) => (values && values.length ? values.join(", ") : "");

// ---- nodes: made once, then changed where something changed, so that focus, selection and what is open stay

function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) if (value !== false && value !== null) node.setAttribute(key, value === true ? "" : value);
  node.append(...children.filter((c) => c !== null && c !== undefined && c !== false).map((c) => typeof c === "string" ? visible(c) : c));
  return node;
}

function svg(name, attributes, ...children) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

function say(node, text) {
  const words = visible(text);
  if (node.textContent !== words) node.textContent = words;
}

/** Replaces what is in `parent` where `data` is other than the last time. */
function fill(parent, data, make) {
  const now = JSON.stringify(data === undefined ? null : data);
  if (parent.told === now) return;
  parent.told = now;
  parent.replaceChildren(...[make()].flat().map((c) => typeof c === "string" ? visible(c) : c));
}

/** One child of `parent` for each item, in their order; those that stay are the same nodes. */
function each(parent, items, key, make, change) {
  const before = parent.kept || new Map(), now = new Map();
  let place = parent.firstElementChild;
  for (const item of items) {
    let name = key(item);
    while (now.has(name)) name += "+";
    const node = before.get(name) || make(item);
    now.set(name, node);
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
    if (change) change(node, item);
  }
  for (const [name, node] of before) if (now.get(name) !== node) node.remove();
  parent.kept = now;
}

const facts = (...pairs) => pairs.filter(([, value]) => value !== null && value !== undefined && value !== "").flatMap(([name, value]) =>
  [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : plain(String(value)))]);
const tag = (kind, words) => el("span", { class: `tag ${kind}` }, words);
const figure = (name, value, more) => el("div", {}, el("dt", {}, name), el("dd", {}, value, more ? el("small", {}, more) : null));

function spark(values, words) {
  const most = Math.max(...values, 0.001), last = Math.max(values.length - 1, 1);
  const points = values.map((v, i) => `${(i / last * 100).toFixed(1)},${(28 - v / most * 26).toFixed(1)}`);
  const picture = svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("line", { class: "axis", x1: 0, x2: 100, y1: 29, y2: 29 }));
  if (values.length > 1) picture.append(svg("polygon", { class: "area", points: `0,29 ${points.join(" ")} 100,29` }), svg("polyline", { class: "line", points: points.join(" ") }));
  return picture;
}

function bars(columns, words) {
  const most = Math.max(...columns.map((c) => c.parts.reduce((sum, [, n]) => sum + n, 0)), 1);
  const picture = svg("svg", { viewBox: `0 0 ${columns.length * 10} 100`, preserveAspectRatio: "none", role: "img", "aria-label": words },
    svg("line", { class: "axis", x1: 0, x2: columns.length * 10, y1: 99.5, y2: 99.5 }));
  columns.forEach(({ parts, title }, i) => {
    let top = 99;
    const group = svg("g", {}, svg("title", {}, title));
    for (const [kind, n] of parts) {
      if (!n) continue;
      const height = Math.max(n / most * 97, 1);
      top -= height;
      group.append(svg("rect", { class: kind, x: i * 10 + 1, width: 8, y: top.toFixed(2), height: height.toFixed(2) }));
    }
    picture.append(group);
  });
  return picture;
}

// ---- the command line beside each view

const quoted = (text) => /^[\w./:-]+$/.test(text) && !text.startsWith("-") ? text : `'${text.replace(/'/g, "'\\''")}'`;

function command(place, text) {
  fill(place, text, () => {
    const button = el("button", { type: "button" }, "Copy");
    button.addEventListener("click", async () => {
      try { await navigator.clipboard.writeText(text); say(button, "Copied"); } catch { say(button, "Select it"); }
      setTimeout(() => say(button, "Copy"), 1500);
    });
    return [el("code", {}, text), button];
  });
}

// ---- views

function verdict(s) {
  const broken = s.problems.some((p) => p.weight === "broken"), well = s.problems.length === 0;
  $("verdict").dataset.state = well ? "well" : broken ? "broken" : "doubtful";
  const n = s.problems.length;
  say($("verdict-words"), well ? "All well" : broken ? `${n === 1 ? "Something is" : `${n} things are`} wrong` : `It works, but ${n === 1 ? "one thing deserves" : `${n} things deserve`} a look`);
  document.title = well ? "Cambist: all well" : `Cambist: ${n} to look at`;
  fill($("problems"), s.problems, () => s.problems.map((p) => el("li", { class: p.weight === "broken" ? "broken" : null }, plain(p.words), el("small", {}, `Cure: ${plain(p.cure)}`))));
  const traffic = s.routes.map((r) => r.traffic).filter(Boolean);
  const sum = (of) => traffic.reduce((all, t) => all + of(t), 0);
  const slowest = Math.max(...traffic.map((t) => t.added_p99_seconds || 0), 0);
  const slow = s.routes.find((r) => r.traffic && slowest > 0 && r.traffic.added_p99_seconds === slowest);
  const flight = s.listeners.reduce((all, l) => all + l.requests_in_flight, 0);
  $("figures").replaceChildren(
    figure("Requests/s", rate(sum((t) => t.requests_per_second)), `${count(flight)} in flight`),
    figure("Hit ratio", share(s.cache.hit_ratio), "of look-ups in ten minutes"),
    figure("Added, p99", took(slowest || null), slow ? `the slowest: ${plain(slow.name).slice(0, 40)}` : "of the slowest route"),
    figure("Refused", count(sum((t) => t.refused)), `of ${count(sum((t) => t.requests))} in ten minutes`),
    figure("Up for", ago(s.uptime_seconds), `since ${date(s.now - s.uptime_seconds)}`));
}

function rule(r) {
  const { hosts, path, path_is, methods, headers } = r.rule;
  const shown = `${list(methods) ? `${methods.join("|")} ` : ""}${list(hosts) || ""}${path}${path_is === "prefix" ? (path === "/" ? "…" : "/…") : ""}`;
  return plain(shown + (headers.length ? ` with ${headers.join(", ")}` : "") + (r.listeners.length ? ` on ${r.listeners.join(", ")}` : ""));
}

const TOKENS = { exchange: "exchanged", client_credentials: "the gateway's own", strip: "none goes upstream", passthrough: "the caller's own", none: "" };
const COLUMNS = ["Route", "Upstream", "Token for", "Requests/s", "Ten minutes", "Added p99", "Hit ratio", "Refused"];

function routes(s) {
  const wanted = $("routes-filter").value.trim().toLowerCase();
  const shown = s.routes.filter((r) => !wanted || [r.name, r.upstream, rule(r), list(r.audience)].join(" ").toLowerCase().includes(wanted));
  const found = wanted ? `${count(shown.length)} of ${count(s.routes.length)}` : `${count(s.routes.length)}; p99, hit ratio and refusals are those of the last ten minutes`;
  say($("routes-note"), shown.length > MOST.routes ? `${count(MOST.routes)} of ${count(shown.length)} shown; filter to see others` : found);
  $("routes-empty").hidden = shown.length > 0;
  each($("routes-rows"), shown.slice(0, MOST.routes), (r) => r.name,
    () => el("tr", {}, ...COLUMNS.map((label, i) => el("td", { "data-label": label, class: [3, 5, 6, 7].includes(i) ? "n" : null }))),
    (row, r) => {
      const cells = row.children, t = r.traffic;
      fill(cells[0], [r.name, rule(r)], () => [el("b", {}, el("bdi", {}, plain(r.name))), el("small", { class: "mono" }, rule(r))]);
      fill(cells[1], r.upstream, () => el("bdi", {}, plain(r.upstream)));
      fill(cells[2], [r.token, r.audience], () => [el("bdi", {}, plain(list(r.audience))), el("small", {}, TOKENS[r.token] || "", r.needs ? "" : "; anybody may call")]);
      fill(cells[3], t && t.requests_per_second, () => t ? rate(t.requests_per_second) : "–");
      fill(cells[4], t && t.requests_per_second_steps, () => t ? spark(t.requests_per_second_steps, `Requests a second in ten minutes, at most ${rate(Math.max(...t.requests_per_second_steps, 0))}`) : "");
      fill(cells[5], t && t.added_p99_seconds, () => t ? took(t.added_p99_seconds) : "–");
      fill(cells[6], t && t.hit_ratio, () => t ? share(t.hit_ratio) : "–");
      fill(cells[7], t && t.refused, () => el("span", { class: t && t.refused ? "hot" : "dim" }, t ? count(t.refused) : "–"));
    });
}

function failures(s) {
  const wanted = $("failures-filter").value.trim().toLowerCase();
  const shown = s.failures.filter((f) => !wanted || [f.route, f.reason, f.cause, f.issuer_words, f.trace_id, f.status].join(" ").toLowerCase().includes(wanted));
  say($("failures-note"), s.failures.length ? `${wanted ? `${shown.length} of ` : ""}the last ${s.failures.length}, the newest first; open one for its cure` : "");
  $("failures-empty").hidden = s.failures.length > 0;
  each($("failures-rows"), shown, (f) => `${f.trace_id} ${f.time} ${f.reason}`, (f) => el("li", {}, el("details", {},
    el("summary", {},
      el("span", { class: "dim", title: date(f.time) }, el("time", { datetime: new Date(f.time * 1000).toISOString() }, clockTime(f.time))),
      el("span", {}, f.route === null ? el("i", { class: "dim" }, "no route") : plain(f.route)),
      el("span", {}, tag(f.status >= 500 ? "bad" : "", `${f.status} ${plain(f.reason)}`)),
      el("span", {}, plain(f.cause))),
    el("dl", { class: "facts" }, ...facts(["Cure", f.cure], ["Issuer's words", f.issuer_words], ["More", f.docs && el("code", {}, plain(f.docs))], ["Time", date(f.time)], ["Trace id", el("code", {}, plain(f.trace_id))])))));
}

function latency(e) {
  const last = e.counts.reduce((at, n, i) => n ? i : at, -1), first = e.counts.findIndex((n) => n);
  if (last < 0) return [];
  const from = Math.max(0, first - 1), to = Math.min(e.counts.length - 1, last + 1);
  const name = (i) => i < e.bounds_seconds.length ? `up to ${took(e.bounds_seconds[i])}` : `over ${took(e.bounds_seconds.at(-1))}`;
  const columns = e.counts.slice(from, to + 1).map((n, i) => ({ parts: [["bar-of", n]], title: `${name(from + i)}: ${n}` }));
  const words = `Exchanges by how long they took: half within ${took(e.p50_seconds)}, 99 of 100 within ${took(e.p99_seconds)}`;
  return [el("div", { class: "chart low" }, bars(columns, words), el("p", { class: "scale" }, el("span", {}, name(from)), el("span", {}, name(to))))];
}

function issuers(s) {
  $("issuers-empty").hidden = s.issuers.length > 0;
  each($("issuers-cards"), s.issuers, (i) => i.name, () => el("article", { class: "card issuer" }), (card, i) => fill(card, [i, i.last_error && i.last_error.at && Math.floor((s.now - i.last_error.at) / 60)], () => {
    const state = i.circuit !== "closed" ? tag("bad", { open: "circuit open", probing: "being probed", paused: "asked for a pause" }[i.circuit] || plain(i.circuit))
      : i.up === null ? tag("", "not asked yet") : i.up ? tag("good", "up") : tag("bad", "down");
    const error = i.last_error;
    return [
      el("header", {}, el("h3", {}, el("bdi", {}, plain(i.name))), state),
      el("p", { class: "sub mono" }, plain(i.url)),
      el("dl", { class: "facts" }, ...facts(
        ["Exchanges", !i.exchanges.count ? "none" : `${count(i.exchanges.count)}; half within ${took(i.exchanges.p50_seconds)}, 99 % within ${took(i.exchanges.p99_seconds)}`],
        ["In flight", `${count(i.in_flight)} of ${count(i.max_in_flight)}`],
        ["Breaker", i.circuit + (i.left_in_peace_seconds ? `, for ${ago(i.left_in_peace_seconds)}` : "")],
        ["Keys", i.keys_loaded ? `fetched ${ago(i.keys_age_seconds)} ago` : "none have come in"],
        ["Our client", i.client_id])),
      ...latency(i.exchanges),
      error ? el("div", { class: error.goes_on || i.circuit !== "closed" ? "quote bad" : "quote" },
        el("b", {}, error.goes_on ? "Error now: " : `Last error, ${error.at ? `${ago(s.now - error.at)} ago` : ""}: `), plain(error.cause), error.cure ? el("small", { class: "sub" }, `Cure: ${plain(error.cure)}`) : null)
        : el("p", { class: "dim" }, "No error so far."),
    ];
  }));
}

const isWell = (e) => e.healthy && e.ejected_for_seconds === null;

function upstreams(s) {
  $("upstreams-empty").hidden = s.upstreams.length > 0;
  each($("upstreams-cards"), s.upstreams, (u) => u.name, () => el("article", { class: "card" }), (card, u) => fill(card, u, () => {
    const all = u.endpoints.length, good = u.endpoints_good;
    // Where not all can be shown, those that are not well come first.
    const shown = (all > MOST.endpoints ? u.endpoints.toSorted((a, b) => isWell(a) - isWell(b)) : u.endpoints).slice(0, MOST.endpoints);
    return [
      el("header", {}, el("h3", {}, el("bdi", {}, plain(u.name))), all === 0 ? tag("warn", "no endpoint") : good === all ? tag("good", all === 1 ? "1 endpoint" : `${all} endpoints`) : tag(good ? "warn" : "bad", `${good} of ${all} good`)),
      el("dl", { class: "facts" }, ...facts(
        ["Answers", u.answers ? `${count(u.answers)}, ${rate(u.answers_per_second)}/s; 99 % within ${took(u.answers_p99_seconds)}` : "none"],
        ["No answer", el("span", { class: u.failed ? "hot" : "dim" }, count(u.failed))],
        ["Health", u.checked ? "checked" : all > 1 ? "not checked" : null],
        ["Why none", u.why_none])),
      el("ul", { class: "endpoints" }, ...shown.map((e) => el("li", {}, el("code", {}, plain(e.endpoint)),
        el("span", {}, `${count(e.in_use)} in use `, e.ejected_for_seconds !== null ? tag("warn", `left out ${ago(e.ejected_for_seconds)}`) : e.healthy ? tag("good", "good") : tag("bad", "unhealthy"))))),
      all > shown.length ? el("p", { class: "dim" }, `${count(shown.length)} of ${count(all)} shown, those that are not well first; the command below tells all`) : null,
    ];
  }));
}

const RESULTS = { hit: "at once", refresh: "at once, renewed behind", coalesced: "waited with another", miss: "exchanged", forced: "asked anew", denied: "refused before" };

function cache(s) {
  const c = s.cache;
  fill($("cache-figures"), [c.entries, c.max_entries, c.bytes, c.max_bytes, c.hit_ratio], () => [
    figure("Entries", count(c.entries), `of ${count(c.max_entries)} at most`),
    figure("Memory", bytes(c.bytes), `of ${bytes(c.max_bytes)} at most`),
    figure("Hit ratio", share(c.hit_ratio), "in ten minutes")]);
  fill($("cache-chart"), c.lookups_steps, () => {
    const steps = [...Array(Math.max(0, s.history.steps + 1 - c.lookups_steps.length)).fill(c.lookups_names.map(() => 0)), ...c.lookups_steps];
    const columns = steps.map((counts, i) => ({ parts: c.lookups_names.map((name, k) => [name, counts[k]]), title: `${(steps.length - 1 - i) * s.history.step_seconds} s ago: ` + c.lookups_names.map((name, k) => `${name} ${counts[k]}`).join(", ") }));
    return [bars(columns, "Look-ups in ten minutes, stacked by result"), el("p", { class: "scale" }, el("span", {}, "10 min ago"), el("span", {}, "now"))];
  });
  fill($("cache-legend"), c.lookups, () => c.lookups_names.map((name) => el("li", {},
    svg("svg", { viewBox: "0 0 10 10", "aria-hidden": "true" }, svg("rect", { class: name, width: 10, height: 10, rx: 2 })), `${name} ${count(c.lookups[name])} `, el("span", {}, RESULTS[name] || ""))));
}

function config(s) {
  const { file, loaded_at, last_attempt: last } = s.config;
  say($("config-note"), last.successful ? "" : "the file as it is written now cannot be used");
  const log = s.log && `${s.log.level}, ${s.log.access ? "a line a request" : "no access lines"}${s.log.as_configured ? "" : "; set by an operator, not by the file"}${s.log.lines_dropped ? `; ${count(s.log.lines_dropped)} lines were lost` : ""}`;
  fill($("config-facts"), [file, loaded_at, last.at, log, Math.floor(s.now / 10)], () => facts(
    ["File", file || "none: it was not started from a file"], ["Age", `${ago(s.now - loaded_at)}, since ${date(loaded_at)}`],
    ["Last reload", `${last.successful ? "good" : "refused"}, ${ago(s.now - last.at)} ago`], ["Log", log], ["Version", s.version]));
  fill($("config-errors"), last.errors, () => last.errors.map((e) => el("li", { class: "broken" }, [e.code && `[${e.code}]`, e.place, e.cause].filter(Boolean).map(plain).join(" "), e.cure ? el("small", {}, `Cure: ${plain(e.cure)}`) : null)));
  each($("listeners-cards"), s.listeners, (l) => l.name, () => el("article", { class: "card" }), (card, l) => fill(card, [l, l.certificate_expires_at && Math.floor(s.now / 60)], () => {
    const left = l.certificate_expires_at === null ? null : l.certificate_expires_at - s.now;
    return [el("header", {}, el("h3", {}, "Listener ", el("bdi", {}, plain(l.name))), l.tls ? tag("good", "TLS") : tag("", "clear text")),
      el("dl", { class: "facts" }, ...facts(["Address", l.address], ["Routes", count(l.routes.length)], ["In flight", count(l.requests_in_flight)],
        ["Certificate", left === null ? null : el("span", { class: left < 604800 ? "hot" : null }, left > 0 ? `good for ${ago(left)}, until ${date(l.certificate_expires_at)}` : "expired")]))];
  }));
}

function choices(select, items, key) {
  fill(select, items, () => items.map(([value, words]) => el("option", { value, selected: value === key }, plain(words))));
}

// ---- asking

let status = null, paused = false, timer = 0, asking = false;

function show(s) {
  status = s;
  say($("version"), s.version);
  for (const view of [verdict, routes, failures, issuers, upstreams, cache, config]) view(s);
  choices($("decoder-route"), s.routes.map((r) => [r.name, r.name]), $("decoder-route").value);
  const audiences = [...new Set([...s.routes.flatMap((r) => r.audience || []), ...(s.exchange_api ? s.exchange_api.audiences : [])])].sort();
  choices($("actions-audience"), [["", "everybody"], ...audiences.map((a) => [a, `audience ${a}`])], $("actions-audience").value);
  decode();
  say($("foot"), `As of ${date(s.now)}. The history holds ${s.history.steps * s.history.step_seconds / 60} minutes in steps of ${s.history.step_seconds} s.`);
}

function pulse(state, words) {
  $("pulse").dataset.state = state;
  say($("pulse-words"), words);
}

async function ask() {
  clearTimeout(timer);
  if (asking || paused || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch("/v1/status", { cache: "no-store", credentials: "omit", signal: AbortSignal.timeout(PATIENCE) });
    if (!answer.ok) throw new Error(`it answers ${answer.status}`);
    const s = await answer.json();
    if (!paused) {
      show(s);
      pulse("live", "live");
    }
  } catch (error) {
    pulse("lost", "not reached");
    $("verdict").dataset.state = "lost";
    say($("verdict-words"), status ? `The gateway cannot be reached; this is what was known at ${clockTime(status.now)} UTC` : "The gateway cannot be reached");
  }
  asking = false;
  timer = setTimeout(ask, EVERY);
}

// ---- route tester

function testerCommand(method, url, headers) {
  const query = [`method=${encodeURIComponent(method)}`, `url=${encodeURIComponent(url)}`, ...headers.map((h) => `header=${encodeURIComponent(h)}`)].join("&");
  const more = headers.map((h) => ` -H ${quoted(h)}`).join("");
  command($("tester-cli"), `cambist explain --gateway ${location.origin}${more} ${quoted(method)} ${quoted(url)}`);
  return `/v1/explain?${query}`;
}

function testerInput() {
  const headers = $("tester-headers").value.split("\n").map((h) => h.trim()).filter(Boolean);
  return testerCommand($("tester-method").value.trim() || "GET", $("tester-url").value.trim() || "/", headers);
}

function explained(told, url) {
  return told.answers.map((a) => {
    const head = a.outcome === "route" ? [tag("good", "taken"), ` by the route `, el("b", {}, el("bdi", {}, plain(a.route)))]
      : a.outcome === "own_path" ? [tag("good", "own"), ` ${plain(a.why)}`] : [tag("bad", `${a.refused.status} ${plain(a.refused.code)}`), ` ${plain(a.refused.why)}`];
    const up = a.upstream, token = a.token, callers = a.callers;
    return el("article", { class: "card" },
      el("p", {}, ...head, el("span", { class: "dim" }, ` on the listener ${plain(a.listener)}`)),
      a.outcome === "route" ? el("dl", { class: "facts" }, ...facts(
        ["Callers", callers && (callers.callers === "anonymous" ? "anybody" : `with a token of ${list((callers.issuers || []).map((i) => i.name))}`)],
        ["Token", token && [TOKENS[token.token] || token.token, list(token.audience) && `for ${list(token.audience)}`, list(token.scopes) && `scopes ${list(token.scopes)}`].filter(Boolean).join(", ")],
        ["Upstream", up && `${up.name}, path ${up.path}, Host ${up.host}`])) : null,
      ...reasons(a.routes || [], url));
  });
}

/** How far a route came: what of a request is looked at last is the nearest to taking it. */
const FAR = ["won", "ambiguous", "less_specific", "method", "header", "path", "host", "listener"];

/** The nearest first: by how far it came, then by how much of the path is its own. */
function nearest(routes, url) {
  let asked = url;
  try { asked = new URL(url, "http://localhost").pathname; } catch { /* it stays as it is written */ }
  const paths = new Map(status ? status.routes.map((r) => [r.name, r.rule.path]) : []);
  const shared = ({ route }) => {
    const path = paths.get(route) || "", differs = [...path].findIndex((c, i) => c !== asked[i]);
    return differs < 0 ? path.length : differs;
  };
  const ranked = routes.map((r) => ({ r, far: FAR.indexOf(r.verdict), shared: shared(r) }));
  return ranked.sort((a, b) => a.far - b.far || b.shared - a.shared).map(({ r }) => r);
}

/** Why each route does or does not; of very many the nearest, until all are asked for. */
function reasons(routes, url) {
  const all = nearest(routes, url), shown = el("ul", { class: "checks" });
  const show = (some) => shown.append(...some.map((r) => el("li", { class: r.verdict === "won" ? "yes" : "no" }, el("span", { "aria-hidden": "true" }, r.verdict === "won" ? "✓" : "✗"),
    el("span", {}, el("b", {}, el("bdi", {}, plain(r.route))), ` ${r.verdict === "won" ? "wins" : "does not"}: ${plain(r.why)}`))));
  show(all.slice(0, MOST.reasons));
  if (all.length <= MOST.reasons) return [shown];
  const button = el("button", { type: "button" }, "Show all"), rest = el("p", { class: "rest" }, el("span", {}, `${count(MOST.reasons)} of ${count(all.length)} shown, the nearest first `), button);
  button.addEventListener("click", () => {
    show(all.slice(MOST.reasons));
    shown.tabIndex = -1;
    shown.focus({ preventScroll: true });
    rest.remove();
  });
  return [shown, rest];
}

$("tester-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const place = $("tester-told");
  if (/^\s*(authorization|proxy-authorization|cookie)\s*:/im.test($("tester-headers").value)) {
    place.replaceChildren(el("p", { class: "quote bad" }, "Nothing was asked: a header with a token has no place here, and no route is chosen by it."));
    return;
  }
  try {
    const answer = await fetch(testerInput(), { cache: "no-store", credentials: "omit" });
    const words = await answer.text();
    place.replaceChildren(...(answer.ok ? explained(JSON.parse(words), $("tester-url").value.trim() || "/") : [el("p", { class: "quote bad" }, plain(words))]));
  } catch (error) {
    place.replaceChildren(el("p", { class: "quote bad" }, `The gateway could not be asked: ${plain(String(error.message))}`));
  }
});
$("tester-form").addEventListener("input", testerInput);

// ---- token decoder: nothing in here asks anybody anything

const LONGEST_TOKEN = 16384, DEEPEST = 127;

/** A number as it was written: the gateway does not round, and 1 and 1.0 are two values to it. */
class Figure {
  constructor(written) { this.written = written; }

  toJSON() { return Number(this.written); }

  isWhole(least, most) { return /^-?\d+$/.test(this.written) && BigInt(this.written) >= least && BigInt(this.written) <= most; }

  /** In whole units; `undefined`: out of range. */
  units() {
    const n = Number(this.written);
    return this.isWhole(-(2n ** 63n), 2n ** 63n - 1n) ? n : Math.abs(n) < 9e15 ? Math.floor(n) : undefined;
  }

  /** As the values in `require.claims` are compared with it. */
  toString() {
    if (this.isWhole(-(2n ** 63n), 2n ** 64n - 1n)) return this.written;
    const n = Number(this.written), size = Math.abs(n);
    return size >= 1e16 || (size > 0 && size < 1e-5) ? n.toExponential().replace("+", "") : Number.isInteger(n) ? n.toFixed(1) : String(n);
  }
}

/** One object of JSON, as strictly as the gateway reads it: `JSON.parse` lets a key stand twice, and half a character. */
function strictly(text) {
  JSON.parse(text);
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|[a-z]+|[{}[\]:,]/g);
  let at = 0;
  const string = () => {
    const read = JSON.parse(tokens[at++]);
    if (/\p{Surrogate}/u.test(read)) throw new Error("JSON with half a character");
    return read;
  };
  const value = (depth) => {
    const token = tokens[at];
    if (token[0] === '"') return string();
    at += 1;
    if (/[-\d]/.test(token[0])) {
      if (!Number.isFinite(Number(token))) throw new Error("JSON with a number beyond all bounds");
      return new Figure(token);
    }
    if (token !== "{" && token !== "[") return JSON.parse(token);
    if (depth >= DEEPEST) throw new Error("JSON too deep");
    // Without a prototype: a claim may have any name.
    const list = token === "[", out = list ? [] : Object.create(null);
    for (; tokens[at] !== "}" && tokens[at] !== "]"; at += tokens[at] === "," ? 1 : 0) {
      if (list) { out.push(value(depth + 1)); continue; }
      const key = string();
      if (key in out) throw new Error("JSON with a key that stands twice in one object");
      at += 1;
      out[key] = value(depth + 1);
    }
    at += 1;
    return out;
  };
  const all = value(0);
  if (!isMap(all)) throw new Error("JSON that is no object");
  return all;
}

const isMap = (v) => typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Figure);

/** Base64url in its one spelling. */
function unwrapped(text) {
  const usual = text.replace(/-/g, "+").replace(/_/g, "/");
  const binary = /^[\w-]*$/.test(text) ? atob(usual) : "";
  if (btoa(binary).replace(/=+$/, "") !== usual) throw new Error("no base64url");
  return Uint8Array.from(binary, (c) => c.charCodeAt(0));
}

const part = (text) => strictly(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(unwrapped(text)));

/** Header and claims, or in `wrong` why the gateway could not read them. */
function taken(token) {
  const parts = token.split(".");
  if (parts.length !== 3) return { wrong: parts.length === 5 ? "An encrypted token (JWE): only its recipient can read it." : `No JWT: it has ${parts.length} part${parts.length > 1 ? "s" : ""} instead of three. A token that only its issuer can read needs verification: introspection.` };
  if (token.length > LONGEST_TOKEN) return { wrong: "No token for the gateway: it is longer than 16 KiB." };
  let name = "signature";
  try {
    unwrapped(parts[2]);
    name = "header";
    const header = part(parts[0]);
    name = "claims";
    return { header, claims: part(parts[1]) };
  } catch (error) {
    return { wrong: `No JWT: as to its ${name}, ${/^(JSON|no base)/.test(error.message) ? error.message : "no base64url of JSON"}. Is it cut off?` };
  }
}

const OTHER_TYPES = /^(id|refresh|offline|logout)$/i, ACCESS_TYPES = /^((application\/)?at\+jwt|jwt)$/i, STRICT_TYPES = /^(application\/)?at\+jwt$/i;

/** A claim of this name, or one further in: `realm_access.roles`. */
function claimAt(claims, name) {
  if (name in claims || !name.includes(".")) return claims[name];
  const dot = name.indexOf("."), inner = claims[name.slice(0, dot)];
  return isMap(inner) ? claimAt(inner, name.slice(dot + 1)) : undefined;
}

/** What the gateway would find, check by check: src/verify says the same, and a test holds the two together. */
function checks(header, claims, needs, now) {
  const all = [], check = (good, words) => all.push([good ? "yes" : "no", words]);
  // Absent: `undefined`. Of the wrong type, which is never as good as absent: `null`, and a line that says so.
  const typed = (of, key, place, read, wanted) => {
    const value = of[key];
    if (value === undefined || (value === null && wanted !== "a number")) return undefined;
    const found = read(value);
    if (found === undefined) check(false, `${key}${place} is ${JSON.stringify(value)}, which is not ${wanted}`);
    return found ?? null;
  };
  const text = (key, of = claims, place = "") => typed(of, key, place, (v) => typeof v === "string" ? v : undefined, "a string");
  const time = (key) => typed(claims, key, "", (v) => v instanceof Figure && v.units() !== undefined ? Math.max(v.units(), 0) : undefined, "a number");
  const texts = (key) => typed(claims, key, "", (v) => typeof v === "string" ? [v] : Array.isArray(v) && v.every((one) => typeof one === "string") ? v : undefined, "a string or an array of strings");

  const iss = text("iss"), named = needs.issuers.find((i) => i.url === iss);
  const asks = (i) => i.verified_by === "introspection";
  const issuer = named || (iss === undefined && needs.issuers.length === 1 ? needs.issuers.find(asks) : undefined);
  if (named) check(true, `iss is the url of the issuer ${named.name}`);
  else if (iss !== null && !issuer) check(false, `iss is ${iss === undefined ? "missing" : JSON.stringify(iss)}; wanted is exactly ${needs.issuers.map((i) => i.url).join(" or ") || "one that is configured"}`);
  const skew = issuer ? issuer.clock_skew_seconds : 0, within = ` (clocks may differ by ${skew} s)`;
  const exp = time("exp");
  if (exp === undefined && !(issuer && asks(issuer))) check(false, "it has no exp");
  else if (typeof exp === "number") check(now < exp + skew, exp > now ? `exp: good for ${ago(exp - now)} more` : `exp: it expired ${ago(now - exp)} ago${within}`);
  if (issuer && asks(issuer)) {
    all.push(["ask", `the gateway asks the issuer ${issuer.name} about it (introspection); what that answers counts, and not what else stands in the token`]);
    return all;
  }

  if ("crit" in header) check(false, "crit in its header: none of what that could demand is understood");
  const typ = text("typ", header, " in its header"), strict = issuer && issuer.strict_at_jwt;
  if (typ !== null && !(typ === undefined ? !strict : (strict ? STRICT_TYPES : ACCESS_TYPES).test(typ))) {
    check(false, strict ? `typ in its header is ${typ === undefined ? "missing" : JSON.stringify(typ)}; wanted is at+jwt (strict_at_jwt)` : `typ in its header is ${JSON.stringify(typ)}, which is no access token`);
  }
  const alg = text("alg", header, " in its header"), known = alg === "Ed25519" ? "EdDSA" : alg;
  if (alg === undefined) check(false, "its header names no signature algorithm (alg)");
  else if (issuer && alg !== null && !issuer.algorithms.includes(known)) check(false, `alg in its header is ${JSON.stringify(alg)}; wanted is one of ${issuer.algorithms.join(", ")}`);
  text("kid", header, " in its header");

  const nbf = time("nbf");
  if (typeof nbf === "number") check(nbf <= now + skew, nbf <= now ? "nbf has passed" : `nbf: not good before ${date(nbf)}${within}`);
  time("iat");
  const aud = texts("aud");
  if (issuer && aud !== null) {
    const found = (aud || []).filter((a) => issuer.audiences.includes(a));
    check(found.length, found.length ? `aud has ${found.join(", ")}` : `aud is ${aud ? JSON.stringify(claims.aud) : "missing"}; wanted is one of ${issuer.audiences.join(", ")}`);
  }
  const kind = text("typ");
  if (kind && OTHER_TYPES.test(kind)) check(false, `typ is ${JSON.stringify(kind)}: a token of that type is no access token`);
  if ("cnf" in claims) check(false, "cnf: it is bound to a key or certificate of the caller, which cannot be proven from here; the login client has to fetch plain bearer tokens");
  const sub = text("sub");
  if (sub !== null) check(sub, sub ? "sub is there" : `sub is ${sub === undefined ? "missing" : "empty"}; Keycloak: give the login client the client scope basic`);
  let azp = text("azp"), client = "azp";
  if (azp === undefined) [azp, client] = [text("client_id"), "client_id"];
  text("sid");

  const [scope, scp] = [texts("scope"), texts("scp")], scopes = [...scope || [], ...scp || []].flatMap((s) => s.split(/[ \t\n\f\r]+/));
  if (scope !== null && scp !== null) for (const wanted of needs.scopes) check(scopes.includes(wanted), scopes.includes(wanted) ? `it has the scope ${wanted}` : `it lacks the scope ${wanted}`);
  for (const { name, one_of } of needs.claims) {
    const value = claimAt(claims, name);
    const values = (Array.isArray(value) ? value : [value]).filter((v) => typeof v === "string" || typeof v === "boolean" || v instanceof Figure).map(String);
    const good = values.some((v) => one_of.includes(v));
    check(good, `the claim ${name} is ${value === undefined ? "missing" : JSON.stringify(value)}${good ? "" : `; wanted is one of ${one_of.join(", ")}`}`);
  }
  if (needs.login_client_is_not && typeof azp === "string") {
    const own = needs.login_client_is_not.includes(azp);
    check(!own, own ? `the login client (${client} ${azp}) is the very audience of this route` : `the login client (${client} ${azp}) is no audience of this route`);
  }
  all.push(["open", `the signature (alg ${JSON.stringify(header.alg)}, kid ${JSON.stringify(header.kid)}) is not checked here: the gateway does that`]);
  return all;
}

const MARKS = { yes: "✓", no: "✗", open: "?", ask: "?" };

function judged(route, all) {
  const has = (kind) => all.some(([k]) => k === kind);
  const verdict = has("no") ? [tag("bad", "not accepted"), " by the route "] : has("ask") ? [tag("warn", "the issuer is asked"), " on the route "] : [tag("good", "fits"), " the route "];
  return el("article", { class: "card" }, el("p", {}, ...verdict, el("b", {}, el("bdi", {}, plain(route.name)))),
    el("ul", { class: "checks" }, ...all.map(([kind, words]) => el("li", { class: kind === "ask" ? "open" : kind }, el("span", { "aria-hidden": "true" }, MARKS[kind]), el("span", {}, plain(words))))));
}

function decoded(text, route) {
  const needs = route && route.needs;
  const { header, claims, wrong } = taken(text.replace(/^bearer\s+/i, ""));
  if (wrong) {
    const asked = needs && needs.issuers.length === 1 && needs.issuers[0].verified_by === "introspection";
    return [el("p", { class: asked ? "quote" : "quote bad" }, asked ? `It cannot be read here: the gateway asks the issuer ${plain(needs.issuers[0].name)} about it (introspection).` : plain(wrong))];
  }
  const now = status ? status.now : Date.now() / 1000, out = [];
  if (needs) out.push(judged(route, checks(header, claims, needs, now)));
  else if (route) out.push(el("p", { class: "card" }, "This route looks at no token: anybody may call."));
  const times = ["iat", "nbf", "exp", "auth_time"].filter((name) => claims[name] instanceof Figure).map((name) => [name, Number(claims[name].written)])
    .map(([name, at]) => [name, `${date(at)} (${at > now ? `in ${ago(at - now)}` : `${ago(now - at)} ago`})`]);
  out.push(el("div", { class: "grid" },
    el("article", { class: "card" }, el("h3", {}, "Claims"), el("pre", { tabindex: "0" }, plain(JSON.stringify(claims, null, 2)))),
    el("article", { class: "card" }, el("h3", {}, "Header"), el("pre", { tabindex: "0" }, plain(JSON.stringify(header, null, 2))), el("dl", { class: "facts" }, ...facts(...times)))));
  return out;
}

function decode() {
  const text = $("decoder-token").value.trim(), name = $("decoder-route").value;
  const route = status && status.routes.find((r) => r.name === name);
  const place = $("decoder-told");
  // The clock goes on, but nothing is made anew under who reads it.
  fill(place, [text, route && [route.name, route.needs], status && Math.floor(status.now / 10)], () => text ? decoded(text, route) : []);
}

function forget() {
  for (const form of ["decoder-form", "actions-form"]) $(form).reset();
  decode();
  ready();
}

$("decoder-form").addEventListener("input", decode);
$("decoder-form").addEventListener("submit", (event) => event.preventDefault());
$("decoder-form").addEventListener("reset", () => setTimeout(decode));
addEventListener("pagehide", forget);
addEventListener("pageshow", forget);

// ---- actions

function purgePath() {
  const audience = $("actions-audience").value;
  return audience ? `/v1/tokens?audience=${encodeURIComponent(audience)}` : "/v1/tokens?all";
}

function ready() {
  for (const button of ["actions-purge", "actions-reload"]) $(button).disabled = !$("actions-token").value;
  const head = '-H "Authorization: Bearer $(cat admin-token)"';
  command($("actions-cli-purge"), `curl -X DELETE ${head} ${quoted(location.origin + purgePath())}`);
  command($("actions-cli-reload"), `curl -X POST ${head} ${location.origin}/v1/reload`);
}

async function act(method, path) {
  const place = $("actions-told");
  place.replaceChildren(el("p", {}, "…"));
  try {
    const answer = await fetch(path, { method, headers: { authorization: `Bearer ${$("actions-token").value}` }, credentials: "omit", cache: "no-store" });
    const words = (await answer.text()).trim();
    place.replaceChildren(el("p", { class: answer.ok ? "quote" : "quote bad" }, `${answer.status}: ${plain(words)}`));
    ask();
  } catch (error) {
    place.replaceChildren(el("p", { class: "quote bad" }, `It could not be asked for: ${plain(String(error.message))}`));
  }
}

$("actions-form").addEventListener("input", ready);
$("actions-form").addEventListener("submit", (event) => event.preventDefault());
$("actions-purge").addEventListener("click", () => act("DELETE", purgePath()));
$("actions-reload").addEventListener("click", () => act("POST", "/v1/reload"));

// ---- begin

for (const place of document.querySelectorAll("[data-cli]")) command(place, `curl -s ${location.origin}/v1/status | jq ${quoted(place.dataset.jq)}`);
for (const place of document.querySelectorAll("[data-text]")) command(place, place.dataset.text);
for (const id of ["routes-filter", "failures-filter"]) $(id).addEventListener("input", () => status && show(status));
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  say($("pause"), paused ? "Go on" : "Pause");
  if (paused) pulse("wait", "paused");
  ask();
});
document.addEventListener("visibilitychange", ask);
testerInput();
ready();
ask();
