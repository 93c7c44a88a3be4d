"use strict";
// The page of forecasts of scs-nowcast. Values come as scripts, scs.give(NAME, VALUE), since a page from disk may load nothing else.
// Whatever a text of them says stays text: it is only ever set as textContent, and links are made of our own folders.

const given = new Map();
const scs = { give: (name, value) => given.set(name, value) };

const domains = JSON.parse(document.body.dataset.domains); // [[name, folder], ...]
const UNKNOWN = 255, UNKNOWN_COLOUR = "#b9bec3", DRY = "#ffffff";
const STEP_MS = 350, PAUSE_MS = 1400, REFRESH_MS = 60000, CLOSE = 2; // zoom from which the full grid is wanted
const NAMES = { csi: "CSI", pod: "POD", far: "FAR", bias: "Frequency bias", fss_8km: "FSS 8 km", mae: "MAE, mm/h", crps: "CRPS, mm/h" };
const LINES = { issued: ["#1259a8", ""], extrapolation: ["#9a4a00", "7 4"], persistence: ["#4a5a68", "2 3"] };

let domain, folder;            // that is shown
let state, map, scores;        // its scripts' values
let layer, at = 0, shown = null; // a layer of the map, the number of its time, and the field that is drawn
let turn = 0, playing = null;    // what was asked for last; the round that plays
let fields = new Map();        // promises of fields, by name
let view = { x: 0, y: 0, zoom: 1 }; // left, top in shares of the map
let cross = null;              // where values are told, in shares of the map

const $ = (id) => document.getElementById(id);

function element(name, text = "", attributes = {}, ...children) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

// ---- Values

function load(path, name, fresh = false) {
  return new Promise((resolve) => {
    const script = document.createElement("script");
    script.src = path.split("/").map(encodeURIComponent).join("/") + (fresh ? `?${Date.now()}` : "");
    script.onload = script.onerror = () => {
      script.remove();
      resolve(given.get(name) ?? null);
      given.delete(name);
    };
    document.head.append(script);
  });
}

async function unpacked(text) {
  const packed = Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// A field, small or full: {of, factor, rows, columns, codes}, and once it is drawn picture and colours; null where it can't be had.
function field(of, number, kind) {
  const file = `${of.id}_${of.frames[number].time.replace(/[-:]/g, "")}`, name = `${domain}/${state.forecast.folder}/${file}_${kind}`, loaded = fields;
  if (!loaded.has(name)) {
    const factor = kind === "full" ? map.full : map.small;
    const rows = Math.ceil(map.rows / factor), columns = Math.ceil(map.columns / factor);
    loaded.set(name, load(`${folder}/page/${state.forecast.folder}/${file}_${kind}.js`, name).then(async (text) => {
      const codes = text && await unpacked(text).catch(() => null);
      if (codes?.length === rows * columns) return { of, factor, rows, columns, codes };
      loaded.delete(name); // it may be had another time
      return null;
    }));
    const full = [...loaded.keys()].filter((one) => one.endsWith("_full"));
    if (full.length > 16) loaded.delete(full[0]);
  }
  return loaded.get(name);
}

const scaleOf = (of) => map.scales[of.scale];
const coloursOf = (of) => scaleOf(of).palettes[$("palette").value] ?? Object.values(scaleOf(of).palettes)[0];

function paint(one) {
  const scale = scaleOf(one.of), colours = coloursOf(one.of);
  const pixels = new Uint32Array(256), bytes = new Uint8ClampedArray(pixels.buffer);
  for (let code = 0; code < 256; code++) {
    const number = scale.bounds.filter((bound) => bound <= scale.values[code]).length;
    const colour = code === UNKNOWN ? UNKNOWN_COLOUR : number ? colours[number - 1] : DRY;
    bytes.set([1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16)).concat(255), 4 * code);
  }
  one.colours = colours;
  one.picture = document.createElement("canvas");
  Object.assign(one.picture, { width: one.columns, height: one.rows });
  const image = new ImageData(one.columns, one.rows);
  new Uint32Array(image.data.buffer).set(Uint32Array.from(one.codes, (code) => pixels[code]));
  one.picture.getContext("2d").putImageData(image, 0, 0);
}

// ---- Words

const zoned = (zone) => new Intl.DateTimeFormat("sv-SE", { timeZone: zone, year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
const inUtc = zoned("UTC"), inLocal = zoned(undefined);
const zoneName = (time) => new Intl.DateTimeFormat("en-GB", { timeZoneName: "short" }).formatToParts(time).find((part) => part.type === "timeZoneName").value;
const utc = (text) => `${inUtc.format(new Date(text))} UTC`;
const local = (text) => `${inLocal.format(new Date(text))} ${zoneName(new Date(text))}`;
const both = (text) => { // the local date where it is another one
  const [one, other] = [utc(text), local(text)];
  return `${one} · ${one.slice(0, 10) === other.slice(0, 10) ? other.slice(11) : other} local`;
};
const leadOf = (frame) => Math.round((new Date(frame.time) - new Date(state.forecast.reference_time)) / 6000) / 10;
const blockOf = (of, factor) => `the ${of.scale === "probability" ? "middle" : "mean"} of ${factor} × ${factor} pixels`;
const titled = (of) => [of.name, of.level].filter(Boolean).join(" ");
const isForecast = (frame) => leadOf(frame) > 0;

function duration(minutes) {
  if (minutes < 60) return `${minutes} min`;
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${String(minutes % 60).padStart(2, "0")} min`;
  return `${Math.floor(minutes / 1440)} days`;
}

// Neither says 0 % or 100 % of a probability: the next forecast that says so may be wrong.
function inWords(value, scale) {
  if (value === null) return "not known";
  if (scale.unit === "%") return value < 0.05 ? "< 5 %" : value > 0.95 ? "> 95 %" : `${Math.round(100 * value)} %`;
  return value < 0.05 ? "dry" : `${value >= 100 ? Math.round(value) : Number(value.toPrecision(2))} ${scale.unit}`;
}

const share = (value) => value === null ? "–" : value > 0 && value < 0.01 ? "< 1 %" : `${Math.round(100 * value)} %`;

function describe(list, rows) {
  list.replaceChildren(...rows.filter(([, value]) => value).map(([name, value, wrong]) =>
    element("div", "", {}, element("dt", name), element("dd", value, wrong ? { class: "wrong" } : {}))));
}

function showStatus() {
  const { forecast, alarms, silent_minutes: limit } = state, told = alarms.map((one) => [one.kind, one.message, one.since]);
  if (!forecast) {
    describe($("status"), [["", "no forecast yet", true]]);
  } else {
    const age = Math.floor((Date.now() - new Date(forecast.reference_time)) / 60000), old = limit !== null && age > limit;
    const fallback = forecast.fallback !== "none";
    if (old) told.unshift(["old data", `the newest frame is older than the ${limit} minutes that are allowed`, null]);
    if (age < -5) told.unshift(["clock", "the newest frame is ahead of this computer's clock", null]);
    if (fallback && !alarms.some((one) => one.kind === "fallback")) told.push(["fallback", forecast.fallback, null]);
    describe($("status"), [
      ["Newest frame", both(forecast.reference_time)],
      ["Age", age < 0 ? "in the future" : duration(age), old || age < -5],
      ["By", forecast.model_version === "none" ? forecast.method : `${forecast.model_name} ${forecast.model_version} (${forecast.method})`],
      ["Fallback", fallback ? "yes" : "no", fallback],
      ["Alarms", `${alarms.length}`, alarms.length],
    ]);
  }
  const before = $("alarms").textContent;
  const lines = told.map(([kind, message, since]) => element("div", "", { class: "alarm" },
    element("b", kind), element("span", message), element("span", since ? `since ${both(since)}` : "")));
  if (lines.map((one) => one.textContent).join("") !== before) $("alarms").replaceChildren(...lines); // read out once: no text of theirs counts minutes
  $("alarms").hidden = !lines.length;
}

function showFacts() {
  const { forecast } = state;
  $("facts").replaceChildren();
  $("files").replaceChildren();
  if (!forecast) return;
  const facts = [
    ["Title", forecast.title], ["Method", forecast.method], ["Model", `${forecast.model_name} version ${forecast.model_version}`],
    ["Fallback", forecast.fallback, forecast.fallback !== "none"],
    ...(forecast.missing_frames ?? []).map((one) => ["Missing", `${one.time.replace("T", " ")} UTC: ${one.why}; in its place ${one.stand_in}`, true]),
    ["Grid", map && `${map.columns} × ${map.rows} pixels, ${Math.round(map.km)} km wide`],
    ["Code", forecast.code_commit.slice(0, 12)], ["Snapshot", forecast.live_store_snapshot],
    ["Model SHA-256", forecast.model_sha256.slice(0, 12)], ["Licence", forecast.license],
    ["Source", forecast.attribution === "none" ? "" : forecast.attribution], ["Page written", both(state.written)],
  ];
  for (const [name, value, wrong] of facts) if (value) $("facts").append(element("dt", name), element("dd", value, wrong ? { class: "wrong" } : {}));
  for (const file of Object.values(forecast.files)) {
    const path = [folder, ...file.split("/")].map(encodeURIComponent).join("/");
    if (!file.endsWith(".zarr")) $("files").append(element("a", file.split("/").pop(), { href: path }));
  }
}

function showScores() {
  const names = Object.keys(scores?.scores ?? {}), chosen = $("score").value;
  $("score").replaceChildren(...names.map((name) => element("option", NAMES[name] ?? name, { value: name })));
  if (names.includes(chosen)) $("score").value = chosen;
  $("score").parentElement.hidden = !names.length;
  $("cycles").textContent = names.length ? `${scores.cycles} cycles in ${scores.days} days up to ${utc(scores.newest)}` : "Nothing has been verified yet.";
  if (names.length) drawScores(); else { $("chart").replaceChildren(); $("scores").replaceChildren(); }
}

function drawScores() {
  const of = scores.scores[$("score").value], minutes = scores.minutes, who = Object.keys(of);
  const head = element("tr", "", {}, element("th", "min", { scope: "col" }), ...who.map((name) => element("th", name, { scope: "col" })));
  const rows = minutes.map((one, i) => element("tr", "", {}, element("th", `+${one}`, { scope: "row" }),
    ...who.map((name) => element("td", of[name][i] === null ? "–" : of[name][i].toFixed(3)))));
  $("scores").replaceChildren(element("thead", "", {}, head), element("tbody", "", {}, ...rows));
  const [W, H, left, below, above] = [360, 190, 34, 22, 22], values = who.flatMap((name) => of[name]).filter((one) => one !== null);
  const top = Math.max(...values, 0.001), first = minutes[0], last = minutes.at(-1) === first ? first + 1 : minutes.at(-1);
  const x = (one) => left + (one - first) / (last - first) * (W - left - 8), y = (one) => H - below - one / top * (H - below - above);
  const svg = (name, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return made;
  };
  const drawn = [];
  for (const one of [0, top / 2, top]) {
    drawn.push(svg("line", { x1: left, x2: W - 8, y1: y(one), y2: y(one), stroke: "#d5dde3" }));
    drawn.push(svg("text", { x: left - 5, y: y(one) + 4, "text-anchor": "end", "font-size": 11, fill: "#4a5a68" }, one.toFixed(2)));
  }
  for (const one of [first, minutes.at(-1)]) drawn.push(svg("text", { x: x(one), y: H - 6, "text-anchor": one === first ? "start" : "end", "font-size": 11, fill: "#4a5a68" }, `+${one} min`));
  who.forEach((name, i) => {
    const [stroke, dash] = LINES[name] ?? LINES.persistence;
    const known = minutes.map((one, j) => [one, of[name][j]]).filter(([, value]) => value !== null);
    drawn.push(svg("polyline", { points: known.map(([one, value]) => `${x(one)},${y(value)}`).join(" "), fill: "none", stroke, "stroke-width": 2, "stroke-dasharray": dash }));
    const from = left + i * 108;
    drawn.push(svg("line", { x1: from, x2: from + 22, y1: 8, y2: 8, stroke, "stroke-width": 2, "stroke-dasharray": dash }));
    drawn.push(svg("text", { x: from + 26, y: 12, "font-size": 11, fill: "#1b2733" }, name));
  });
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": "The table below as a chart" });
  chart.append(...drawn);
  $("chart").replaceChildren(chart);
}

// ---- Layers and times

function showLayers() {
  const names = [...new Set(map.layers.map((one) => one.name))], chosen = $("layer").value, level = $("level").value;
  $("layer").replaceChildren(...names.map((name) => element("option", name)));
  if (names.includes(chosen)) $("layer").value = chosen;
  $("full-of").hidden = map.small === map.full;
  $("frame").style.setProperty("--aspect", map.aspect);
  chooseLayer(level);
}

function chooseLayer(level) {
  const levels = map.layers.filter((one) => one.name === $("layer").value);
  $("level").replaceChildren(...levels.map((one) => element("option", one.level)));
  if (levels.some((one) => one.level === level)) $("level").value = level;
  $("level-of").hidden = levels.length < 2;
  $("full-of").lastElementChild.textContent = `Full grid, not ${blockOf(levels[0], map.small)}`;
  const time = layer?.frames[at]?.time, before = layer?.scale;
  layer = levels.find((one) => one.level === $("level").value) ?? levels[0];
  if (layer.scale !== before) {
    const palette = $("palette").value, palettes = Object.keys(scaleOf(layer).palettes);
    $("palette").replaceChildren(...palettes.map((name) => element("option", name)));
    if (palettes.includes(palette)) $("palette").value = palette;
    $("palette").parentElement.hidden = palettes.length < 2;
  }
  // The same time as before; at first, and where there is none, the newest observed one or the first forecast.
  const newest = Math.max(0, layer.frames.findLastIndex((one) => !isForecast(one)));
  const same = layer.frames.findIndex((one) => one.time === time);
  at = same < 0 ? newest : same;
  $("slider").max = layer.frames.length - 1;
  showTicks();
  showTable();
  showLegend();
  show(at);
}

function showTicks() {
  const last = layer.frames.length - 1, now = layer.frames.findLastIndex((one) => !isForecast(one));
  const place = (one, i) => { one.style.left = `${last ? 100 * i / last : 0}%`; return one; };
  const marks = layer.frames.map((one, i) => place(element("i", "", { class: `${isForecast(one) ? "forecast" : ""}${i === now ? " now" : ""}` }), i));
  const labelled = [...new Set([0, ...(now > last * 0.2 && now < last * 0.8 ? [now] : []), last])];
  const labels = labelled.map((i) => place(element("span", `${utc(layer.frames[i].time).slice(11, 16)}${i === now ? " newest observed" : ""}`), i));
  $("ticks").replaceChildren(...marks, ...labels);
}

function showTable() {
  const scale = scaleOf(layer), wet = inWords(scale.bounds[0], scale);
  const head = ["Valid, UTC", "Valid, local", "", "Lead", "Highest", `At least ${scale.unit === "%" ? "5 %" : wet}`, "Known"];
  const rows = layer.frames.map((one, i) => {
    const jump = element("button", inUtc.format(new Date(one.time)), { type: "button" });
    jump.onclick = () => show(i);
    const cells = [local(one.time), isForecast(one) ? "forecast" : "observed", `${leadOf(one) > 0 ? "+" : ""}${leadOf(one)} min`,
      inWords(one.highest, scale), share(one.wet), share(one.known)];
    return element("tr", "", {}, element("td", "", {}, jump), ...cells.map((text) => element("td", text)));
  });
  const caption = element("caption", `${titled(layer)}, ${layer.meaning}. Shares are of the map's area: of what is known, and of all.`);
  $("table").replaceChildren(caption, element("thead", "", {}, element("tr", "", {}, ...head.map((text) => element("th", text, { scope: "col" })))), element("tbody", "", {}, ...rows));
}

function showLegend() {
  const scale = scaleOf(layer), list = element("ol");
  coloursOf(layer).forEach((colour, i) => {
    const box = element("b");
    box.style.background = colour;
    const name = scale.unit === "%" ? `${Math.round(100 * scale.bounds[i])}` : `${scale.bounds[i]}`;
    list.append(element("li", "", {}, box, element("span", name)));
  });
  const box = element("b");
  box.style.background = UNKNOWN_COLOUR;
  $("legend").replaceChildren(element("span", `${layer.level} ${scale.unit}, from`.trim()), list,
    element("span", "", { class: "unknown" }, box, element("span", "not known")));
}

async function show(number) {
  const own = ++turn, of = layer;
  const small = await field(of, number, "small");
  if (own !== turn) return; // something else was asked for meanwhile
  at = number;
  draw(small);
  showTime();
  if (wantsFull()) {
    const full = await field(of, number, "full");
    if (own === turn && full) draw(full);
  }
}

const wantsFull = () => map.small > map.full && ($("full").checked || view.zoom >= CLOSE);

function showTime() {
  const frame = layer.frames[at], lead = leadOf(frame);
  $("kind").textContent = isForecast(frame) ? `forecast +${lead} min` : lead ? `observed ${lead} min` : "observed";
  $("kind").className = `badge ${isForecast(frame) ? "forecast" : "observed"}`;
  $("utc").textContent = utc(frame.time);
  $("local").textContent = `${local(frame.time)} local`;
  $("slider").value = at;
  const words = `${$("kind").textContent}, ${utc(frame.time)}, ${local(frame.time)} local`;
  $("slider").setAttribute("aria-valuetext", words);
  $("map").dataset.time = frame.time;
  $("map").setAttribute("aria-label", `${titled(layer)} on a map, ${words}; highest ${inWords(frame.highest, scaleOf(layer))}. The values of all times are in the table below.`);
  [...$("table").tBodies[0].rows].forEach((row, i) => i === at ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current"));
}

async function play() {
  const own = playing = playing ? null : {};
  $("play").textContent = playing ? "❚❚ Pause" : "▶ Play";
  $("play").setAttribute("aria-pressed", !!playing);
  while (own && own === playing) {
    await show(at + 1 < layer.frames.length ? at + 1 : 0);
    if (own !== playing) return; // another round, or none, or another domain
    const pause = at + 1 === layer.frames.length || leadOf(layer.frames[at]) === 0;
    await new Promise((done) => setTimeout(done, pause ? PAUSE_MS : STEP_MS));
  }
}

// What was asked for is of a map that goes.
function stop() {
  turn++;
  if (playing) play();
}

const step = (by) => { if (playing) play(); show(Math.min(Math.max(at + by, 0), layer.frames.length - 1)); };

// ---- Map

function draw(one = shown) {
  shown = one;
  const canvas = $("map"), { clientWidth: w, clientHeight: h } = canvas, ratio = window.devicePixelRatio || 1;
  if (!map || !w) return;
  const size = [Math.round(w * ratio), Math.round(h * ratio)];
  if (canvas.width !== size[0] || canvas.height !== size[1]) [canvas.width, canvas.height] = size;
  const pen = canvas.getContext("2d");
  const x = (share) => (share - view.x) * view.zoom * w, y = (share) => (share - view.y) * view.zoom * h;
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.imageSmoothingEnabled = false;
  pen.fillStyle = DRY;
  pen.fillRect(0, 0, w, h);
  canvas.dataset.shown = one ? (one.factor === map.full ? "full" : "small") : "nothing";
  if (one) {
    if (one.colours !== coloursOf(one.of)) paint(one);
    const wide = one.columns * one.factor / map.columns, high = one.rows * one.factor / map.rows; // the last block may reach beyond
    pen.drawImage(one.picture, x(0), y(0), wide * view.zoom * w, high * view.zoom * h);
  }
  pen.font = "11px system-ui, sans-serif";
  const label = (text, left, top, align) => {
    pen.textAlign = align;
    pen.lineWidth = 3;
    pen.strokeStyle = "#ffffff";
    pen.strokeText(text, left, top);
    pen.fillStyle = "#1b2733";
    pen.fillText(text, left, top);
  };
  for (const line of map.lines) {
    pen.beginPath();
    line.points.forEach(([px, py], i) => i ? pen.lineTo(x(px), y(py)) : pen.moveTo(x(px), y(py)));
    pen.strokeStyle = "rgb(70 90 104 / 45%)";
    pen.lineWidth = 1;
    pen.stroke();
  }
  for (const line of map.lines) { // named where they meet the lower edge, or the left one
    const [along, across, edge, end] = line.of === "lon" ? [x, y, h, w] : [y, x, 0, h], [i, j] = line.of === "lon" ? [0, 1] : [1, 0];
    line.points.slice(1).forEach((to, k) => {
      const from = line.points[k], a = across(from[j]) - edge, b = across(to[j]) - edge;
      if ((a < 0) === (b < 0) && a !== 0) return;
      const met = along(from[i]) + (along(to[i]) - along(from[i])) * (a === b ? 0 : a / (a - b));
      if (met > 14 && met < end - 14) line.of === "lon" ? label(line.name, met, h - 5, "center") : label(line.name, 5, met + 4, "left");
    });
  }
  const room = map.km / view.zoom * 0.25, power = 10 ** Math.floor(Math.log10(room));
  const km = [5, 2, 1].map((one) => one * power).find((one) => one <= room), long = km / map.km * view.zoom * w;
  pen.fillStyle = "#1b2733";
  pen.fillRect(w - 12 - long, h - 24, long, 3);
  label(`${km} km`, w - 12, h - 28, "right");
  if (!one) label("This field can't be loaded.", w / 2, h / 2, "center");
  if (cross) {
    for (const [width, colour] of [[4, "#ffffff"], [2, "#1b2733"]]) {
      pen.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        pen.moveTo(x(cross.x) + 4 * dx, y(cross.y) + 4 * dy);
        pen.lineTo(x(cross.x) + 12 * dx, y(cross.y) + 12 * dy);
      }
      [pen.lineWidth, pen.strokeStyle] = [width, colour];
      pen.stroke();
    }
  }
  tell();
}

// Values at the cross, and where it is: between the places that are told of, degrees are nearly even.
function tell() {
  $("value").textContent = $("where").textContent = "";
  if (!cross || !shown) {
    $("where").textContent = "Point at the map for its value there.";
    return;
  }
  const row = Math.min(Math.floor(cross.y * map.rows / shown.factor), shown.rows - 1);
  const column = Math.min(Math.floor(cross.x * map.columns / shown.factor), shown.columns - 1);
  const code = shown.codes[row * shown.columns + column], scale = scaleOf(shown.of);
  $("value").textContent = inWords(code === UNKNOWN ? null : scale.values[code], scale);
  const between = (table) => {
    const n = table.length - 1, i = Math.min(Math.floor(cross.y * n), n - 1), j = Math.min(Math.floor(cross.x * n), n - 1);
    const v = cross.y * n - i, u = cross.x * n - j;
    return (table[i][j] * (1 - u) + table[i][j + 1] * u) * (1 - v) + (table[i + 1][j] * (1 - u) + table[i + 1][j + 1] * u) * v;
  };
  const lat = between(map.lat), lon = (between(map.lon) + 540) % 360 - 180;
  const name = (value, signs) => `${Math.abs(value).toFixed(2)}°${signs[value < 0 ? 1 : 0]}`;
  const block = shown.factor > 1 ? `, ${blockOf(shown.of, shown.factor)}` : "";
  $("where").textContent = `at ${name(lat, "NS")} ${name(lon, "EW")}${shown.of.level && `, ${shown.of.level}`}, ${shown.of.meaning}${block}`;
}

function look(x, y, zoom) {
  zoom = Math.min(Math.max(zoom, 1), 32);
  const inside = (value) => Math.min(Math.max(value, 0), 1 - 1 / zoom), close = wantsFull();
  view = { x: inside(x), y: inside(y), zoom };
  $("map").style.touchAction = zoom > 1 ? "none" : "pan-y"; // a finger moves the page, where there is nothing to move
  draw();
  if (wantsFull() !== close) show(at);
}

// Zoom so that a place of the map (in shares of the canvas) stays where it is.
const zoomAt = (u, v, by) => {
  const zoom = Math.min(Math.max(view.zoom * by, 1), 32);
  look(view.x + u / view.zoom - u / zoom, view.y + v / view.zoom - v / zoom, zoom);
};

function listen() {
  const canvas = $("map"), fingers = new Map();
  const placed = (event) => { const box = canvas.getBoundingClientRect(); return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]; };
  const point = ([u, v]) => { cross = { x: view.x + u / view.zoom, y: view.y + v / view.zoom }; draw(); };
  canvas.onpointerdown = (event) => { canvas.setPointerCapture(event.pointerId); fingers.set(event.pointerId, placed(event)); point(placed(event)); };
  canvas.onpointerup = canvas.onpointercancel = (event) => fingers.delete(event.pointerId);
  canvas.onpointermove = (event) => {
    const [u, v] = placed(event), before = fingers.get(event.pointerId);
    if (before && fingers.size === 1 && view.zoom > 1) look(view.x - (u - before[0]) / view.zoom, view.y - (v - before[1]) / view.zoom, view.zoom);
    if (before && fingers.size === 2) {
      const [other] = [...fingers].filter(([id]) => id !== event.pointerId).map(([, place]) => place);
      const far = ([a, b]) => Math.hypot(a - other[0], b - other[1]);
      zoomAt((u + other[0]) / 2, (v + other[1]) / 2, far([u, v]) / Math.max(far(before), 0.01));
    }
    if (before) fingers.set(event.pointerId, [u, v]);
    if (fingers.size < 2 && (!before || view.zoom === 1)) point([u, v]);
  };
  canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoomAt(...placed(event), event.deltaY < 0 ? 1.25 : 0.8); }, { passive: false });
  $("in").onclick = () => zoomAt(0.5, 0.5, 1.5);
  $("out").onclick = () => zoomAt(0.5, 0.5, 1 / 1.5);
  $("play").onclick = play;
  $("back").onclick = () => step(-1);
  $("next").onclick = () => step(1);
  $("slider").oninput = () => { if (playing) play(); show(Number($("slider").value)); };
  $("layer").onchange = () => chooseLayer($("level").value);
  $("level").onchange = () => chooseLayer($("level").value);
  $("full").onchange = () => show(at);
  $("score").onchange = drawScores;
  $("palette").onchange = () => { showLegend(); draw(); };
  $("domain").onchange = () => { location.hash = $("domain").value; };
  window.onhashchange = open;
  new ResizeObserver(() => draw()).observe($("frame"));
  document.onkeydown = (event) => {
    if (!map || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input[type=range]")) return;
    const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.target === canvas && moves) {
      const by = (event.shiftKey ? 10 : 1) * (shown?.factor ?? 1), old = cross ?? { x: view.x + 0.5 / view.zoom, y: view.y + 0.5 / view.zoom };
      const inside = (value) => Math.min(Math.max(value, 0), 1);
      cross = { x: inside(old.x + moves[0] * by / map.columns), y: inside(old.y + moves[1] * by / map.rows) };
      draw();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") step(moves[0]);
    else if (event.key === " " && !event.target.closest("button, input, a")) play();
    else if (event.key === "Home" || event.key === "End") step(event.key === "Home" ? -Infinity : Infinity);
    else if (event.key === "+" || event.key === "-") zoomAt(0.5, 0.5, event.key === "+" ? 1.5 : 1 / 1.5);
    else if (event.key === "0") look(0, 0, 1);
    else if (event.key.toLowerCase() === "f" && !$("full-of").hidden) $("full").click();
    else return;
    event.preventDefault();
  };
}

// ---- Domains

async function open() {
  const wanted = domains.find(([name]) => `#${name}` === location.hash) ?? domains[0];
  if (!wanted || wanted[0] === domain) return;
  [domain, folder] = wanted;
  stop();
  refresh.told = null; // nothing of the other stays
  for (const id of ["status", "alarms", "facts", "files", "chart", "scores", "cycles"]) $(id).replaceChildren();
  $("alarms").hidden = $("score").parentElement.hidden = $("view").hidden = $("times").hidden = true;
  [state, map, scores, layer, shown, fields] = [null, null, null, undefined, null, new Map()];
  [view, cross] = [{ x: 0, y: 0, zoom: 1 }, null];
  $("domain").value = domain;
  document.title = `${domain}: radar nowcast`;
  await refresh();
}

// What is new since: it is asked for again and again, while the page is open.
async function refresh() {
  const own = domain, [newState, newScores] = await Promise.all(["state", "scores"].map((name) => load(`${folder}/page/${name}.js`, `${domain}/${name}`, true)));
  if (own !== domain) return;
  const wanted = newState?.forecast; // of the same time it may have been made again, or there is none any more
  if (newState && !(map && JSON.stringify(wanted) === JSON.stringify(state.forecast))) {
    const newMap = wanted && await load(`${folder}/page/${wanted.folder}/map.js`, `${domain}/${wanted.folder}/map`, true);
    if (own !== domain) return;
    if (!newMap) stop();
    for (const of of newMap?.layers ?? []) of.frames = of.frames.map(([time, highest, wet, known]) => ({ time, highest, wet, known }));
    [state, map, fields, shown] = [newState, newMap, new Map(), null];
  } else state = newState ?? state;
  scores = newScores ?? scores;
  $("view").hidden = $("times").hidden = !map;
  if (!state) {
    describe($("status"), [["", "nothing has been published yet", true]]);
    return;
  }
  showStatus();
  const told = JSON.stringify([state, scores, map?.km]);
  if (told !== refresh.told) { // or a link, or an open list, would be taken from under the hand
    showFacts();
    showScores();
    refresh.told = told;
  }
  if (map && fields.size === 0) {
    at = 0;
    layer = undefined;
    showLayers();
    const [first] = map.layers, mine = fields; // to play them at once
    for (let i = 0; i < first.frames.length && mine === fields; i++) await field(first, i, "small");
  }
}

$("domain").replaceChildren(...domains.map(([name]) => element("option", name)));
$("domain").hidden = domains.length < 2;
listen();
open();
setInterval(() => { if (state) showStatus(); }, REFRESH_MS / 4);
setInterval(() => { if (domain) refresh(); }, REFRESH_MS);
