// Makes the elements that show an answer of the API, or why there is none.
// They are built from elements and text alone, so that nothing in an answer can become markup.

const settings = JSON.parse(document.getElementById("page").dataset.settings);
const SVG = "http://www.w3.org/2000/svg";
const LETTER = 0.032; // the share of the narrowest gauge that a letter takes

// Small functions ------------------------------------------------------------------------------

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

export const h = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);
const s = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);
const note = (...children) => h("p", { class: "note" }, ...children);
const figure = (url, words, ...caption) =>
  h("figure", {}, h("img", { src: url, alt: words }), h("figcaption", {}, ...caption));
const digits = (value) => (value === null ? "-" : value.toFixed(3));

const sentence = (words) => words[0].toUpperCase() + words.slice(1) + (words.endsWith(".") ? "" : ".");

function clock(seconds) {
  const minutes = Math.floor(seconds / 60) % 60;
  const hours = Math.floor(seconds / 3600);
  const two = (value) => String(value).padStart(2, "0");
  const rest = (seconds % 60).toFixed(2).padStart(5, "0");
  return `${hours ? `${hours}:` : ""}${two(minutes)}:${rest}`;
}

// "positive", "negative" or "open": how a verdict is coloured.
function side(verdict) {
  if (verdict === settings.positive) return "positive";
  return verdict === settings.negative ? "negative" : "open";
}

// Answers --------------------------------------------------------------------------------------

export function problemView(words) {
  return h("div", { class: "answer problem", role: "alert" },
    h("p", { class: "word" }, "No answer"),
    h("p", {}, sentence(words)));
}

// askMap returns the map of the file that was judged; it is called when a person asks for that.
export function answerView(answer, askMap) {
  const deciding = decidingFace(answer);
  const parts = answer.probability === null ? [] : gauge(answer);
  return h("div", { class: `answer ${side(answer.verdict)}` },
    h("p", { class: "word" }, answer.verdict),
    ...sentences(answer, deciding),
    ...parts,
    ...(answer.kind === "video" ? videoParts(answer) : imageParts(answer, deciding, askMap)));
}

// The first of the faces of the highest probability, as the API's rule says; -1 without any.
function decidingFace(answer) {
  const shares = (answer.faces || []).map((face) => face.probability ?? -1);
  const most = Math.max(-1, ...shares);
  return most < 0 ? -1 : shares.indexOf(most);
}

function sentences(answer, deciding) {
  const found = answer.faces || [];
  const video = answer.kind === "video";
  const none = video ? answer.tracks && !answer.tracks.length : answer.faces && !found.length && !answer.note;
  if (none && answer.probability === null) {
    return [h("p", { class: "said" },
      `No face is found${video ? " in any frame" : ""}. Take the tick away to have the whole ` +
      `${video ? "video" : "picture"} judged.`)];
  }
  if (answer.probability === null) {
    let where = "";
    if (video) where = " in any frame";
    else if (found.length) where = " among the finds";
    return [h("p", { class: "said" }, `The gate finds no face${where}: probability of a face ` +
      `${digits(answer.gate_probability)}${found.length ? " at most" : ""}.`)];
  }
  const [low, high] = answer.unsure;
  // Beside an unsure band the threshold decides nothing: the zones below say what does.
  const called = high > low ? "." :
    `. From ${digits(answer.threshold)} on it is called ${settings.positive}.`;
  const line = h("p", { class: "said" },
    `${video && !answer.how ? "Mean probability" : "Probability"} of ${settings.positive}`,
    video ? (answer.how ? ", from all frames" : " over the frames") : "",
    found.length > 1 ? `, face ${deciding + 1}` : "", ": ",
    h("strong", {}, digits(answer.probability)), called);
  if (answer.is_strange) {
    line.append(` It is unlike the images that the detector was trained on, ` +
      `${answer.novelty.toFixed(1)} times as far from them as usual, so there is no answer.`);
  } else if (answer.verdict === "unsure") {
    line.append(` It lies between ${digits(low)} and ${digits(high)}, where the detector errs ` +
      "too often to be believed.");
  }
  return [line];
}

// A marker at the probability, on the zones of the verdicts.
function gauge(answer) {
  const [low, high] = answer.unsure;
  const { positive, negative } = settings;
  const zones = high > low
    ? [[0, low, negative], [low, high, "unsure"], [high, 1, positive]]
    : [[0, answer.threshold, negative], [answer.threshold, 1, positive]];
  const place = (node, left, width) => {
    node.style.left = `${100 * left}%`;
    if (width !== undefined) node.style.width = `${100 * width}%`;
    return node;
  };
  const drawn = zones.filter(([from, to]) => to > from).map(([from, to, verdict]) =>
    place(h("span", { class: `zone ${side(verdict)}` },
      h("b", {}, to - from < LETTER * verdict.length ? "" : verdict)), from, to - from));
  const ends = zones.slice(1).map(([from, , verdict]) => `${verdict} from ${digits(from)}`);
  const words = [`The marker is the answer; ${negative} from 0, ${ends.join(", ")} to 1.`];
  if (answer.gate_probability !== null) {
    words.push(` Probability of a face: ${digits(answer.gate_probability)}.`);
  }
  return [
    h("div", { class: "gauge", "aria-hidden": "true" },
      ...drawn, place(h("span", { class: "mark" }), answer.probability)),
    note(...words),
  ];
}

function caution(words) {
  return words ? [h("p", { class: "caution" }, sentence(words))] : [];
}

// Pictures -------------------------------------------------------------------------------------

function imageParts(answer, deciding, askMap) {
  const faces = answer.faces || [];
  const parts = [...(faces.length ? [facesTable(answer, deciding)] : [])];
  if (faces.length > 1) {
    parts.push(note(
      "The picture is called what its face of the highest probability of " +
      `${settings.positive} is called. The more faces, the more chances of a false alarm.`));
  }
  parts.push(...caution(answer.faces && answer.note));
  const pair = h("div", { class: answer.faces ? "pair across" : "pair" });
  const { url } = answer.thumbnail;
  pair.append(h("figure", {},
    h("div", { class: "framed" },
      h("img", { src: url, alt: faces.length ? "The picture and its faces" : "The picture" }),
      faces.length ? boxes(answer) : null),
    h("figcaption", {}, faces.length ? "The picture, and the faces in it" : "The picture")));
  if (answer.probability !== null) pair.append(mapPart(deciding, askMap));
  parts.push(pair);
  return parts;
}

function facesTable(answer, deciding) {
  const gated = answer.faces.some((face) => face.gate_probability !== null);
  const head = ["Face", "Verdict", `Probability of ${settings.positive}`];
  if (gated) head.push("Of a face");
  const rows = answer.faces.map((face, number) => {
    const row = h("tr", number === deciding ? { class: "deciding" } : {},
      h("td", {}, String(number + 1)),
      h("td", { class: side(face.verdict) }, face.verdict),
      h("td", {}, digits(face.probability)));
    if (gated) row.append(h("td", {}, digits(face.gate_probability)));
    return row;
  });
  return h("table", { class: "faces" },
    h("thead", {}, h("tr", {}, head.map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", {}, rows));
}

// Numbered boxes, in pixels of the picture itself: its view box scales them to what is shown.
function boxes(answer) {
  const { width, height } = answer.thumbnail;
  const unit = Math.max(width, height) / 28; // the height of a number
  const drawn = answer.faces.map(({ box, verdict }, number) => {
    const label = String(number + 1);
    const top = Math.max(0, box.top - 1.2 * unit);
    const wide = (0.4 + 0.6 * label.length) * unit;
    const text = s("text",
      { x: box.left + wide / 2, y: top + 0.95 * unit, "font-size": unit, "text-anchor": "middle" },
      label);
    return s("g", { class: side(verdict) },
      s("rect", { class: "box", x: box.left, y: box.top, width: box.right - box.left,
        height: box.bottom - box.top }),
      s("rect", { class: "label", x: box.left, y: top, width: wide, height: 1.2 * unit }),
      text);
  });
  return s("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" }, drawn);
}

function mapPart(deciding, askMap) {
  const place = h("div", { class: "map", "aria-live": "polite" });
  if (settings.map_problem) {
    place.append(note(`No map of what the answer rests on: ${settings.map_problem}.`));
    return place;
  }
  const button = h("button", { type: "button", class: "button" }, "Show what the answer rests on");
  button.addEventListener("click", async () => {
    button.disabled = true;
    button.textContent = "Drawing …";
    try {
      place.replaceChildren(mapFigure(await askMap(), deciding));
    } catch (error) {
      place.replaceChildren(...caution(error.message));
    }
  });
  place.append(button);
  return place;
}

function mapFigure(map, deciding) {
  return figure(map.url, "What the answer rests on",
    deciding < 0 ? "" : `Face ${deciding + 1}, as it was judged. `,
    `What the answer of ${map.about} rests on: `,
    h("span", { class: "orange" }, "orange"), ` speaks for ${settings.positive}, `,
    h("span", { class: "blue" }, "blue"), ` for ${settings.negative}`);
}

// Videos ---------------------------------------------------------------------------------------

function videoParts(answer) {
  const parts = [];
  if (answer.probability !== null) {
    parts.push(note(
      `${answer.frames.length} frames of ${clock(answer.seconds)}; ` +
      `${Math.round(100 * answer.share)}% of them called ${settings.positive}; 10% to 90% of ` +
      `frames at ${digits(answer.low)} to ${digits(answer.high)}. The verdict is the ` +
      `${answer.rule}.`));
  }
  if (answer.tracks && answer.tracks.length > 1) parts.push(tracksTable(answer));
  parts.push(...caution(answer.note));
  if (answer.frames.length) parts.push(timeline(answer));
  const strip = answer.frames
    .filter((frame) => frame.thumbnail)
    .sort((one, other) => other.probability - one.probability);
  if (strip.length) {
    parts.push(note(`The frames of the highest probability of ${settings.positive}:`));
    parts.push(h("div", { class: "strip" }, strip.map((frame) =>
      figure(frame.thumbnail, `The frame at ${clock(frame.time)}`,
        `${digits(frame.probability)} at ${clock(frame.time)}`))));
  }
  parts.push(frameTable(answer));
  return parts;
}

// The faces of a video; the timeline and the frames below are of the one that decides.
function tracksTable(answer) {
  const rows = answer.tracks.map((track, number) =>
    h("tr", track.probability === answer.probability ? { class: "deciding" } : {},
      h("td", {}, String(number + 1)),
      h("td", { class: side(track.verdict) }, track.verdict),
      h("td", {}, digits(track.probability)),
      h("td", {}, String(track.frames_read))));
  const head = ["Face", "Verdict", `Probability of ${settings.positive}`, "Frames"];
  return h("table", { class: "faces" },
    h("thead", {}, h("tr", {}, head.map((word) => h("th", { scope: "col" }, word)))),
    h("tbody", {}, rows));
}

// The probability of each frame over time, with their threshold, score and spread.
function timeline(answer) {
  const [width, height, left, bottom, top] = [480, 220, 34, 30, 10];
  const times = answer.frames.map((frame) => frame.time);
  const end = Math.max(answer.seconds, ...times, 1e-3);
  const x = (time) => left + ((width - left - 10) * time) / end;
  const y = (share) => top + (height - top - bottom) * (1 - share);
  const line = (share, name) =>
    s("line", { class: name, x1: left, x2: width - 10, y1: y(share), y2: y(share) });
  const text = (words, across, down, anchor) =>
    s("text", { x: across, y: down, "text-anchor": anchor }, words);
  const drawn = s("svg", {
    class: "timeline", viewBox: `0 0 ${width} ${height}`, role: "img",
    "aria-label": `Probability of ${settings.positive} over time; the table below holds the numbers`,
  });
  for (const share of [0, 0.5, 1]) {
    drawn.append(line(share, "grid"), text(share.toFixed(1), left - 6, y(share) + 4, "end"));
  }
  drawn.append(
    text("0 s", left, height - 10, "start"),
    text(`${end.toFixed(1)} s`, width - 10, height - 10, "end"));
  if (answer.probability !== null) {
    drawn.append(
      s("rect", { class: "spread", x: left, width: width - 10 - left, y: y(answer.high),
        height: y(answer.low) - y(answer.high) }),
      line(answer.score, "mean"));
  }
  drawn.append(line(answer.frame_threshold, "threshold"));
  const known = answer.frames.filter((frame) => frame.probability !== null);
  const points = known.map((frame) => [x(frame.time), y(frame.probability)]);
  drawn.append(s("polyline", { class: "course", points: points.join(" ") }));
  drawn.append(...points.map(([cx, cy]) => s("circle", { cx, cy, r: 3 })));
  for (const frame of answer.frames.filter((one) => one.probability === null)) {
    drawn.append(text("×", x(frame.time), y(0) + 4, "middle"));
  }
  return h("figure", { class: "plot" },
    h("figcaption", {}, `Probability of ${settings.positive} over time`), drawn, legend(answer));
}

function legend(answer) {
  const names = [["course", "frame"], ["threshold", "threshold"]];
  const how = answer.how === "share" ? `share called ${settings.positive}` : answer.how || "mean";
  if (answer.probability !== null) names.push(["mean", how], ["spread", "10% to 90% of frames"]);
  const faceless = answer.frames.some((frame) => frame.probability === null);
  return h("p", { class: "legend", "aria-hidden": "true" },
    names.map(([name, words]) => h("span", {}, h("i", { class: name }), words)),
    faceless ? h("span", {}, "× no face") : null);
}

function frameTable(answer) {
  const head = ["Time", "Verdict", `Probability of ${settings.positive}`];
  return h("details", {},
    h("summary", {}, "All frames"),
    h("table", { class: "frames" },
      h("thead", {}, h("tr", {}, head.map((word) => h("th", { scope: "col" }, word)))),
      h("tbody", {}, answer.frames.map((frame) => h("tr", {},
        h("td", {}, clock(frame.time)),
        h("td", { class: side(frame.verdict) }, frame.verdict),
        h("td", {}, digits(frame.probability)))))));
}
