// The status page's story in Chromium. Each case says what must hold; the first line that does not ends the run with code 1. It is
// started by tests/page.rs, which says by PAGE_… where the gateway is.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import http from "node:http";
import { chromium } from "playwright-core";

const { PAGE_URL: URL_OF, PAGE_CHROMIUM, PAGE_SHOTS, PAGE_TOKEN, PAGE_ADMIN_TOKEN, PAGE_CASES } = process.env;
const SIZES = { wide: { width: 1280, height: 900 }, narrow: { width: 360, height: 740 } };
const HOSTILE = `<img src=x onerror="window.pwned=1"></script><script>window.pwned=2</script>\u202edesrever\u2066\u200b\u001b[31mred\u0007\u0000`;

const browser = await chromium.launch({ executablePath: PAGE_CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage", "--host-resolver-rules=MAP evil.example 127.0.0.1"] });
let failed = 0;

/** A page that keeps account of everything that goes wrong in it, and of everything it asks for. */
async function open({ size = "wide", scheme = "light", status } = {}) {
  const context = await browser.newContext({ viewport: SIZES[size], colorScheme: scheme, reducedMotion: "reduce" });
  const page = await context.newPage(), seen = { wrong: [], asked: [] };
  page.on("console", (m) => ["error", "warning"].includes(m.type()) && seen.wrong.push(m.text()));
  page.on("pageerror", (e) => seen.wrong.push(String(e)));
  page.on("dialog", (d) => { seen.wrong.push(`dialog ${d.message()}`); d.dismiss(); });
  page.on("request", (r) => seen.asked.push(r));
  await page.addInitScript(() => {
    window.violations = [];
    addEventListener("securitypolicyviolation", (e) => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
  });
  if (status) await page.route("**/v1/status", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: status(await answer.json()) });
  });
  const first = page.waitForResponse("**/v1/status");
  await page.goto(URL_OF);
  const json = await (await first).json();
  await page.waitForSelector('#pulse[data-state="live"]');
  return { context, page, seen, json, wrong: async () => [...seen.wrong, ...await page.evaluate(() => window.violations)] };
}

async function test(name, story) {
  const opened = [];
  try {
    await story(async (options) => { const it = await open(options); opened.push(it); return it; });
    console.log(`ok      ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED  ${name}\n${error.stack}`);
  }
  for (const { context } of opened) await context.close();
}

const overflow = (page) => page.evaluate(() => {
  const most = document.documentElement.clientWidth;
  const out = [...document.querySelectorAll("body *")].filter((n) => {
    if (n.closest("nav, .scroll, pre, textarea, .skip, thead") || n.getBoundingClientRect().width === 0) return false;
    return n.getBoundingClientRect().right > most + 1;
  });
  return { page: document.scrollingElement.scrollWidth - most, out: out.slice(0, 5).map((n) => `${n.tagName}.${n.className} ${n.textContent.slice(0, 40)}`) };
});
const shot = async (page, name) => {
  await page.evaluate(() => scrollTo(0, 0));
  await page.screenshot({ path: `${PAGE_SHOTS}/${name}.png`, fullPage: true });
};
const text = (page, selector) => page.locator(selector).innerText();

/** A question with headers of our own, as no browser would send it. */
const raw = (path, headers, method = "GET") => new Promise((resolve, reject) => {
  const { hostname, port } = new URL(URL_OF);
  const asked = http.request({ hostname, port, path, method, headers }, (answer) => { answer.resume(); answer.on("end", () => resolve(answer)); });
  asked.on("error", reject);
  asked.end();
});

/** The same JSON with something hostile behind every string. */
function poisoned(value, key) {
  if (typeof value === "string") return ["time", "circuit", "weight", "path_is"].includes(key) ? value : value + HOSTILE + (key === "issuer_words" ? "w".repeat(10_000) : "");
  if (Array.isArray(value)) return value.map((v) => poisoned(v, key === "lookups_names" ? "time" : key));
  return value && typeof value === "object" ? Object.fromEntries(Object.entries(value).map(([k, v]) => [k, poisoned(v, k)])) : value;
}

await test("what it shows is what the status says", async (open) => {
  // The callers go on: on a slow machine it would have asked again by the time it is read.
  let first;
  const { page, json, wrong } = await open({ status: (s) => first ??= s });
  const rows = page.locator("#routes-rows tr");
  assert.equal(await rows.count(), json.routes.length);
  for (const [i, route] of json.routes.entries()) {
    const cells = await rows.nth(i).locator("td").allInnerTexts();
    assert.ok(cells[0].startsWith(route.name) && cells[0].includes(route.rule.path), cells[0]);
    assert.equal(cells[1], route.upstream);
    assert.ok(cells[2].includes((route.audience || []).join(", ")), cells[2]);
    assert.equal(cells[7], route.traffic.refused.toLocaleString("en-US"));
    const { hit_ratio: ratio, added_p99_seconds: p99 } = route.traffic;
    if (ratio === null) assert.equal(cells[6], "–");
    else assert.ok(Math.abs(parseFloat(cells[6].replace("> ", "")) - ratio * 100) < 1, `${cells[6]} ${ratio}`);
    assert.equal(cells[5] === "–", p99 === null);
  }
  const orders = json.routes.find((r) => r.name === "orders");
  assert.ok(orders.traffic.requests > 100 && orders.traffic.hit_ratio > 0.5 && orders.traffic.requests_per_second_steps.length > 15, "there is something to look at");
  const failures = await page.locator("#failures-rows li").all();
  assert.equal(failures.length, json.failures.length);
  for (const [i, f] of json.failures.entries()) {
    const words = await failures[i].locator("summary").innerText();
    assert.ok(words.includes(f.reason) && words.includes(String(f.status)) && words.includes(f.route ?? "no route"), words);
    assert.deepEqual(await failures[i].locator("code").allTextContents(), [f.docs, f.trace_id]);
  }
  assert.equal(await text(page, "#issuers-cards h3"), json.issuers[0].name);
  assert.ok((await text(page, "#issuers-cards article")).includes(`${json.issuers[0].exchanges.count}; half within`));
  assert.equal(await page.locator("#upstreams-cards article").count(), json.upstreams.length);
  for (const upstream of json.upstreams) assert.ok((await text(page, "#upstreams-cards")).includes(upstream.endpoints[0].endpoint));
  const cache = await text(page, "#cache");
  for (const [name, n] of Object.entries(json.cache.lookups)) assert.ok(cache.includes(`${name} ${n.toLocaleString("en-US")}`), name);
  assert.equal(await page.locator("#problems li").count(), json.problems.length);
  assert.deepEqual(await wrong(), []);
});

await test("it asks again while it is looked at, and not when it is told to pause", async (open) => {
  const { page, seen } = await open();
  await page.waitForResponse("**/v1/status");
  await page.click("#pause");
  await page.waitForTimeout(300);
  const before = seen.asked.length;
  await page.waitForTimeout(3000);
  assert.equal(seen.asked.length, before);
  await page.click("#pause");
  await page.waitForResponse("**/v1/status");
});

await test("it says in words what is wrong, and when it cannot know", async (open) => {
  const well = await open({ status: (s) => ({ ...s, problems: [] }) });
  assert.equal(await text(well.page, "#verdict-words"), "All well");
  const problems = [{ weight: "broken", words: "the issuer main fails again and again", cure: "check it" }, { weight: "doubtful", words: "1 of 2 endpoints", cure: "look" }];
  const ill = await open({ status: (s) => ({ ...s, problems, issuers: s.issuers.map((i) => ({ ...i, up: false, circuit: "open", left_in_peace_seconds: 3, last_error: { at: s.now - 70, goes_on: false, cause: "connection refused", cure: null } })),
    upstreams: s.upstreams.map((u) => ({ ...u, endpoints: [...u.endpoints, { endpoint: "http://10.0.0.9:80", healthy: false, ejected_for_seconds: null, in_use: 3 }] })) }) });
  assert.equal(await text(ill.page, "#verdict-words"), "2 things are wrong");
  assert.ok((await text(ill.page, "#issuers-cards")).includes("circuit open") && (await text(ill.page, "#issuers-cards")).includes("connection refused"));
  await shot(ill.page, "ill-wide-light");
  await ill.page.route("**/v1/status", (route) => route.abort());
  await ill.page.waitForSelector('#verdict[data-state="lost"]');
  assert.match(await text(ill.page, "#verdict-words"), /cannot be reached; this is what was known at/);
});

for (const size of Object.keys(SIZES)) for (const scheme of ["light", "dark"]) await test(`it fits and keeps its policy: ${size}, ${scheme}`, async (open) => {
  const { page, wrong } = await open({ size, scheme });
  await page.locator("#failures-rows summary").first().click();
  assert.deepEqual(await overflow(page), { page: 0, out: [] });
  await shot(page, `live-${size}-${scheme}`);
  assert.deepEqual(await wrong(), []);
});

for (const size of Object.keys(SIZES)) await test(`what is hostile stays text: ${size}`, async (open) => {
  const { page, wrong } = await open({ size, status: (s) => poisoned(s) });
  for (const summary of await page.locator("#failures-rows summary").all()) await summary.evaluate((n) => { n.parentElement.open = true; });
  await page.waitForTimeout(300);
  assert.deepEqual(await page.evaluate(() => [window.pwned, document.scripts.length, document.images.length, document.querySelectorAll("[onerror], iframe, object, style, [style]").length]), [undefined, 1, 1, 0]);
  const shown = await page.evaluate(() => document.body.textContent);
  assert.ok(shown.includes("<img src=x") && shown.includes("‹U+202E›") && shown.includes("␛[31m"), "it is shown as what it is");
  assert.ok(!/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2066-\u2069]/.test(shown.replace(/\n/g, "")), "and nothing of it acts");
  assert.ok(shown.includes("more characters)"), "nothing is endless");
  assert.ok(!(await page.title()).includes("<"));
  assert.deepEqual(await overflow(page), { page: 0, out: [] });
  await shot(page, `hostile-${size}`);
  assert.deepEqual(await wrong(), []);
});

await test("the issuer's own words, hostile as they came, are text", async (open) => {
  const { page, json } = await open();
  const said = json.failures.find((f) => (f.issuer_words || "").includes("<img"));
  assert.ok(said, "the development IAM said it");
  const shown = await page.evaluate(() => document.querySelector("#failures-rows").textContent);
  assert.ok(shown.includes("<img src=x onerror=") && !shown.includes("\u202e") && !shown.includes("\u001b"));
  assert.equal(await page.evaluate(() => window.pwned), undefined);
});

await test("markup that got in all the same would be dead", async (open) => {
  const { page } = await open();
  const made = await page.evaluate(() => {
    const script = document.createElement("script");
    try { script.textContent = "window.pwned = 3"; } catch { return "refused"; }
    document.body.append(script);
    return "taken";
  });
  const parsed = await page.evaluate(() => { try { document.body["inner" + "HTML"] += "<img src=x>"; return "taken"; } catch { return "refused"; } });
  assert.deepEqual([made, parsed, await page.evaluate(() => window.pwned)], ["refused", "refused", undefined]);
  assert.ok((await page.evaluate(() => window.violations)).length > 0, "and would have been counted");
});

await test("other names and other sites' pages are refused", async (open) => {
  const { page, context } = await open();
  const own = new URL(URL_OF).host, port = new URL(URL_OF).port;
  for (const path of ["/", "/page.js", "/page.css", "/v1/status"]) {
    assert.equal((await raw(path, { host: "evil.example" })).statusCode, 421, path);
    assert.equal((await raw(path, { host: own, origin: "http://evil.example" })).statusCode, 403, path);
    const answer = await raw(path, { host: own });
    assert.equal(answer.statusCode, 200);
    assert.match(answer.headers["content-security-policy"], /^default-src 'none'; .*frame-ancestors 'none'/);
    assert.deepEqual([answer.headers["cache-control"], answer.headers["x-content-type-options"]], ["no-store", "nosniff"]);
    assert.equal((await raw(path, { host: own }, "POST")).statusCode, 401, "to do is another matter than to look");
  }
  const rebound = await context.newPage();
  assert.equal((await rebound.goto(`http://evil.example:${port}/`)).status(), 421, "a name that leads here");
  const other = http.createServer((_, answer) => { answer.setHeader("content-type", "text/html"); answer.end(`<iframe src="${URL_OF}/"></iframe>`); }).listen(0, "127.0.0.1");
  await new Promise((ready) => other.once("listening", ready));
  const site = await context.newPage();
  await site.goto(`http://127.0.0.1:${other.address().port}/`);
  assert.equal(await site.evaluate((url) => fetch(url).then(() => "read", () => "refused"), `${URL_OF}/v1/status`), "refused");
  const framed = site.frames().find((f) => f !== site.mainFrame());
  assert.ok(!framed || !framed.url().startsWith(URL_OF) || !(await framed.$("#verdict").catch(() => null)), "nobody frames it");
  other.close();
  await page.bringToFront();
});

await test("it is used without a mouse", async (open) => {
  const { page } = await open();
  await page.keyboard.press("Tab");
  const order = [];
  for (let i = 0; i < 90; i += 1) {
    const at = await page.evaluate(() => {
      const n = document.activeElement, style = getComputedStyle(n), box = n.getBoundingClientRect();
      return { what: n.id || n.getAttribute("href") || n.textContent.slice(0, 20) || n.tagName, tag: n.tagName, outlined: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0, box: box.width > 0 };
    });
    if (at.tag === "BODY") break;
    assert.ok(at.outlined && at.box, `one sees where one is: ${JSON.stringify(at)}`);
    order.push(at.what);
    if (at.what === "decoder-token") break;
    if (at.tag === "SUMMARY" && !order.includes("opened")) {
      await page.keyboard.press("Enter");
      assert.ok(await page.evaluate(() => document.activeElement.parentElement.open), "Enter opens it");
      order.push("opened");
      // There may be two hundred of them.
      await page.evaluate(() => document.querySelector("#failures .cli button").focus());
      order.push("past");
    }
    await page.keyboard.press("Tab");
  }
  const wanted = ["#verdict", "pause", "#routes", "routes-filter", "failures-filter", "opened", "tester-method", "tester-url", "decoder-token"];
  let found = 0;
  for (const what of wanted) { found = order.indexOf(what, found); assert.ok(found >= 0, `${what} in ${order.join(" ")}`); }
  await page.fill("#routes-filter", "payroll");
  assert.equal(await page.locator("#routes-rows tr").count(), 2);
});

await test("what is open stays open, and where one is stays", async (open) => {
  const { page } = await open();
  await page.locator("#failures-rows summary").nth(1).click();
  const words = await page.locator("#failures-rows details[open]").innerText();
  await page.waitForResponse("**/v1/status");
  await page.waitForTimeout(200);
  assert.equal(await page.locator("#failures-rows details[open]").innerText(), words);
  assert.equal(await page.evaluate(() => document.activeElement.tagName), "SUMMARY");
});

await test("the decoder tells what a route needs, and sends nothing", async (open) => {
  const { page, seen, wrong } = await open();
  await page.click("#pause");
  await page.waitForTimeout(200);
  const before = seen.asked.length;
  await page.selectOption("#decoder-route", "orders");
  await page.fill("#decoder-token", PAGE_TOKEN);
  await page.waitForSelector("#decoder-told .checks");
  const fits = await text(page, "#decoder-told");
  assert.ok(fits.includes("fits") && fits.includes("iss is the url of the issuer main") && fits.includes("is not checked here") && fits.includes('"sub"'), fits);
  await shot(page, "decoder-wide-light");
  await page.selectOption("#decoder-route", "orders-export");
  assert.ok((await text(page, "#decoder-told")).includes("it lacks the scope export"));
  const [head, body] = PAGE_TOKEN.split(".");
  const claims = JSON.parse(Buffer.from(body, "base64url"));
  const other = (change) => [head, Buffer.from(JSON.stringify({ ...claims, ...change })).toString("base64url"), "c2ln"].join(".");
  await page.selectOption("#decoder-route", "orders");
  for (const [change, words] of [[{ iss: "https://evil.example" }, "wanted is exactly"], [{ aud: ["other"] }, "wanted is one of"], [{ exp: 1000 }, "it expired"], [{ azp: "orders-api" }, "is the very audience"], [{ sub: HOSTILE }, "fits"]]) {
    await page.fill("#decoder-token", other(change));
    assert.ok((await text(page, "#decoder-told")).includes(words), words);
  }
  for (const [none, words] of [["opaque", "1 part "], ["a.b.c.d.e", "encrypted"], ["a.b.c", "cut off"]]) {
    await page.fill("#decoder-token", none);
    assert.ok((await text(page, "#decoder-told")).includes(words), words);
  }
  await page.fill("#decoder-token", PAGE_TOKEN);
  assert.equal(seen.asked.length, before, "no request at all");
  await page.reload();
  await page.waitForSelector('#pulse[data-state="live"]');
  assert.equal(await page.inputValue("#decoder-token"), "");
  for (const r of seen.asked) assert.ok(!r.url().includes(body) && !(r.postData() || "").includes(body) && !JSON.stringify(r.headers()).includes(body));
  assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length, document.cookie]), [0, 0, ""]);
  assert.deepEqual(await wrong(), []);
});

await test("the decoder says of each token what the gateway has said", async (open) => {
  const { now, cases } = JSON.parse(readFileSync(PAGE_CASES));
  const { page, wrong } = await open({ status: (s) => ({ ...s, now }) });
  await page.click("#pause");
  await page.selectOption("#decoder-route", "claims");
  const other = [];
  for (const { name, token, taken } of cases) {
    await page.fill("#decoder-token", "");
    await page.fill("#decoder-token", token);
    const told = await text(page, "#decoder-told");
    if (!told.startsWith(taken ? "fits the route claims" : "not accepted by the route claims")) other.push(`${name}: the gateway says ${taken ? "yes" : "no"}, the decoder ${told.split("\n\n")[0]}`);
  }
  assert.deepEqual(other, []);
  assert.ok(cases.filter((c) => c.taken).length > 30 && cases.filter((c) => !c.taken).length > 60, "of both there are many");
  // What no issuer writes, and the gateway could not read.
  const [head, body, signature] = PAGE_TOKEN.split(".");
  const made = (json) => [head, Buffer.from(json).toString("base64url"), signature].join(".");
  for (const [token, words] of [[made('{"sub":"a","s\\u0075b":"b"}'), "stands twice"], [made('{"a":"\\ud800"}'), "half a character"], [made("[]"), "no object"], [made("\ufeff{}"), "no base64url of JSON"],
    [`${head}.${body}=.${signature}`, "no base64url"], [`${head}.${body}.a+b`, "its signature"], [`${head}.${body}.${"a".repeat(17000)}`, "16 KiB"]]) {
    await page.fill("#decoder-token", token);
    assert.ok((await text(page, "#decoder-told")).includes(words), words);
  }
  await page.fill("#decoder-token", made('{"sub":"a","__proto__":{"sub":"b"},"constructor":1,"exp":1e18}'));
  assert.ok((await text(page, "#decoder-told")).includes('"__proto__"'));
  assert.deepEqual(await wrong(), []);
});

await test("the decoder knows an issuer's own ways: at+jwt alone, algorithms, introspection", async (open) => {
  const of = (change) => (s) => ({ ...s, routes: s.routes.map((r) => r.needs ? { ...r, needs: { ...r.needs, issuers: r.needs.issuers.map((i) => ({ ...i, ...change })) } } : r) });
  const says = async (change, token) => {
    const { page, wrong } = await open({ status: of(change) });
    await page.click("#pause");
    await page.selectOption("#decoder-route", "orders");
    await page.fill("#decoder-token", token);
    assert.deepEqual(await wrong(), []);
    return text(page, "#decoder-told");
  };
  const plain = await says({ strict_at_jwt: false }, PAGE_TOKEN), alg = JSON.parse(Buffer.from(PAGE_TOKEN.split(".")[0], "base64url")).alg;
  assert.match(plain, /^fits the route orders/);
  assert.match(await says({ strict_at_jwt: true }, PAGE_TOKEN), /^not accepted by the route orders[^]*wanted is at\+jwt/);
  assert.match(await says({ algorithms: ["ES256"] }, PAGE_TOKEN), new RegExp(`^not accepted[^]*alg in its header is "${alg}"; wanted is one of ES256`));
  assert.match(await says({ verified_by: "introspection" }, PAGE_TOKEN), /^the issuer is asked on the route orders/);
  assert.match(await says({ verified_by: "introspection" }, "opaque"), /the gateway asks the issuer main about it/);
});

await test("the route tester says who wins, and why nobody else does", async (open) => {
  const { page, seen, wrong } = await open();
  await page.fill("#tester-url", "/orders/export");
  await page.press("#tester-url", "Enter");
  await page.waitForSelector("#tester-told .checks");
  const told = await text(page, "#tester-told");
  assert.ok(/orders-export\s+wins/.test(told) && told.includes("orders does not") && told.includes("for orders-api"), told);
  assert.ok((await text(page, "#tester-cli")).includes(`cambist explain --gateway ${URL_OF} GET /orders/export`));
  await shot(page, "tester-wide-light");
  const before = seen.asked.filter((r) => r.url().includes("explain")).length;
  await page.fill("#tester-headers", "x-a: b\nAuthorization: Bearer x");
  await page.click("#tester-form button");
  assert.ok((await text(page, "#tester-told")).includes("Nothing was asked"));
  assert.equal(seen.asked.filter((r) => r.url().includes("explain")).length, before);
  await page.fill("#tester-headers", "");
  await page.fill("#tester-url", `/${HOSTILE.replace(/[\u0000-\u001f]/g, "")}`);
  await page.press("#tester-url", "Enter");
  await page.waitForTimeout(500);
  assert.equal(await page.evaluate(() => window.pwned), undefined);
  assert.deepEqual((await wrong()).filter((words) => !words.includes("400 (Bad Request)")), []);
});

await test("where a list is cut the page says so, and the rest can be had", async (open) => {
  const many = 1200, name = (n) => `r${String(n).padStart(4, "0")}`;
  const { page, json, wrong } = await open({ status: (s) => ({ ...s,
    routes: [...Array(many)].map((_, n) => ({ ...s.routes[0], name: name(n), rule: { ...s.routes[0].rule, path: `/${name(n)}` } })),
    upstreams: s.upstreams.map((u) => ({ ...u, endpoints: [...Array(300)].map((_, n) => ({ ...u.endpoints[0], endpoint: `http://10.0.0.${n}:80`, healthy: n !== 299 })) })) }) });
  await page.click("#pause");
  assert.equal(json.routes.length, many);
  const rows = page.locator("#routes-rows tr"), note = () => text(page, "#routes-note");
  assert.deepEqual([await rows.count(), await note()], [500, "500 of 1,200 shown; filter to see others"]);
  await page.fill("#routes-filter", "r0");
  assert.deepEqual([await rows.count(), await note()], [500, "500 of 1,000 shown; filter to see others"]);
  await page.fill("#routes-filter", "r11");
  assert.deepEqual([await rows.count(), await note()], [100, "100 of 1,200"]);
  const endpoints = page.locator("#upstreams-cards article").first();
  assert.equal(await endpoints.locator("li").count(), 100);
  const told = await endpoints.innerText();
  assert.ok(told.includes("100 of 300 shown") && told.includes("http://10.0.0.299:80") && told.includes("unhealthy"), "what is not well is among them");

  const lost = [...Array(many)].map((_, n) => ({ route: name(n), verdict: ["listener", "host", "path", "path"][n % 4], why: "so it is" }));
  [lost[1000].verdict, lost[1100].verdict, lost[900].verdict, lost[1003].verdict] = ["won", "method", "less_specific", "path"];
  await page.route("**/v1/explain*", (route) => route.fulfill({ json: { answers: [{ listener: "main", outcome: "route", route: name(1000), routes: lost }] } }));
  await page.fill("#tester-url", "/r1003/x?y");
  await page.press("#tester-url", "Enter");
  const checks = page.locator("#tester-told .checks li");
  await checks.first().waitFor();
  const first = (await checks.allInnerTexts()).slice(0, 4).map((words) => words.match(/r\d{4}/)[0]);
  assert.deepEqual([await checks.count(), ...first], [200, name(1000), name(900), name(1100), name(1003)]);
  assert.ok((await text(page, "#tester-told")).includes("200 of 1,200 shown, the nearest first"));
  await page.click("#tester-told button");
  assert.equal(await checks.count(), many);
  assert.equal(new Set((await checks.allInnerTexts()).map((words) => words.match(/r\d{4}/)[0])).size, many);
  assert.ok(!(await text(page, "#tester-told")).includes("shown"));
  assert.deepEqual(await wrong(), []);
});

await test("actions take the admin token, and nothing keeps it", async (open) => {
  const { page, seen } = await open();
  assert.ok(await page.isDisabled("#actions-purge"));
  await page.fill("#actions-token", "wrong");
  await page.click("#actions-purge");
  await page.waitForFunction(() => document.querySelector("#actions-told").textContent.startsWith("401"));
  await page.fill("#actions-token", PAGE_ADMIN_TOKEN);
  const audiences = await page.locator("#actions-audience option").allInnerTexts();
  assert.deepEqual(audiences, ["everybody", "audience orders-api", "audience other-api", "audience payroll-api"], "those of routes, and of the exchange API");
  await page.selectOption("#actions-audience", "other-api");
  assert.ok((await text(page, "#actions-cli-purge")).includes("/v1/tokens?audience=other-api"));
  await page.selectOption("#actions-audience", "orders-api");
  await page.click("#actions-purge");
  await page.waitForFunction(() => document.querySelector("#actions-told").textContent.startsWith('200: {"held":'));
  await page.click("#actions-reload");
  await page.waitForFunction(() => document.querySelector("#actions-told").textContent.startsWith("409"));
  assert.ok(seen.asked.filter((r) => r.method() === "GET").every((r) => !r.headers().authorization), "to look takes none");
  await page.reload();
  assert.equal(await page.inputValue("#actions-token"), "");
});

await browser.close();
console.log(failed ? `${failed} failed` : "all held");
process.exit(failed ? 1 : 0);
